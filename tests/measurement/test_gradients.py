"""Gradients of parts of batches, computed and replayed."""

import pytest
import torch
from small_models import mixed
from torch import nn

from idbounds.core.errors import ConfigError
from idbounds.core.values import TrainingSpec
from idbounds.measurement import Subspace
from idbounds.measurement.batches import Arrays
from idbounds.measurement.tasks import TASKS
from idbounds.measurement.training import train

ON_A_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
TASK = TASKS["image_classification"]


def settings(**options):
    return TrainingSpec(
        learning_rates=(1.0,), full_learning_rates=(1.0,), batch_size=8, steps=30, quantization_steps=1, **options
    )


def data(n):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 7, generator=generator)
    return Arrays(inputs, (inputs[:, 0] > 0).long())


def trained(options, *, memory="keep", dropout=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(mixed(), nn.Dropout(dropout))
    subspace = Subspace(model, dim=30, memory=memory).cuda()
    # 37 examples in batches of 8: the last batch of each round has another shape, and every batch two parts.
    loss = train(
        subspace, [subspace.theta_d], data=data(37), learning_rate=0.3, steps=40, seed=1,
        settings=settings(**options), task=TASK, validation=data(20),
    )  # fmt: skip
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
        train(
            subspace, [subspace.theta_d], data=data(16), learning_rate=0.3, steps=4, seed=1,
            settings=settings(cuda_graphs=True), task=TASK,
        )  # fmt: skip
    assert torch.isfinite(subspace(data(4).inputs.cuda())).all()


def test_they_need_a_cuda_device():
    subspace = Subspace(mixed(), dim=30)
    with pytest.raises(ConfigError, match="cuda_graphs needs a CUDA device, the model is on cpu; set cuda_graphs = false"):
        train(
            subspace, [subspace.theta_d], data=data(16), learning_rate=0.3, steps=4, seed=1,
            settings=settings(cuda_graphs=True), task=TASK,
        )  # fmt: skip
