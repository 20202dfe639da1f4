"""Ratios of d90 from the trials in two folders, whose accuracies are made up so that the answer is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from idbounds.core.values import IntrinsicDimension, RunSpec, Score, Trial
from idbounds.dimensions import dimensions_of
from idbounds.estimation import estimate_d90, ratio
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.store import TrialStore
from idbounds.run_folder import read_run
from idbounds.run_ratios import ratios_of

QUICKSTART = Path(__file__).parents[1] / "docs" / "results" / "quickstart"
#: Test errors of 425 at each d (0 is full fine-tuning): the second learns at d = 300 what the first learns at 1000.
ERRORS = {"slow": {0: 50, 100: 200, 300: 140, 1000: 70}, "fast": {0: 50, 100: 140, 300: 70, 1000: 55}}


def made(folder: Path, *, projection: str, errors: dict[int, int]) -> Path:
    """A folder with the specification of the quickstart, made-up trials, and the d90 that follow."""
    folder.mkdir()
    spec = RunSpec.read(QUICKSTART / "spec.json").model_copy(update={"projection": projection})
    spec.write(folder / "spec.json")
    shutil.copy(QUICKSTART / "config.json", folder)
    n = spec.task.test.n
    trials = [
        Trial(
            key=key,
            status="finished",
            validation=Score(errors=30, n=spec.task.validation.n),
            test=Score(errors=errors[key.d] + 5 * key.seed, n=n),
            seconds=1.0,
        )
        for key in planned_keys(spec)
    ]
    with TrialStore(folder) as store:
        for trial in trials:
            store.add(trial)
    for dimension in dimensions_of(spec, trials=trials):
        dimension.write(folder / f"d90.{dimension.rule}.json")
    return folder


PROJECTIONS = {"slow": "fastfood", "fast": "srht"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return [made(place / name, projection=projection, errors=ERRORS[name]) for name, projection in PROJECTIONS.items()]


def estimates(folder, rule):
    with TrialStore(folder) as store:
        trials = store.trials()
    record = IntrinsicDimension.read(folder / f"d90.{rule}.json")
    return estimate_d90(trials, parametrization="said", majority_accuracy=record.majority_accuracy, rule=rule)


def test_the_ratio_is_that_of_the_trials(folders):
    found = ratios_of([read_run(folder) for folder in folders])
    assert set(found) == {"paper", "chance_corrected"}
    assert found["paper"] == (ratio(estimates(folders[1], "paper"), estimates(folders[0], "paper")),)
    for rule, (one,) in found.items():
        values = [IntrinsicDimension.read(folder / f"d90.{rule}.json").value for folder in folders]
        assert one.value == values[1] / values[0] < 0.6
        assert one.value < one.upper < 1


def test_missing_and_other_trials_are_said(folders, tmp_path):
    slow_folder, fast_folder = (shutil.copytree(folder, tmp_path / folder.name) for folder in folders)
    slow, fast = read_run(slow_folder), read_run(fast_folder)
    record = IntrinsicDimension.read(fast_folder / "d90.paper.json")
    record.model_copy(update={"value": record.value * 1.01}).write(fast_folder / "d90.paper.json")
    ((reason,), (still,)) = ratios_of([slow, read_run(fast_folder)]).values()
    assert f"the trials of {fast_folder} give d90 {record.value}" in reason
    assert still.value < 1
    (slow_folder / "trials.sqlite").unlink()
    for (reason,) in ratios_of([slow, fast]).values():
        assert f"the trials of {slow_folder} are not all there" in reason
