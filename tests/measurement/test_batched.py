"""Trials trained at once are those of one by one, up to the last bits; what could not be is refused."""

import pytest
import torch
from small_models import Bag
from small_runs import DATA, Recorder, spec
from torch import nn
from torch._C._functorch import maybe_current_level

from idbounds.config import ExecutionSection
from idbounds.core.errors import ConfigError
from idbounds.measurement.batches import Arrays
from idbounds.measurement.executors import InBatches, InProcess
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.small_networks import small_network
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.trials import SubspaceMaker, TrialRunner
from idbounds.measuring import _executor

SHAPE, CLASSES = (1, 16, 16), 3


def striped(n, *, seed):
    """Noise with a brightness that says the class."""
    labels = torch.arange(n) % CLASSES
    noise = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return Arrays(noise + 0.2 * labels.view(-1, 1, 1, 1), labels)


IMAGES = {part: striped(60, seed=seed) for seed, part in enumerate(("train", "validation", "test"))}


def runner_of(model="mlp", *, data=IMAGES, rates=(1.0, 3.0), steps=12, scores_halfway=False, training=None, **changes):
    """Two seeds at these rates, d = 30."""
    network = small_network(model, shape=SHAPE, num_labels=CLASSES, seed=0) if isinstance(model, str) else model
    run_spec = spec(dims=(30,), rates=rates)
    recipe = run_spec.training.model_copy(update={"steps": steps, "batch_size": 16, **(training or {})})
    run_spec = run_spec.model_copy(update={"training": recipe, "learning_task": "image_classification", **changes})
    return TrialRunner(SubspaceMaker(network, run_spec, {}), data, threads=1, scores_halfway=scores_halfway)


def results(folder, executor, runner, *, reporter=None):
    with TrialStore(folder) as store, executor:
        sweep = Sweep(runner.make_subspace, store=store, reporter=reporter or Recorder(), executor=executor)
        trials = sweep.complete(planned_keys(runner.make_subspace.spec))
        vectors = [None if trial.vector_sha256 is None else store.vector(trial.vector_sha256) for trial in trials]
    return trials, vectors


def assert_alike(one, other):
    for (trial, vector), (twin, its_vector) in zip(zip(*one, strict=True), zip(*other, strict=True), strict=True):
        assert (trial.key, trial.test, trial.validation) == (twin.key, twin.test, twin.validation)
        assert trial.final_loss == pytest.approx(twin.final_loss, rel=1e-3)
        if vector is not None:
            torch.testing.assert_close(vector, its_vector, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "parametrization", "projection", "direct"),
    [
        ("mlp", "full_weights", "fastfood", ()),
        ("mlp", "said", "one_hot", ("5.bias",)),
        ("lenet", "tucker", "signed_permutation", ()),
    ],
)
def test_two_seeds_at_two_rates_are_those_of_one_by_one(tmp_path, model, parametrization, projection, direct):
    runner = runner_of(model, parametrization=parametrization, projection=projection, train_directly=direct)
    together = results(tmp_path / "together", InBatches(runner, size=4), runner)
    assert_alike(together, results(tmp_path / "alone", InProcess(runner), runner))
    # Two of full fine-tuning, which has another d, and four in the subspace.
    places = [f"cpu, 1 threads, in a batch of {size}" for size in (2, 2, 4, 4, 4, 4)]
    assert [trial.ran_on for trial in together[0]] == places
    assert len({float(vector.norm()) for vector in together[1][2:]}) == 4


def test_a_trial_that_fails_leaves_the_others_as_they_are(tmp_path):
    runner, healthy = runner_of(rates=(1.0, 1e39)), runner_of(rates=(1.0,))
    trials, vectors = results(tmp_path / "a", InBatches(runner, size=6), runner)
    assert [trial.status for trial in trials] == ["finished"] * 3 + ["failed", "finished", "failed"]
    assert "the loss is nan at step" in trials[3].reason or "the loss is inf at step" in trials[3].reason
    assert trials[3].attempts == 1  # training failed, so it is not tried again at once
    kept = [0, 1, 2, 4]
    together = [trials[i] for i in kept], [vectors[i] for i in kept]
    assert_alike(together, results(tmp_path / "b", InProcess(healthy), healthy))


