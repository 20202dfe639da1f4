"""d90 of a run's trials under the rules that need no others."""

from __future__ import annotations

from collections.abc import Sequence

from idbounds.core.values import IntrinsicDimension, RunSpec, Trial
from idbounds.estimation import RUN_RULES, intrinsic_dimension


def dimensions_of(spec: RunSpec, *, trials: Sequence[Trial]) -> tuple[IntrinsicDimension, ...]:
    """d90 under each rule that needs no trials but these. Raises ConfigError if the baseline or every d is missing."""
    test = spec.task.test
    return tuple(
        intrinsic_dimension(
            trials, parametrization=spec.parametrization, majority_accuracy=1 - test.majority_errors / test.n, rule=rule
        )
        for rule in RUN_RULES
    )
