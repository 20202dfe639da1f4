"""Where θ is: kept or made again, it is the same θ, the same gradient, and never a stale one."""

import copy
import gc
import weakref

import pytest
import torch
from small_models import Tied, mixed
from torch import nn
from torch.utils.checkpoint import checkpoint

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace
from idbounds.projections import adjoint_sum
from idbounds.projections.adjoint_sum import AdjointSum
from idbounds.testing.parametrization_suite import FAMILIES

IDS = torch.arange(10)
X = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
MEMORY = pytest.mark.parametrize("memory", ["keep", "recompute"])


class Recurrent(nn.Module):
    """Recurrent layers compute with a list of weights of their own making."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.layer = kind(7, 6, num_layers=2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0].mean(1))


def moved(model, *, dim=20, **options):
    subspace = Subspace(model, dim=dim, **options).eval()
    subspace.set_coordinates(0.3 * torch.randn(dim, generator=torch.Generator().manual_seed(1)))
    return subspace


def value_and_gradient(subspace, *inputs):
    subspace.zero_grad()
    loss = subspace(*inputs).pow(2).sum()
    loss.backward()
    return loss.detach(), subspace.theta_d.grad.clone()


@pytest.mark.parametrize(
    ("make", "inputs"), [(Tied, IDS), (mixed, X), (Recurrent, X.unsqueeze(0))], ids=["tied", "mixed", "recurrent"]
)
@pytest.mark.parametrize("parametrization", ["full_weights", "said"])
def test_recomputed_weights_give_the_same_loss_and_gradient(make, inputs, parametrization):
    torch.manual_seed(3)
    model = make()
    kept, remade = (moved(model, parametrization=parametrization, memory=memory) for memory in ("keep", "recompute"))
    for one, other in zip(value_and_gradient(kept, inputs), value_and_gradient(remade, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_recompute_lets_go_of_every_weight_before_the_backward_pass():
    subspace = moved(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), memory="recompute")
    seen = []
    make = subspace._weights.make

    def watched(*what, **more):
        theta = make(*what, **more)
        seen.append(weakref.ref(theta))
        return theta

    subspace._weights.make = watched
    loss = subspace(torch.randn(3, 64)).sum()
    gc.collect()
    assert len(seen) == 4
    assert all(reference() is None for reference in seen)
    loss.backward()
    assert subspace.theta_d.grad.any()


@MEMORY
def test_a_change_of_the_numbers_in_any_way_changes_the_network(memory):
    # An optimizer that writes through .data leaves no trace in the version counter.
    subspace = moved(mixed(), memory=memory)
    outputs = [subspace(X).detach()]
    for change in (
        lambda: subspace.theta_d.data.add_(0.1),
        lambda: subspace.set_coordinates(torch.ones(20)),
        lambda: setattr(subspace.theta_d, "data", torch.zeros(20)),
        lambda: setattr(subspace, "rounding_step", 0.25),
    ):
        change()
        outputs.append(subspace(X).detach())
        fresh = Subspace(mixed(), dim=20).eval()
        fresh.set_coordinates(subspace.coordinates().detach())
        assert torch.equal(outputs[-1], fresh(X))
    assert not torch.equal(outputs[0], outputs[1])


@MEMORY
def test_each_gradient_is_projected_before_the_next_tensors_is_made(memory, monkeypatch):
    # What was made last in the forward pass comes first: no two gradients of weights live at once.
    subspace = moved(layers_of(6), memory=memory)
    events = [(what, number) for number in reversed(range(6)) for what in ("reached", "projected")]
    assert events_of_a_pass(subspace, monkeypatch) == events


def test_small_gradients_are_projected_together(monkeypatch):
    # In a pass after the first, when it is known which weights a pass asks for: here two of them wait for one another.
    subspace = moved(layers_of(6))
    subspace(torch.randn(3, 16))
    monkeypatch.setitem(adjoint_sum._WAITING, "cpu", 4 * 4 * 16 * 16)
    assert events_of_a_pass(subspace, monkeypatch) == [
        *[("reached", 5), ("reached", 4), ("projected", 5), ("projected", 4)],
        *[("reached", 3), ("reached", 2), ("projected", 3), ("projected", 2)],
        *[("reached", 1), ("reached", 0), ("projected", 1), ("projected", 0)],
    ]


def layers_of(count):
    return nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(count)))


def events_of_a_pass(subspace, monkeypatch):
    """When the backward pass reaches each layer, and when its gradient is projected."""
    events = []
    project = AdjointSum.add

    def watched(total, gradients):
        arrived = list(gradients)
        events.extend(("projected", int(one.name.split(".")[0])) for one in arrived)
        project(total, arrived)

    monkeypatch.setattr(AdjointSum, "add", watched)
    for number, layer in enumerate(subspace.model):
        layer.register_full_backward_pre_hook(lambda *_, number=number: events.append(("reached", number)))
    subspace(torch.randn(3, 16, requires_grad=True)).sum().backward()
    return events


def test_a_network_that_was_first_used_in_inference_mode_can_be_trained():
    subspace, known = moved(mixed()), moved(mixed())
    with torch.inference_mode():
        assert torch.equal(subspace(X), known(X))
    for values in (torch.ones(20), torch.zeros(20)):
        for one in (subspace, known):
            one.set_coordinates(values)
        for one, other in zip(value_and_gradient(subspace, X), value_and_gradient(known, X), strict=True):
            assert torch.equal(one, other)


def test_autocast_and_full_precision_take_turns():
    subspace = moved(mixed())
    plain = subspace.merge()
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(subspace(X), plain(X))
        assert torch.equal(subspace(X), plain(X))


@MEMORY
def test_under_autocast_the_gradient_is_that_of_the_moved_model(memory):
    subspace = moved(mixed(), memory=memory)
    plain = subspace.merge()
    for network in (subspace, plain):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = network(X).float().pow(2).sum()
        loss.backward()
    gradient = torch.cat([one.grad.reshape(-1) for one in plain.parameters()])
    torch.testing.assert_close(subspace.theta_d.grad, subspace.projection.T @ gradient)


def test_weights_that_somebody_wrote_to_are_made_anew():
    subspace = moved(mixed())
    output = subspace(X).detach()
    with torch.no_grad():
        subspace.model[0].weight.zero_()
    assert torch.equal(subspace(X), output)


def test_a_backward_pass_after_the_weights_moved_on_is_refused():
    subspace = moved(mixed())
    loss = subspace(X).pow(2).sum()
    subspace.set_coordinates(torch.zeros(20))
    subspace(X)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_two_passes_before_one_backward_pass_sum_their_gradients():
    subspace = moved(mixed())
    _, once = value_and_gradient(subspace, X)
    subspace.zero_grad()
    (subspace(X).pow(2).sum() + subspace(X).pow(2).sum()).backward()
    torch.testing.assert_close(subspace.theta_d.grad, 2 * once)


class Checkpointed(nn.Module):
    """Two blocks, each checkpointed; the second block and the output share a weight."""

    def __init__(self, use_reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.out = nn.Linear(7, 7), nn.Linear(7, 7), nn.Linear(7, 7)
        self.out.weight = self.second.weight
        self.use_reentrant = use_reentrant

    def forward(self, x):
        for block in (self.first, self.second):
            layer = lambda value, block=block: torch.tanh(block(value))  # noqa: E731
            x = layer(x) if self.use_reentrant is None else checkpoint(layer, x, use_reentrant=self.use_reentrant)
        return self.out(x)


@MEMORY
@pytest.mark.parametrize("parametrization", ["full_weights", "said"])
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_of_both_kinds_gives_the_same_gradient(use_reentrant, parametrization, memory):
    x = X.clone().requires_grad_()
    plain, checkpointed = (
        moved(Checkpointed(kind), parametrization=parametrization, memory=memory).train() for kind in (None, use_reentrant)
    )
    for one, other in zip(value_and_gradient(plain, x), value_and_gradient(checkpointed, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_compute_with_the_moved_weights(kind):
    torch.manual_seed(0)
    model, x = Recurrent(kind), torch.randn(4, 5, 7)
    subspace = moved(model)
    plain = subspace.merge()
    assert torch.equal(subspace(x), plain(x))
    assert not torch.equal(subspace(x), model(x))
    assert not plain.layer._forward_pre_hooks
    assert all(
        weight is getattr(plain.layer, name)
        for name, weight in zip(plain.layer._flat_weights_names, plain.layer._flat_weights, strict=True)
    )
    subspace(x).sum().backward()
    assert torch.equal(copy.deepcopy(subspace)(x), subspace(x))


def test_shared_weights_are_the_callers_and_are_not_written_to():
    model = mixed()
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    subspace = moved(model, share_weights=True)
    subspace(X).sum().backward()
    assert subspace.model[0].parametrizations.weight.original.data_ptr() == model[0].weight.data_ptr()
    assert all(
        torch.equal(one, before[name]) and one.requires_grad and one.grad is None for name, one in model.named_parameters()
    )


def test_a_head_that_is_trained_directly_counts_in_d():
    subspace = Subspace(mixed(), dim=20 + 33 * 3 + 3, train_directly=["3.*"])
    assert subspace.ledger() == {"projected coordinates": 20, "weights of 3.weight": 99, "weights of 3.bias": 3}
    assert [name for name, _ in subspace.projection.spec.layout] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert torch.equal(subspace(X), mixed()(X))
    subspace(X).pow(2).sum().backward()
    plain = mixed()
    plain(X).pow(2).sum().backward()
    torch.testing.assert_close(subspace.theta_d.grad[20:119].view(3, 33), plain[3].weight.grad)
    torch.testing.assert_close(subspace.theta_d.grad[119:], plain[3].bias.grad)
    with torch.no_grad():
        subspace.theta_d[119:] = 2.0
    torch.testing.assert_close(subspace.merge()[3].bias, mixed()[3].bias + 2)


@pytest.mark.parametrize("projection", FAMILIES)
def test_autocast_reaches_the_model_and_not_the_projection(projection):
    subspace = moved(mixed(), projection=projection)
    plain = subspace.merge()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, expected = subspace(X), plain(X)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    output.float().sum().backward()
    assert subspace.theta_d.grad.dtype == torch.float32


@pytest.mark.parametrize(("scales", "count"), [("none", 0), ("layer", 3), ("tensor", 6)])
def test_scales_are_an_option_of_every_parametrization(scales, count):
    subspace = moved(mixed(), parametrization="full_weights", parametrization_options={"scales": scales})
    assert subspace.parametrization.own_coordinates == count
    subspace(X).pow(2).sum().backward()
    assert subspace.theta_d.grad.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_directly": ["head.*"]}, r"no trainable tensor matches 'head\.\*'; there are 0\.weight"),
        ({"train_directly": ["*"]}, "matches every trainable tensor"),
        ({"train_directly": ["3.*"]}, "d = 20 must be larger than the 102 weights"),
        ({"memory": "disk"}, "memory must be 'keep' or 'recompute', got 'disk'"),
        ({"projection_options": {"terms": 2}}, "unknown option 'terms' for 'fastfood'"),
    ],
)
def test_wrong_settings_are_refused_by_value(options, message):
    with pytest.raises(ConfigError, match=message):
        Subspace(mixed(), dim=20, **options)
