"""The trials behind a run's d90, read from its folder, and the estimate with its redrawn curves. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idbounds.config import parse_config
from idbounds.core.json_file import read_json
from idbounds.core.run_files import CONFIG_FILE
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation import RUN_RULES, Estimate, estimate_d90
from idbounds.reporting.run_records import RunRecords


def trials_of(run: RunRecords) -> tuple[Trial, ...]:
    """The trials that the run's d90 rest on; none where the folder has no store of trials, or one without some of them.

    Raises DataError and ConfigError for a store or a configuration that cannot be read.
    """
    if not run.dimensions or not (Path(run.folder) / CONFIG_FILE).is_file():
        return ()
    from idbounds.status import status_of  # with torch, which the store of trials needs

    named = {sha256 for dimension in run.dimensions for sha256 in dimension.trials}
    found = tuple(trial for trial in status_of(Path(run.folder)).trials if trial.sha256 in named)
    return found if len(found) == len(named) else ()


def chose_by_test(run: RunRecords) -> bool:
    """Whether the run was a search, which chooses d with test accuracies; False where the folder has no configuration."""
    path = Path(run.folder) / CONFIG_FILE
    return path.is_file() and parse_config(read_json(path), where=str(path)).measurement.search


def estimate_of(dimension: IntrinsicDimension, *, trials: Sequence[Trial]) -> Estimate | None:
    """A recorded d90 with its redrawn curves, from the trials that it rests on.

    None where some of them are not given, and for a rule with a baseline of its own.
    """
    named = set(dimension.trials)
    behind = [trial for trial in trials if trial.sha256 in named]
    if dimension.rule not in RUN_RULES or len(behind) != len(named):
        return None
    return estimate_d90(
        behind,
        parametrization=dimension.parametrization,
        majority_accuracy=dimension.majority_accuracy,
        rule=dimension.rule,
        level=dimension.level,
        fit=dimension.fit,
    )
