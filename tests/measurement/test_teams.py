"""Several processes that train one trial: the training of one process but for the order of sums, and never a hang."""

import dataclasses

import pytest
import torch
from small_models import Bag
from small_runs import DATA, Killer, Recorder, changed, runner_of, spec
from torch import nn

from idbounds.config import ExecutionSection, parse_config
from idbounds.core.errors import ConfigError, TrainingError
from idbounds.measurement.executors import InProcess, Processes
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.team import ALONE, Team
from idbounds.measurement.trials import SubspaceMaker, TrialRunner
from idbounds.measuring import _executor


def swept(folder, executor, *, runner, reporter=None):
    """Trials by key, with their vectors."""
    with TrialStore(folder) as store, executor:
        sweep = Sweep(runner.make_subspace, store=store, reporter=reporter or Recorder(), executor=executor, retries=2)
        trials = sweep.run()
        return {trial.key: (trial, store.vector(trial.vector_sha256) if trial.key.d else None) for trial in trials}


@pytest.mark.parametrize(
    "training",
    [
        {"batch_size": 1},  # one of the two has nothing to do
        {"batch_size": 7, "micro_batch_size": 3, "evaluate_every": 1, "patience": 1},
        {"precision": "bfloat16", "optimizer": "SGD", "clip_norm": 0.01},
    ],
    ids="-".join,
)
def test_two_processes_train_as_one_does(tmp_path, training):
    run_spec = changed(spec(dims=(10,), seeds=(0,)), **training)
    # Without dropout, whose numbers are other ones in each process.
    runner = runner_of(run_spec, model=Bag(dropout=0.0))
    alone = swept(tmp_path / "alone", InProcess(runner), runner=runner)
    together = swept(tmp_path / "together", Processes(runner, workers=1, devices_per_trial=2), runner=runner)
    assert list(alone) == list(together)
    tolerance = 1e-2 if "precision" in training else 1e-5
    for key, (trial, vector) in together.items():
        one, its_vector = alone[key]
        assert (trial.test, trial.validation) == (one.test, one.validation)
        assert trial.final_loss == pytest.approx(one.final_loss, rel=tolerance)
        assert (one.ran_on, trial.ran_on) == ("cpu, 1 threads", "cpu, 1 threads, 2 processes")
        if vector is not None:
            torch.testing.assert_close(vector, its_vector, rtol=tolerance, atol=tolerance * float(its_vector.abs().max()))


def test_a_process_that_is_killed_costs_the_trial_a_try(tmp_path):
    runner = runner_of(changed(spec(dims=(10,), seeds=(0, 1)), steps=40), model=Bag(dropout=0.0))
    executor = Processes(runner, workers=1, devices_per_trial=2)
    killer = Killer(executor, rank=1)
    killed = swept(tmp_path / "killed", executor, runner=runner, reporter=killer)
    whole = swept(tmp_path / "whole", Processes(runner, workers=1, devices_per_trial=2), runner=runner)
    assert [key for key, (trial, _) in killed.items() if trial.attempts == 2] == [killer.killed]
    assert [trial.vector_sha256 for trial, _ in killed.values()] == [trial.vector_sha256 for trial, _ in whole.values()]
    assert executor._workers == []


class Failing(Bag):
    """Its loss is NaN, or memory is short, in one of the processes alone."""

    def __init__(self, *, how):
        super().__init__()
        self.how = how

    def forward(self, input_ids, attention_mask):
        logits = super().forward(input_ids, attention_mask)
        if not self.training or not torch.distributed.is_initialized() or not torch.distributed.get_rank():
            return logits
        if self.how == "memory":
            raise torch.OutOfMemoryError("out of memory, in words of torch")
        return logits * float("nan")


@pytest.mark.parametrize(
    ("how", "reason"), [("nan", "the loss is nan at step 1"), ("memory", "memory is short with 8 examples at a time")]
)
def test_a_trial_that_fails_in_one_process_fails_as_a_whole_with_its_reason(tmp_path, how, reason):
    run_spec = spec(dims=(10,), seeds=(0, 1))
    runner = runner_of(run_spec, model=Failing(how=how))
    keys = [key for key in planned_keys(run_spec) if key.d]
    with TrialStore(tmp_path) as store, Processes(runner, workers=1, devices_per_trial=2) as executor:
        trials = Sweep(runner.make_subspace, store=store, reporter=Recorder(), executor=executor).complete(keys)
    assert len(trials) == 2
    for trial in trials:
        assert trial.status == "failed"
        assert trial.reason.startswith(reason)


class Stopper:
    """A listener that stops every trial half-way."""

    def __init__(self):
        self.asked = 0

    def begin(self, key):
        pass

    def step(self, key, *, step, steps, loss):
        pass

    def halfway(self, key, score):
        self.asked += 1
        return "clearly behind"


def test_a_verdict_half_way_stops_all_of_its_processes():
    run_spec = spec(dims=(10, 20), seeds=(0,))
    runner = dataclasses.replace(runner_of(run_spec), scores_halfway=True)
    keys, stopper = [key for key in planned_keys(run_spec) if key.d], Stopper()
    with Processes(runner, workers=1, devices_per_trial=2) as executor:
        outcomes = list(executor.run(keys, listener=stopper))
    assert [outcome.trial.status for outcome in outcomes] == ["dropped", "dropped"]
    assert stopper.asked == 2


def test_a_team_of_one_needs_no_process_group():
    assert (ALONE.total(0.1), ALONE.agreed("yes"), ALONE.seed(3)) == (0.1, "yes", 3)
    assert Team(rank=1, size=3).share(torch.arange(8).numpy()).tolist() == [1, 4, 7]


def test_different_weights_at_the_end_are_refused(monkeypatch):
    """As they would be if a sum had other bits in another process."""
    monkeypatch.setattr(torch.distributed, "all_gather_object", lambda found, mine: found.__setitem__(slice(None), ["a", mine]))
    with pytest.raises(TrainingError, match="the 2 processes of a trial ended with different weights"):
        Team(rank=0, size=2).require_same([torch.zeros(3)])


class Normed(Bag):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)


def test_what_cannot_be_divided_is_refused():
    runner = TrialRunner(SubspaceMaker(Normed(), spec(), {}), DATA, threads=1)
    with pytest.raises(ConfigError, match=r"devices_per_trial is larger than 1, but module 'norm' \(BatchNorm1d\) keeps"):
        Processes(runner, workers=1, devices_per_trial=2)
    with pytest.raises(ConfigError, match="devices_per_trial = 2 with executor = 'in_process'"):
        _executor(ExecutionSection(devices_per_trial=2), runner_of(spec()))


def test_gpus_that_would_be_idle_are_refused():
    raw = {"output": "x", "model": {"builtin": "mlp"}, "data": {"images": "y"}}
    held = {**raw, "execution": {"executor": "ray", "ray_gpus": 2}}
    with pytest.raises(ConfigError, match=r"a trial uses devices_per_trial = 1 GPUs, and ray_gpus = 2 would hold others idle"):
        parse_config(held, where="here")
    used = {**raw, "execution": {"executor": "ray", "ray_gpus": 2, "devices_per_trial": 2}}
    assert parse_config(used, where="here").execution.ray_gpus == 2
