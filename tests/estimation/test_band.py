"""The band of a figure is made of the intervals that d90 would have at each accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from idbounds.core.values import Score, Trial, TrialKey
from idbounds.estimation import FITS, curve_band, estimate_d90

ERRORS = {0: (41, 37), 10: (190, 176), 40: (140, 151), 160: (80, 84), 640: (47, 52)}


def trial(d, seed, errors):
    method = "full_weights" if d else "full_fine_tuning"
    key = TrialKey(spec_sha256="a" * 64, method=method, d=d, seed=seed, learning_rate=0.1)
    return Trial(key=key, status="finished", validation=Score(errors=20, n=100), test=Score(errors=errors, n=400), seconds=1.0)


def estimate(**more):
    trials = [trial(d, seed, errors) for d, counts in ERRORS.items() for seed, errors in enumerate(counts)]
    return estimate_d90(trials, parametrization="full_weights", majority_accuracy=0.5, **more)


@pytest.mark.parametrize("fit", ["isotonic", "averaged"])
def test_at_the_target_the_curve_is_at_d90_and_the_band_within_its_interval(fit):
    """The band takes the target for known, so it is narrower where the baseline is redrawn."""
    found = estimate(fit=fit)
    band, record = curve_band(found), found.record
    at = {name: np.interp(record.target_accuracy, band.accuracy, getattr(band, name)) for name in ("d", "lower", "upper")}
    assert at["d"] == pytest.approx(record.value, rel=0.02)
    assert record.lower * 0.98 < at["lower"] < at["d"] < at["upper"] < record.upper * 1.02


def test_curve_and_band_rise_lie_in_the_grid_and_hold_each_other():
    band = curve_band(estimate())
    inside = ~np.isnan(band.d)
    assert np.all(np.diff(band.accuracy) > 0)
    for column in (band.d[inside], band.lower, band.upper):
        assert np.all(np.diff(column) >= 0)
        assert np.all((column >= 10 - 1e-9) & (column <= 640 + 1e-9))
    assert np.all(band.lower[inside] <= band.d[inside])
    assert np.all(band.d[inside] <= band.upper[inside])
    assert inside.sum() > 50


def test_the_curve_is_drawn_between_the_accuracies_of_the_ends_and_the_band_beyond_them():
    found = estimate()
    band = curve_band(found)
    first, last = found.record.grid[0][1], found.record.grid[-1][1]
    drawn = band.accuracy[~np.isnan(band.d)]
    assert first <= drawn[0] and drawn[-1] <= last  # noqa: PT018 - one interval
    assert band.accuracy[0] < first
    assert band.accuracy[-1] > last


def test_a_grid_of_one_dimension_has_a_band():
    trials = [trial(d, seed, errors) for d in (0, 40) for seed, errors in enumerate(ERRORS[d])]
    band = curve_band(estimate_d90(trials, parametrization="full_weights", majority_accuracy=0.5))
    assert set(np.round(np.concatenate([band.lower, band.upper]), 6)) == {40.0}


@pytest.mark.parametrize("fit", FITS.values(), ids=lambda fit: fit.name)
def test_many_targets_at_once_are_each_of_them(fit):
    x, means = np.log([10, 40, 160, 640]), np.array([0.5, 0.6, 0.8, 0.9])
    curves = means + 0.02 * np.sin(np.arange(1000)[:, None] + np.arange(4))
    weights, targets = np.ones(4) * 1e4, np.repeat(np.array([0.45, 0.7, 0.85])[:, None], 1000, axis=1)
    together = fit.positions(x, curves, weights=weights, targets=targets)
    apart = [fit.positions(x, curves, weights=weights, targets=row) for row in targets]
    assert np.array_equal(together, np.stack(apart))
