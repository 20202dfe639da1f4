"""What a pass finds at hand is what it would have made: the same bits, and never those of another θ."""

import copy

import pytest
import torch
from small_models import Tied, mixed
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from idbounds.measurement import Subspace
from idbounds.measurement.ahead import Ahead
from idbounds.measurement.weights import KeptWeights

X = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


def moved(model, *, numbers=1, **options):
    subspace = Subspace(model, dim=20, **options)
    subspace.set_coordinates(0.3 * torch.randn(20, generator=torch.Generator().manual_seed(numbers)))
    return subspace


def value_and_gradient(subspace, x=X):
    output = subspace(x)
    (gradient,) = torch.autograd.grad(output.float().square().sum(), subspace.theta_d)
    return output.detach(), gradient


def made_alone(subspace, x=X):
    """What a subspace gives that has never run before, so that nothing is at hand."""
    return value_and_gradient(copy.deepcopy(subspace), x)


@pytest.fixture
def made(monkeypatch):
    """Names of the weights that were made when they were asked for, because they were not at hand."""
    names, make = [], KeptWeights.make

    def watched(self, point, theta_0, *, name, dtype):
        names.append(name)
        return make(self, point, theta_0, name=name, dtype=dtype)

    monkeypatch.setattr(KeptWeights, "make", watched)
    return names