def test_a_sweep_goes_on_in_batches_from_trials_of_one_by_one(tmp_path):
    runner = runner_of()
    with pytest.raises(KeyboardInterrupt):
        results(tmp_path / "a", InProcess(runner), runner, reporter=Recorder(interrupt_in=4))
    resumed = results(tmp_path / "a", InBatches(runner, size=2), runner)
    assert_alike(resumed, results(tmp_path / "b", InProcess(runner), runner))
    alone, pair = "cpu, 1 threads", "cpu, 1 threads, in a batch of 2"
    assert [trial.ran_on for trial in resumed[0]] == [alone, alone, alone, pair, pair, alone]


def test_ctrl_c_in_a_batch_keeps_the_one_before(tmp_path):
    runner = runner_of()
    with pytest.raises(KeyboardInterrupt):
        results(tmp_path, InBatches(runner, size=2), runner, reporter=Recorder(interrupt_in=4))
    with TrialStore(tmp_path) as store:
        assert [trial.key.d for trial in store.trials()] == [0, 0]


class Hungry(nn.Sequential):
    """Memory is short when several are trained at once."""

    def forward(self, x):
        if maybe_current_level() is not None:
            raise MemoryError("no room")
        return super().forward(x)


def test_a_batch_without_room_is_trained_one_by_one(tmp_path):
    runner = runner_of(Hungry(nn.Flatten(), nn.Linear(256, CLASSES)))
    trials, _ = results(tmp_path, InBatches(runner, size=4), runner)
    assert [(trial.status, trial.ran_on, trial.attempts) for trial in trials] == [("finished", "cpu, 1 threads", 1)] * 6


class Noisy(nn.Sequential):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, training=self.training))


class Counting(nn.Sequential):
    def forward(self, x):
        return super().forward(x * float(x.mean() > 0))


HEAD = (nn.Flatten(), nn.Linear(256, CLASSES))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Dropout(0.1), *HEAD), r"module '0' \(Dropout\) draws its own numbers; set batch_trials = 1"),
        (nn.Sequential(nn.BatchNorm2d(1), *HEAD), r"module '0' \(BatchNorm2d\) keeps statistics of the batch"),
    ],
)
def test_modules_that_differ_from_trial_to_trial_are_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        InBatches(runner_of(model), size=2)


@pytest.mark.parametrize("model", [Noisy, Counting])
def test_what_cannot_be_vectorised_is_found_by_the_first_step(tmp_path, model):
    runner = runner_of(model(*HEAD))
    with pytest.raises(ConfigError, match=r"these trials cannot be trained at once \(.*\); set batch_trials = 1"):
        results(tmp_path, InBatches(runner, size=2), runner)
    with TrialStore(tmp_path) as store:
        assert store.trials() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores_halfway": True}, "drop_hopeless"),
        ({"training": {"evaluate_every": 2}}, "evaluate_every"),
        ({"training": {"micro_batch_size": 2}}, "micro_batch_size"),
        ({"training": {"precision": "bfloat16"}}, "precision = 'bfloat16'"),
        ({"model": Bag(), "data": DATA}, "the examples are not all of one shape"),
    ],
)
def test_settings_that_go_one_by_one_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"batch_trials is larger than 1, but .*{message}"):
        InBatches(runner_of(**options), size=2)


def test_the_configuration_says_how_many():
    runner = runner_of()
    batches = _executor(ExecutionSection(batch_trials=3), runner)
    assert isinstance(batches, InBatches)
    assert batches.parallel == 3
    assert isinstance(_executor(ExecutionSection(), runner), InProcess)
    with pytest.raises(ConfigError, match="batch_trials = 3 with executor = 'processes'"):
        _executor(ExecutionSection(batch_trials=3, executor="processes"), runner)
