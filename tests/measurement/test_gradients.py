"""Gradients of parts of batches, computed and replayed."""

import numpy as np
import pytest
import torch
from graphs_on_a_cpu import Captures, Graph
from small_models import mixed
from torch import nn
from training_settings import fit

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace, weights
from idbounds.measurement.batches import Arrays
from idbounds.measurement.gradients import CapturedGradients, Gradients
from idbounds.measurement.precision import Precision
from idbounds.measurement.tasks import TASKS
from idbounds.projections.compiled import SWITCH

ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
TASK = TASKS["image_classification"]


def data(n):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 7, generator=generator)
    return Arrays(inputs, (inputs[:, 0] > 0).long())


def trained(options, *, memory="keep", dropout=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(mixed(), nn.Dropout(dropout))
    subspace = Subspace(model, dim=30, memory=memory).cuda()
    # 37 examples in batches of 8: the last batch of each round has another shape, and every batch two parts.
    loss = fit(subspace, data=data(37), rate=0.3, steps=40, seed=1, options=options, task=TASK, validation=data(20))
    return loss, subspace.theta_d.detach().cpu(), subspace(data(20).inputs.cuda()).detach().cpu()


@ON_A_GPU
@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("evaluate_every", [None, 3])
def test_replayed_steps_are_those_that_were_computed(memory, precision, evaluate_every):
    options = {"precision": precision, "evaluate_every": evaluate_every, "micro_batch_size": 5}
    computed, replayed = (trained({**options, "cuda_graphs": graphs}, memory=memory) for graphs in (False, True))
    tolerance = 1e-3 if precision == "float32" else 0.05
    for one, other in zip(computed, replayed, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@ON_A_GPU
def test_every_replay_draws_dropout_of_its_own_and_a_seed_the_same_again():
    first, again = (trained({"cuda_graphs": True}, dropout=0.5) for _ in range(2))
    without = trained({"cuda_graphs": True})
    torch.testing.assert_close(first[1], again[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first[1], without[1], atol=0.05)


class _LooksAtItsNumbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = mixed()

    def forward(self, x):
        return self.layer(x) if bool((x > 0).any()) else self.layer(-x)


@ON_A_GPU
def test_a_step_that_cannot_be_captured_is_refused():
    subspace = Subspace(_LooksAtItsNumbers(), dim=30).cuda()
    with pytest.raises(ConfigError, match=r"cannot be captured \(.*\); set cuda_graphs = false"):
        fit(subspace, data=data(16), rate=0.3, steps=4, seed=1, options={"cuda_graphs": True}, task=TASK)
    assert torch.isfinite(subspace(data(4).inputs.cuda())).all()
    assert nn.Dropout(0.5)(torch.ones(1000, device="cuda")).std() > 0, "what is random still can be drawn"


@pytest.fixture
def captures(monkeypatch):
    """CUDA graphs on a CPU; compiled kernels would write behind torch's back."""
    captures = Captures()
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", captures.graph)
    monkeypatch.setattr(weights, "is_capturing", lambda _: captures.going_on)
    return captures


def losses_and_values(kind, *, memory, between):
    """Two shapes of batches in turns, Adam after each; `between` steps something else is done with the network."""
    subspace = Subspace(mixed(), dim=30, memory=memory)
    optimizer = torch.optim.Adam(subspace.parameters(), lr=0.1)
    precision = Precision("bfloat16", trained=[subspace.theta_d])
    gradients = kind(subspace, task=TASK, precision=precision, device=torch.device("cpu"))
    losses, seen, examples = [], [], data(200)
    for number, size in enumerate([5, 3, 5, 3, 5, 5, 3, 3, 5, 3]):
        optimizer.zero_grad(set_to_none=False)
        batch = examples.batch(np.arange(10 * number, 10 * number + size))
        losses += [gradients.add(batch, 0.25), gradients.add(batch, 0.75)]
        optimizer.step()
        seen.append(between(subspace, number))
    return torch.tensor(losses), torch.stack(seen), subspace.theta_d.detach().clone()


def look(subspace, _):
    with torch.no_grad():
        return subspace(data(4).inputs)


def go_back(subspace, number):
    """To the same numbers now and then, as early stopping does: what replays have left must not pass for their θ."""
    if number % 3 != 2:
        return torch.zeros(4, 3)
    subspace.set_coordinates(torch.full((30,), 0.5))
    return look(subspace, number)


def do_nothing(subspace, _):
    return torch.zeros(1)


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("between", [look, go_back, do_nothing])
def test_the_logic_of_replays_on_a_cpu(captures, memory, between):
    computed = losses_and_values(Gradients, memory=memory, between=between)
    assert captures.count == 0
    replayed = losses_and_values(CapturedGradients, memory=memory, between=between)
    assert captures.count == 2, "one for each shape"
    for one, other in zip(computed, replayed, strict=True):
        torch.testing.assert_close(one, other)


def test_they_need_a_cuda_device():
    subspace = Subspace(mixed(), dim=30)
    with pytest.raises(ConfigError, match="cuda_graphs needs a CUDA device, the model is on cpu; set cuda_graphs = false"):
        fit(subspace, data=data(16), rate=0.3, steps=4, seed=1, options={"cuda_graphs": True}, task=TASK)