def assert_same(one, other):
    assert torch.equal(one[0], other[0])
    torch.testing.assert_close(one[1], other[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parametrization", ["full_weights", "said"])
@pytest.mark.parametrize("allocation", ["global", "per_tensor"])
def test_passes_after_the_first_make_nothing_and_give_the_same(parametrization, allocation, made):
    subspace = moved(mixed(), parametrization=parametrization, allocation=allocation)
    subspace(X)
    assert len(made) == 6
    for numbers in (2, 2, 3):
        subspace.set_coordinates(torch.linspace(-numbers, numbers, 20))
        made.clear()
        found = value_and_gradient(subspace)
        assert not made
        assert_same(found, made_alone(subspace))


def test_the_second_derivative_is_that_of_weights_made_alone():
    second = []
    for passes in (0, 1):
        subspace = moved(mixed().double()).double()
        for _ in range(passes):
            subspace(X.double())
        (gradient,) = torch.autograd.grad(subspace(X.double()).square().sum(), subspace.theta_d, create_graph=True)
        second.append(torch.autograd.grad(gradient.square().sum(), subspace.theta_d)[0])
    torch.testing.assert_close(*second, rtol=1e-9, atol=1e-12)


class Fickle(nn.Module):
    """What it does with its layers depends on `mode`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.mode = nn.Linear(7, 7), nn.Linear(7, 7), "plain"

    def forward(self, x):
        if self.mode == "skips":
            return self.second(x)
        if self.mode == "follows a part":
            with torch.no_grad():
                x = self.first(x)
            return self.second(x)
        if self.mode == "casts a part":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x = self.first(x)
            return self.second(x.float())
        return self.second(self.first(x))


MODES = ["plain", "skips", "follows a part", "casts a part"]


@pytest.mark.parametrize("before", MODES)
@pytest.mark.parametrize("after", MODES)
def test_a_pass_may_ask_for_something_else_than_the_one_before(before, after):
    subspace = moved(Fickle())
    for mode, numbers in ((before, 1), (after, 2), (after, 3), (before, 4)):
        subspace.model.mode = mode
        subspace.set_coordinates(torch.linspace(-numbers, numbers, 20))
        assert_same(value_and_gradient(subspace), made_alone(subspace))


def test_weights_that_a_pass_skips_are_not_written_for_the_next():
    subspace = moved(Fickle())
    subspace(X)
    subspace.model.mode = "skips"
    for numbers in (2, 3):  # in the first of these passes the first layer's were written for nothing
        subspace.set_coordinates(torch.linspace(-numbers, numbers, 20))
        subspace(X)
    stale = {name: kept.holds(kept.theta_0) for (name, _), kept in subspace._weights._kept.items()}
    assert stale == {"first.weight": False, "first.bias": False, "second.weight": True, "second.bias": True}


def add_to(subspace, change):
    for steps in (module.parametrizations for module in subspace.model.modules() if parametrize.is_parametrized(module)):
        change(steps.weight)


class Doubled(nn.Module):
    def forward(self, theta):
        return 2 * theta


@pytest.mark.parametrize(
    "change",
    [
        lambda steps: steps.original.data.add_(1.0),
        lambda steps: setattr(steps.original, "data", steps.original.data + 1.0),
        lambda steps: setattr(steps, "original", nn.Parameter(steps.original.detach() + 1.0, requires_grad=False)),
        lambda steps: setattr(steps.original, "data", (steps.original.data + 1.0).t().contiguous().t()),
        lambda steps: steps.append(Doubled()),
    ],
    ids=["in place", "its data", "another tensor", "not contiguous", "one step more"],
)
@pytest.mark.parametrize("passes", [1, 2])
def test_a_change_of_theta_0_is_seen(change, passes):
    subspace = moved(Fickle())
    for _ in range(passes):
        before = subspace(X).detach()
    add_to(subspace, change)
    for numbers in (1, 2, 3):
        subspace.set_coordinates(torch.linspace(-numbers, numbers, 20))
        found = value_and_gradient(subspace)
        assert_same(found, made_alone(subspace))
    assert not torch.equal(found[0], before)


def test_another_theta_0_for_one_call():
    subspace = moved(Fickle())
    subspace(X)
    name = "model.first.parametrizations.weight.original"
    other = {name: dict(subspace.named_parameters())[name] + 1.0}
    expected = functional_call(copy.deepcopy(subspace), other, (X,))
    before = subspace(X)
    assert torch.equal(functional_call(subspace, other, (X,)), expected)
    assert torch.equal(subspace(X), before)


def test_tied_weights_are_one_and_are_found_in_all_their_places(made):
    subspace, ids = moved(Tied()).eval(), torch.arange(10)
    subspace(ids)
    made.clear()
    found = value_and_gradient(subspace, ids)
    assert not made
    assert_same(found, made_alone(subspace, ids))


def test_outside_of_a_pass_nothing_is_at_hand(made):
    subspace = moved(Fickle())
    subspace(X)
    subspace(X)
    made.clear()
    subspace.set_coordinates(torch.zeros(20))
    assert torch.equal(subspace.model.first.weight, Fickle().first.weight)
    assert made == ["first.weight"]


def test_a_pass_that_fails_leaves_nothing_on(made):
    subspace = moved(Fickle())
    subspace(X)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        subspace(torch.randn(5, 3))
    subspace.set_coordinates(torch.zeros(20))
    assert torch.equal(subspace.model.first.weight, Fickle().first.weight)
    assert_same(value_and_gradient(subspace), made_alone(subspace))


def test_a_copy_has_memory_of_its_own_and_a_merged_model_no_trace():
    subspace = moved(Fickle())
    subspace(X)
    twin, expected = copy.deepcopy(subspace), subspace(X).detach()
    subspace.set_coordinates(torch.zeros(20))
    subspace(X)
    assert torch.equal(twin(X), expected)
    steps = subspace.model.first.parametrizations.weight
    assert vars(steps)["theta_at_hand"] is not None
    assert vars(copy.deepcopy(steps))["theta_at_hand"] is None
    merged = twin.merge()
    assert vars(merged.first).keys() == vars(Fickle().first).keys()


def test_autograds_graph_is_let_go_with_the_pass():
    subspace = moved(Fickle())
    for _ in range(2):
        subspace(X)
    ahead = subspace._weights._ahead
    assert isinstance(ahead, Ahead)
    assert all(not together._held and together.point is None for group in ahead._groups for together in group._together)
