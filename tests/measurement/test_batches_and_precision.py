"""Accumulation, length bucketing and precision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import Bag, word_problem
from torch import nn
from training_settings import TokenModel, fit, token_problem

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace
from idbounds.measurement.batches import Arrays
from idbounds.measurement.optimizers import make_optimizer
from idbounds.measurement.order import parts, training_batches
from idbounds.measurement.precision import Precision
from idbounds.measurement.tasks import TASKS, CustomTask
from idbounds.measurement.training import count_errors


@pytest.mark.parametrize("size", [1, 3, 7, 8, 100])
@pytest.mark.parametrize("clip_norm", [1e-3, 1e9])
def test_accumulated_gradients_are_the_big_batchs_though_token_counts_differ(size, clip_norm):
    whole, in_parts = Subspace(TokenModel(), dim=30), Subspace(TokenModel(), dim=30)
    shared = {"data": token_problem(), "task": TASKS["token_classification"], "steps": 1}
    losses = [
        fit(whole, options={"clip_norm": clip_norm}, **shared),
        fit(in_parts, options={"clip_norm": clip_norm, "micro_batch_size": size}, **shared),
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(whole.theta_d.grad, in_parts.theta_d.grad, rtol=1e-4, atol=1e-6 * min(clip_norm, 1))


def test_without_weights_by_units_the_gradient_would_be_another():
    """The law above can fail: a mean of the parts' means is not the batch's mean."""
    data, task = token_problem(), TASKS["token_classification"]
    wrong_units = CustomTask(loss=task.loss, errors=task.errors)
    one, other = Subspace(TokenModel(), dim=30), Subspace(TokenModel(), dim=30)
    fit(one, steps=1, data=data, task=task, options={"micro_batch_size": 3})
    fit(other, steps=1, data=data, task=wrong_units, options={"micro_batch_size": 3})
    assert not torch.allclose(one.theta_d.grad, other.theta_d.grad, rtol=1e-2)


@given(n=st.integers(1, 50), size=st.one_of(st.none(), st.integers(1, 60)))
def test_parts_are_the_batch_in_pieces(n, size):
    pieces = parts(np.arange(n), size=size)
    assert np.array_equal(np.concatenate(pieces), np.arange(n))
    assert all(0 < len(piece) <= (size or n) for piece in pieces)


@given(n=st.integers(1, 60), batch_size=st.integers(1, 9), steps=st.integers(1, 120), seed=st.integers(0, 5))
def test_bucketing_uses_the_same_examples_as_often(n, batch_size, steps, seed):
    lengths = (np.arange(n) * 7919) % 13
    arguments = {"batch_size": batch_size, "steps": steps, "seed": seed}
    plain = list(training_batches(lengths, length_bucketing=False, **arguments))
    bucketed = list(training_batches(lengths, length_bucketing=True, **arguments))
    assert [len(batch) for batch in bucketed] == [batch_size] * steps
    assert sorted(np.concatenate(plain)) == sorted(np.concatenate(bucketed))
    again = list(training_batches(lengths, length_bucketing=True, **arguments))
    assert all(np.array_equal(one, other) for one, other in zip(bucketed, again, strict=True))


def test_bucketing_spares_padding_and_keeps_the_batches_in_random_order():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    padding, widths = {}, {}
    for bucketing in (False, True):
        batches = list(training_batches(lengths, batch_size=10, steps=50, seed=0, length_bucketing=bucketing))
        padding[bucketing] = sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)
        widths[bucketing] = [int(lengths[batch].max()) for batch in batches]
    assert padding[True] < 0.1 * padding[False]
    assert abs(np.corrcoef(widths[True], np.arange(50))[0, 1]) < 0.4


def test_training_with_buckets_is_reproducible():
    models = [Subspace(Bag(), dim=40) for _ in range(2)]
    for model in models:
        fit(model, options={"length_bucketing": True, "micro_batch_size": 3, "schedule": "cosine"})
    assert torch.equal(models[0].theta_d, models[1].theta_d)


class Seen(nn.Module):
    """Remembers the type of what its linear layer gave."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.kinds, self.weights = nn.Linear(4, 2), [], []

    def forward(self, x):
        out = self.body(x)
        self.kinds.append(out.dtype)
        self.weights.append(self.body.weight.dtype)
        return out


def test_bfloat16_is_for_the_forward_pass_alone():
    data = Arrays(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2)
    model = Subspace(Seen(), dim=8)
    fit(model, data=data, options={"precision": "bfloat16"})
    assert set(model.model.kinds) == {torch.bfloat16}
    assert set(model.model.weights) == {torch.bfloat16}, "a linear layer's θ is cast once, as autocast would at each use"
    assert model.model.body.parametrizations.weight.original.dtype == torch.float32
    assert model.theta_d.dtype == model.theta_d.grad.dtype == torch.float32
    model.model.kinds.clear()
    count_errors(model, data, batch_size=4)
    assert set(model.model.kinds) == {torch.float32}


@pytest.mark.parametrize("projection", ["fastfood", "dense"])
def test_under_bfloat16_weights_are_moved_in_full_precision(projection):
    model = Subspace(Bag(), dim=40, projection=projection)
    model.set_coordinates(torch.linspace(-1, 1, 40))
    plain = model.merge().embedding.weight
    moved = []

    def loss(subspace, batch):
        moved.append(subspace.model.embedding.weight.detach().clone())
        return TASKS["sequence_classification"].loss(subspace, batch)

    task = CustomTask(loss=loss, errors=TASKS["sequence_classification"].errors)
    fit(model, steps=1, options={"precision": "bfloat16"}, task=task)
    assert torch.equal(moved[0], plain)


def test_weights_made_again_in_the_backward_pass_give_the_same_gradient_in_bfloat16():
    gradients = []
    for memory in ("keep", "recompute"):
        model = Subspace(Bag(), dim=40, memory=memory)
        fit(model, steps=3, options={"precision": "bfloat16"})
        gradients.append(model.theta_d.grad)
    assert torch.allclose(*gradients, rtol=1e-2, atol=1e-4)


def test_training_in_bfloat16_still_learns():
    model, data = Subspace(Bag(), dim=40), word_problem()
    before = count_errors(model, data, batch_size=16).errors
    fit(model, steps=60, rate=0.2, options={"precision": "bfloat16"})
    assert count_errors(model, data, batch_size=16).errors < before / 2


def test_float16_on_a_processor_and_short_trained_weights_are_refused():
    with pytest.raises(ConfigError, match="precision float16 needs a CUDA device, the model is on cpu; choose bfloat16"):
        fit(Subspace(Bag(), dim=40), options={"precision": "float16"})
    with pytest.raises(ConfigError, match=r"trained weights of torch.bfloat16 cannot hold an optimizer's steps"):
        fit(Bag().bfloat16())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_on_a_gpu(precision):
    model, data = Subspace(Bag().cuda(), dim=40), word_problem()
    before, state = count_errors(model, data, batch_size=16).errors, torch.cuda.get_rng_state()
    fit(model, steps=60, rate=0.2, options={"precision": precision, "micro_batch_size": 3})
    assert count_errors(model, data, batch_size=16).errors < before / 2
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_overflow_in_float16_skips_a_step_and_halves_the_scale():
    parameter = nn.Parameter(torch.ones(1, device="cuda"))
    optimizer = make_optimizer("SGD", [parameter], learning_rate=1.0, options={})
    precision = Precision("float16", trained=[parameter])
    precision.backward((parameter * float("inf")).sum())
    precision.true_gradients(optimizer)
    precision.step(optimizer)
    assert float(parameter) == 1.0
