"""d90 with an interval, from finished trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idbounds.core.errors import ConfigError
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation.bootstrap import Outcomes, SeedNoise, redraw, seed_noise
from idbounds.estimation.curve import Point, choose_trials, monotone_curve
from idbounds.estimation.fits import fit_by_name
from idbounds.estimation.rules import TargetRule, rule_by_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """d90 and what the search and comparisons need beside it.

    Attributes:
        record: the value.
        baseline: the chosen trials of the baseline, None where the rule has none.
        points: the chosen trials at each d.
        noise: between seeds.
        curves: redrawn accuracies (B, K); targets (B,) redrawn with the baseline.
        positions: (B,) log d90 of the redrawn curves, infinite where censored.
    """

    record: IntrinsicDimension
    baseline: Point | None
    points: tuple[Point, ...]
    noise: SeedNoise
    curves: Array
    targets: Array
    positions: Array


def intrinsic_dimension(
    trials: Sequence[Trial],
    *,
    parametrization: str,
    majority_accuracy: float,
    rule: str | TargetRule = "paper",
    level: float = 0.9,
    baseline: Sequence[Trial] | None = None,
    fit: str = "averaged",
    outcomes: Outcomes | None = None,
) -> IntrinsicDimension:
    """The smallest d whose accuracy on the test distribution reaches the target of `rule`, with an interval.

    Formula: the value is where a monotone curve in log d through the mean test accuracies reaches the target
    (`idbounds.estimation.rules`): the mean, by Akaike weights, of an isotonic and a sigmoid fit
    (`idbounds.estimation.fits`). The interval is the percentile bootstrap, 1000 redrawn curves: baseline and every d
    get new accuracies for the draw of seeds and of test examples (`idbounds.estimation.bootstrap`), and between the d
    of the grid each redrawn curve goes one of the ways that its points leave open. Learning rates stay as validation chose
    them. Coverage in simulations, and what the interval does not hold: docs/estimation.md.

    Args:
        trials: those of one parametrization at several d, and full fine-tuning (d = 0), all of one spec.
            Failed ones are ignored.
        parametrization: its name, for the record.
        majority_accuracy: accuracy of always guessing the majority class, on the test split; taken as known.
        rule: a name of RULES, or an object such as Absolute(0.95).
        level: of the interval, two-sided.
        baseline: for the rule li2018, the runs to compare with, at several seeds and learning rates; they may be of
            another spec. For other rules it replaces the trials of full fine-tuning.
        fit: "averaged", "isotonic" or "sigmoid".
        outcomes: correct answers of each chosen trial by its hash, in one order of test examples. Trials that share
            a test set share its luck; with outcomes the interval takes that into account.

    Returns the estimate; `value`, `lower` or `upper` is None where it lies below or above the grid (as
    IntrinsicDimension prints it). `grid` holds the monotone curve, so that "reached" has one meaning.
    When an end of the interval is censored on the value's own far side, it is the end of the grid.

    Raises ConfigError if the baseline or every d is missing, or the trials do not belong together.

    Source: Li et al. 2018 (arXiv 1804.08838); Aghajanyan et al. 2020 (arXiv 2012.13255). They read d90 off
    the best run; interval and fit are ours.
    """
    return estimate_d90(
        trials,
        parametrization=parametrization,
        majority_accuracy=majority_accuracy,
        rule=rule,
        level=level,
        baseline=baseline,
        fit=fit,
        outcomes=outcomes,
    ).record


def estimate_d90(
    trials: Sequence[Trial],
    *,
    parametrization: str,
    majority_accuracy: float,
    rule: str | TargetRule = "paper",
    level: float = 0.9,
    baseline: Sequence[Trial] | None = None,
    fit: str = "averaged",
    outcomes: Outcomes | None = None,
) -> Estimate:
    """As `intrinsic_dimension`, with the redrawn curves."""
    target_rule, curve_fit = rule_by_name(rule), fit_by_name(fit)
    if not 0 < level < 1:
        raise ConfigError(f"level must be in (0, 1), got {level!r}")
    if not 0 <= majority_accuracy <= 1:
        raise ConfigError(f"majority_accuracy must be a fraction in [0, 1], got {majority_accuracy!r}")
    points = _points(trials)
    reference = _baseline(trials, target_rule, given=baseline)
    everything = (*points, reference) if reference is not None else points
    noise = seed_noise(everything, outcomes=outcomes)

    def targets_of(accuracies: Array) -> Array:
        return target_rule.targets(accuracies, majority=majority_accuracy)

    target = float(targets_of(np.array([reference.accuracy if reference is not None else math.nan]))[0])
    x = np.log([point.d for point in points])
    means = np.array([point.accuracy for point in points])
    weights = point_weights(points, noise=noise, target=target)
    curves = np.stack([redraw(point, noise=noise, outcomes=outcomes) for point in points], axis=1)
    redrawn = redraw(reference, noise=noise, outcomes=outcomes) if reference is not None else np.full(len(curves), math.nan)
    targets = targets_of(redrawn)
    position = fit_by_name("isotonic").position(x, means, weights=weights, target=target)
    if math.isfinite(position):
        position = curve_fit.position(x, means, weights=weights, target=target)
    positions = curve_fit.positions(x, curves, weights=weights, targets=targets)
    dims = [point.d for point in points]
    value, lower, upper = _in_dimensions(position, positions, level=level, dims=dims)
    record = IntrinsicDimension.checked(
        rule=target_rule.name,
        parametrization=parametrization,
        baseline_accuracy=None if reference is None else reference.accuracy,
        majority_accuracy=majority_accuracy,
        target_accuracy=target,
        value=value,
        lower=lower,
        upper=upper,
        level=level,
        smallest_d=dims[0],
        largest_d=dims[-1],
        grid=tuple(zip(dims, np.clip(monotone_curve(means, weights=weights), 0.0, 1.0).tolist(), strict=True)),
        trials=tuple(trial.sha256 for point in _in_order(reference, points) for trial in point.trials),
        fit=fit,
        target_definition=target_rule.definition,
        between_seeds_sd=min(1.0, math.sqrt(noise.variance)),
        paired_examples=outcomes is not None,
    )
    return Estimate(record, reference, points, noise, curves, targets, positions)


def _points(trials: Sequence[Trial]) -> tuple[Point, ...]:
    specs = {trial.key.spec_sha256 for trial in trials}
    if len(specs) > 1:
        raise ConfigError(f"the trials come from {len(specs)} specs ({', '.join(sorted(specs))}); pass those of one run")
    methods = {trial.key.method for trial in trials if trial.key.d}
    if len(methods) > 1:
        raise ConfigError(f"the trials mix the methods {', '.join(sorted(methods))}; estimate d90 for one at a time")
    subspaces = {trial.key.subspace_sha256 for trial in trials if trial.key.d}
    if len(subspaces) > 1:
        raise ConfigError(
            f"the trials are of {len(subspaces)} kinds of subspace (projection, options, …); estimate d90 for one at a time"
        )
    points = choose_trials([trial for trial in trials if trial.key.d])
    if not points:
        raise ConfigError("no finished trial in a subspace (d >= 1); train at several d first")
    return points


def _baseline(trials: Sequence[Trial], rule: TargetRule, *, given: Sequence[Trial] | None) -> Point | None:
    if not rule.uses_baseline:
        return None
    if rule.name == "li2018" and given is None:
        raise ConfigError("the rule li2018 compares with a baseline of its own; pass its trials as baseline=[...]")
    found = choose_trials([trial for trial in trials if not trial.key.d] if given is None else given)
    if not found:
        what = "full fine-tuning (d = 0)" if given is None else "the given baseline"
        raise ConfigError(f"no finished trial of {what}; d90 is relative to it, so train it first")
    if len(found) > 1:
        raise ConfigError(f"the baseline has trials at d = {', '.join(str(point.d) for point in found)}; pass those of one d")
    return found[0]


def _in_order(baseline: Point | None, points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(points) if baseline is None else (baseline, *points)


def point_weights(points: Sequence[Point], *, noise: SeedNoise, target: float) -> Array:
    """1 / variance of each mean. The binomial part is that at the target, where the accuracy matters, at every point."""
    # A target of 0 or 1 would make examples free of noise; half an example keeps the weights finite.
    half = 0.5 / max(point.num_examples for point in points)
    p = min(max(target, half), 1 - half)
    variances = [noise.variance / len(point.scores) + p * (1 - p) / point.num_examples for point in points]
    return 1 / np.array(variances)


def _in_dimensions(
    position: float, positions: Array, *, level: float, dims: Sequence[int]
) -> tuple[float | None, float | None, float | None]:
    """Value and both ends of the interval as dimensions; None where censored."""
    tail = (1 - level) / 2
    # "lower" and "higher" pick existing draws outward: interpolating between infinities is undefined.
    low = min(position, float(np.quantile(positions, tail, method="lower")))
    high = max(position, float(np.quantile(positions, 1 - tail, method="higher")))
    smallest, largest = float(dims[0]), float(dims[-1])

    def dimension(x: float) -> float:
        return min(max(math.exp(x), smallest), largest)

    value = dimension(position) if math.isfinite(position) else None
    return value, None if low == -math.inf else dimension(low), None if high == math.inf else dimension(high)
