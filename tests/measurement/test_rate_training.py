"""Training for the rate: the objective and its gradient, and coordinates that are held one after the other."""

import numpy as np
import pytest
import torch
from small_models import Bag, word_problem
from training_settings import BASE

from idbounds.codes import get_code
from idbounds.codes.arithmetic import ArithmeticEncoder
from idbounds.codes.bits import BitWriter
from idbounds.measurement import Subspace
from idbounds.measurement.rate_training import ProgressiveRounding, rate_bits, train_for_rate
from idbounds.measurement.tasks import TASKS
from idbounds.measurement.training import count_errors, train

TASK = TASKS["sequence_classification"]
STEP = 0.5


def subspace_of(d: int = 40) -> Subspace:
    return Subspace(Bag(), dim=d, projection="fastfood", parametrization="full_weights")


def trained(*, price: float, steps: int = 60, free_steps: int = 0, d: int = 40) -> tuple[Subspace, float]:
    subspace, data = subspace_of(d), word_problem(64)
    settings = BASE.model_copy(update={"batch_size": 16})
    train(subspace, [subspace.theta_d], data=data, learning_rate=0.1, steps=40, seed=0, settings=settings, task=TASK)
    loss = train_for_rate(
        subspace, data=data, step=STEP, price=price, steps=steps, free_steps=free_steps, seed=0, settings=settings, task=TASK
    )
    return subspace, loss


def integers(subspace: Subspace) -> np.ndarray:
    return torch.round(subspace.theta_d.detach() / STEP).numpy().astype(np.int64)


@pytest.mark.parametrize(("d", "deviation"), [(50, 0.4), (300, 1.0), (1000, 3.0)])
def test_at_integers_the_rate_is_the_code_length(d, deviation):
    x = torch.round(torch.randn(d, generator=torch.Generator().manual_seed(d)) * deviation)
    lengths = []
    for name in ("gaussian", "laplace"):
        coder, writer = ArithmeticEncoder(), BitWriter()
        get_code(name).encode(x.numpy().astype(np.int64), coder=coder)
        coder.finish(writer)
        lengths.append(writer.num_bits)
    assert float(rate_bits(x)) == pytest.approx(min(lengths), abs=2.1)


def test_between_integers_it_is_near_the_length_of_the_rounded():
    x = torch.randn(500, generator=torch.Generator().manual_seed(0))
    assert float(rate_bits(x)) == pytest.approx(float(rate_bits(torch.round(x))), rel=0.05)


def test_its_gradient_is_its_slope():
    generator = torch.Generator().manual_seed(1)
    # Away from integers, where it has a corner, and from halves, where the rounded change.
    whole, rest = torch.randint(-3, 4, (30,), generator=generator), 0.1 + 0.3 * torch.rand(30, generator=generator)
    x = (whole + rest).double().requires_grad_(True)
    assert torch.autograd.gradcheck(rate_bits, (x,), eps=1e-4, atol=1e-6)


def test_beyond_the_last_level_it_is_finite_and_flat():
    x = torch.tensor([500.0, -40.0, 0.3], requires_grad=True)
    bits = rate_bits(x)
    bits.backward()
    assert torch.isfinite(bits)
    assert x.grad[0] == 0
    assert x.grad[1] < 0


def test_afterwards_every_coordinate_is_a_multiple_of_the_step():
    subspace, loss = trained(price=1e-3)
    assert torch.equal(subspace.theta_d, torch.round(subspace.theta_d / STEP) * STEP)
    assert subspace.held is None
    assert subspace.rounding_step is None
    assert np.isfinite(loss)


def test_it_is_better_than_rounding_afterwards():
    data, rounded = word_problem(64), subspace_of()
    settings = BASE.model_copy(update={"batch_size": 16})
    train(rounded, [rounded.theta_d], data=data, learning_rate=0.1, steps=100, seed=0, settings=settings, task=TASK)
    rounded.rounding_step = STEP
    progressive, _ = trained(price=0.0)
    after, within = (count_errors(one, data, batch_size=16, task=TASK).errors for one in (rounded, progressive))
    assert within <= after


def test_dearer_bits_are_fewer():
    lengths = [float(rate_bits(torch.from_numpy(integers(trained(price=price)[0])).double())) for price in (0.0, 0.003, 0.03)]
    assert lengths[0] > lengths[1] > lengths[2]


def test_what_the_price_pulls_on_gives_way_in_the_steps_before_rounding():
    sizes = [int(np.abs(integers(trained(price=0.01, free_steps=steps)[0])).sum()) for steps in (0, 300)]
    assert sizes[1] < sizes[0]


def test_progress_is_told_of_all_steps():
    told, subspace = [], subspace_of()
    train_for_rate(
        subspace,
        data=word_problem(64),
        step=STEP,
        price=0.0,
        steps=6,
        free_steps=3,
        seed=0,
        settings=BASE.model_copy(update={"batch_size": 16}),
        task=TASK,
        progress=lambda step, steps, _: told.append((step, steps)),
    )
    assert told == [(step, 9) for step in range(1, 10)]


def test_coordinates_are_held_in_the_order_of_their_gradients():
    subspace = subspace_of(10)
    rounding = ProgressiveRounding(subspace, step=STEP, price=0.0)
    subspace.theta_d.grad = torch.arange(10.0)
    rounding(5, 10)
    held, values = subspace.held
    number = int(held.sum())
    assert 0 < number < 10
    assert held.nonzero()[:, 0].tolist() == list(range(10 - number, 10))
    with torch.no_grad():
        subspace.theta_d.fill_(0.9)
    assert torch.equal(subspace.coordinates()[held], values[held])
    assert torch.equal(subspace.coordinates()[~held], subspace.theta_d[~held])
    rounding(10, 10)
    assert bool(held.all())


def test_what_is_held_has_no_gradient():
    subspace, batch = subspace_of(10), word_problem(16).batch(np.arange(16))
    held = torch.tensor([True] * 4 + [False] * 6)
    subspace.held = (held, torch.zeros(10))
    TASK.loss(subspace, batch).backward()
    assert bool((subspace.theta_d.grad[held] == 0).all())
    assert bool((subspace.theta_d.grad[~held] != 0).any())
