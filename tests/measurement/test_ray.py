"""Trials as tasks of Ray: the same bits as in this process, also when a machine is lost in the middle of a trial."""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from small_models import Bag
from small_runs import DATA, Recorder, changed, runner_of, spec

pytest.importorskip("ray")

from idbounds.core.errors import ConfigError
from idbounds.dimensions import dimensions_of
from idbounds.measurement.executors import InProcess, RayTasks
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.trials import SubspaceMaker, TrialRunner

STEPS = 40


def run_spec():
    return changed(spec(dims=(10, 20, 40), seeds=(0, 1)), steps=STEPS)


def measured(folder, executor, runner, reporter=None):
    with TrialStore(folder) as store, executor:
        return Sweep(runner.make_subspace, store=store, reporter=reporter or Recorder(), executor=executor).run()


def numbers(trials):
    return [(trial.key, trial.test, trial.validation, trial.final_loss, trial.vector_sha256) for trial in trials]


def without_hashes(dimension):
    """Hashes of trials hold their seconds and attempts."""
    return dimension.model_copy(update={"trials": ()})


@pytest.fixture
def private(monkeypatch):
    """Folders of this test alone, with a path short enough for sockets, and what the workers have to find."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.mark.slow
def test_a_ray_of_its_own_gives_the_same_bits(tmp_path, private):
    runner = runner_of(spec())
    reporter = Recorder()
    trials = measured(tmp_path / "ray", RayTasks(runner, workers=2), runner, reporter)
    assert numbers(trials) == numbers(measured(tmp_path / "here", InProcess(runner), runner))
    assert len(reporter.begun) == len(trials)


@pytest.mark.slow
def test_more_than_there_is_is_refused(private):
    with pytest.raises(ConfigError, match=r"a trial wants 1 CPUs and 0.5 GPUs, the cluster has .*; ask for less"):
        RayTasks(runner_of(spec()), workers=1, gpus=0.5)


@pytest.mark.slow
def test_two_processes_of_a_task_train_one_trial(tmp_path, private):
    """As with ray_gpus = devices_per_trial = 2, here on CPUs."""
    runner = runner_of(spec(dims=(10,), seeds=(0,)), model=Bag(dropout=0.0))
    together = measured(tmp_path / "ray", RayTasks(runner, workers=2, cpus=2, devices_per_trial=2), runner)
    alone = measured(tmp_path / "here", InProcess(runner), runner)
    assert [(trial.key, trial.test) for trial in together] == [(trial.key, trial.test) for trial in alone]
    assert {trial.ran_on for trial in together} == {"cpu, 1 threads, 2 processes"}


class Slow(Bag):
    """Takes its time in training, and leaves a note of the machine that it is trained on."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def forward(self, input_ids, attention_mask):
        if self.training:
            import ray

            (self.notes / ray.get_runtime_context().get_node_id()).touch()
            time.sleep(0.05)
        return super().forward(input_ids, attention_mask)


@pytest.mark.slow
def test_two_machines_of_which_one_is_lost_in_the_middle_of_a_trial_give_the_same_d90(tmp_path, private):
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    notes, killed = tmp_path / "notes", threading.Event()
    notes.mkdir()

    def kill_in_the_middle():
        deadline = time.monotonic() + 120
        while not (notes / other.node_id).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if (notes / other.node_id).exists():
            time.sleep(5 * 0.05)  # some of the steps
            cluster.remove_node(other, allow_graceful=False)
            killed.set()

    try:
        runner = TrialRunner(SubspaceMaker(Slow(notes), run_spec(), {}), DATA, threads=1)
        executor = RayTasks(runner)
        assert executor.parallel == 2
        watcher = threading.Thread(target=kill_in_the_middle)
        watcher.start()
        reporter = Recorder()
        trials = measured(tmp_path / "ray", executor, runner, reporter)
        watcher.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed.is_set()
    (lost,) = [trial for trial in reporter.done if trial.status == "failed"]
    assert "its Ray worker was lost" in lost.reason
    assert [trial.key for trial in trials if trial.attempts == 2] == [lost.key]
    here = measured(tmp_path / "here", InProcess(runner_of(run_spec())), runner_of(run_spec()))
    assert numbers(trials) == numbers(here)
    one, two = (dimensions_of(run_spec(), trials=found) for found in (trials, here))
    assert [without_hashes(d90) for d90 in one] == [without_hashes(d90) for d90 in two]
