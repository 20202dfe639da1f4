"""The betting bounds: against the best bet with 40 digits, and what they gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import BOUNDS

LOSSES = tuple(float(x) for x in np.random.default_rng(0).beta(2, 9, size=500))


def best_gain(losses: Sequence[float], mu: Any) -> Any:
    """max over β of Σ ln(1 + β (z - μ)) by bisection on its falling derivative."""
    low, high = -1 / (1 - mu), mpmath.mpf(0)
    for _ in range(60):
        beta = (low + high) / 2
        slope = mpmath.fsum((z - mu) / (1 + beta * (z - mu)) for z in losses)
        low, high = (beta, high) if slope > 0 else (low, beta)
    return mpmath.fsum(mpmath.log(1 + high * (z - mu)) for z in losses)


def test_betting_on_errors_is_the_kl_form() -> None:
    losses = np.repeat([0.0, 1.0], [180, 20])
    by_losses = float(BOUNDS["occam_betting"].value(losses=losses, complexity_nats=3.0, delta=0.05))
    by_counts = float(BOUNDS["occam_betting"].from_counts(errors=20, n=200, complexity_nats=3.0, delta=0.05))
    assert by_losses == pytest.approx(by_counts, abs=1e-9)


@given(nats=st.floats(0.0, 30.0), start=st.integers(0, 400))
def test_the_value_is_refuted_with_40_digits(nats: float, start: int) -> None:
    """At the returned mean some bet really reaches the budget, so the supremum over what is not refuted lies below it."""
    losses = LOSSES[start : start + 60]
    value = float(BOUNDS["occam_betting"].value(losses=losses, complexity_nats=nats, delta=0.05))
    with mpmath.workdps(40):
        budget = nats - mpmath.log(mpmath.mpf(0.05))
        budget += mpmath.log(mpmath.sqrt(mpmath.pi) * mpmath.gamma(61) / mpmath.gamma(60.5))
        assert best_gain(losses, mpmath.mpf(value)) >= budget
        assert value == 1.0 or best_gain(losses, mpmath.mpf(value) - mpmath.mpf("1e-9")) < budget


def test_betting_gains_from_small_variance_where_kl_does_not() -> None:
    losses = np.full(2000, 0.5) + np.tile([-0.01, 0.01], 1000)
    betting = float(BOUNDS["occam_betting"].value(losses=losses, complexity_nats=10.0, delta=0.05))
    assert 0.5 < betting < 0.51
    assert float(BOUNDS["occam_kl"].value(empirical_risk=0.5, n=2000, complexity_nats=10.0, delta=0.05)) > 0.55
