"""Ratios of d90 between runs, from the trials in their folders. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence

from idbounds.core.values import Trial
from idbounds.estimation import Estimate, Ratio, ratio
from idbounds.reporting.run_records import RunRecords
from idbounds.run_trials import estimate_of, trials_of


def ratios_of(runs: Sequence[RunRecords]) -> dict[str, tuple[Ratio | str, ...]]:
    """By each rule that all runs have, the ratio of every run's d90 to the first run's, or why there is none."""
    rules = [dimension.rule for dimension in runs[0].dimensions if all(run.measured(dimension.rule) for run in runs)]
    trials = [trials_of(run) for run in runs]
    found: dict[str, tuple[Ratio | str, ...]] = {}
    for rule in rules:
        estimates = [_estimate(run, rule, some) for run, some in zip(runs, trials, strict=True)]
        found[rule] = tuple(_ratio(one, estimates[0]) for one in estimates[1:])
    return found


def _estimate(run: RunRecords, rule: str, trials: Sequence[Trial]) -> Estimate | str:
    (dimension,) = (one for one in run.dimensions if one.rule == rule)
    estimate = estimate_of(dimension, trials=trials)
    if estimate is None:
        return f"the trials of {run.folder} are not all there (trials.sqlite), and the ratio redraws them"
    if estimate.record.value != dimension.value:
        return f"the trials of {run.folder} give d90 {estimate.record.value}, its record says {dimension.value}"
    return estimate


def _ratio(one: Estimate | str, first: Estimate | str) -> Ratio | str:
    if isinstance(first, str):
        return first
    return one if isinstance(one, str) else ratio(one, first)
