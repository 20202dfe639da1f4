"""Laws of `Subspace` on small networks that have what real ones have: tied weights, Dropout, BatchNorm, frozen parts."""

import copy

import pytest
import torch
from small_models import Tied, mixed
from torch import nn

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace
from idbounds.testing.parametrization_suite import FAMILIES

PARAMETRIZATIONS = pytest.mark.parametrize("parametrization", ["full_weights", "said"])
IDS = torch.arange(10)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in model.state_dict().items()}


def moved(model: nn.Module, *, dim: int = 12, size: float = 0.3, **options) -> Subspace:
    """A subspace in eval mode, away from its start."""
    subspace = Subspace(model, dim=dim, **options).eval()
    subspace.set_coordinates(size * torch.randn(dim, generator=torch.Generator().manual_seed(1)))
    return subspace


@PARAMETRIZATIONS
def test_exactly_d_numbers_are_trainable(parametrization):
    subspace = Subspace(Tied(), dim=12, parametrization=parametrization)
    trainable = [parameter for parameter in subspace.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trainable) == 12 == sum(subspace.ledger().values())
    assert trainable[0] is subspace.theta_d
    assert not subspace.theta_d.any()


@PARAMETRIZATIONS
@pytest.mark.parametrize("projection", FAMILIES)
def test_start_is_theta_0_in_every_bit(parametrization, projection):
    model = Tied()
    with torch.no_grad():
        model.out.bias[0] = -0.0
    subspace = Subspace(model, dim=12, parametrization=parametrization, projection=projection)
    assert bits(subspace.merge()) == bits(model)
    assert torch.equal(subspace.model.out.weight, model.out.weight)
    assert torch.equal(torch.signbit(subspace.model.out.bias), torch.signbit(model.out.bias))
    assert torch.equal(subspace.eval()(IDS), model.eval()(IDS))


def test_callers_model_is_left_as_it_was():
    model = Tied()
    before, trainable = bits(model), [parameter.requires_grad for parameter in model.parameters()]
    subspace = moved(model)
    subspace.train()(IDS).sum().backward()
    assert bits(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable
    assert all(parameter.grad is None for parameter in model.parameters())
    assert type(model.out) is nn.Linear
    assert model.training


def test_train_and_eval_reach_every_module():
    # Fault B2: in public code dropout and BatchNorm stay in training mode while errors are counted.
    subspace = Subspace(Tied(), dim=12)
    for mode in (False, True):
        subspace.train(mode)
        assert {module.training for module in subspace.modules()} == {mode}
    assert {nn.Dropout, nn.BatchNorm1d} <= {kind for module in subspace.modules() for kind in type(module).__mro__}
    subspace.eval()
    assert torch.equal(subspace(IDS), subspace(IDS))
    torch.manual_seed(0)
    assert not torch.equal(subspace.train()(IDS), subspace(IDS))


def test_evaluation_of_one_input_does_not_depend_on_the_others():
    subspace = moved(Tied())
    torch.testing.assert_close(subspace(IDS)[3:4], subspace(IDS[3:4]), rtol=1e-5, atol=1e-6)


def test_batch_statistics_are_gathered_in_training_only():
    subspace = Subspace(Tied(), dim=12)
    norm = subspace.model.body[1]
    subspace.eval()(IDS)
    assert not norm.running_mean.any()
    subspace.train()(IDS)
    assert norm.running_mean.any()
    assert "model.body.1.running_mean" in subspace.state_dict()
    assert torch.equal(subspace.merge().body[1].running_mean, norm.running_mean)


def test_tied_weights_stay_one_tensor_and_move_together():
    # Fault B3: named_parameters() drops the alias, so that public code moves one of the two.
    subspace = moved(Tied())
    assert torch.equal(subspace.model.out.weight, subspace.model.embedding.weight)
    assert not torch.equal(subspace.model.out.weight, Tied().out.weight)
    names = [name for name, _ in subspace.projection.spec.layout]
    assert "embedding.weight" in names
    assert "out.weight" not in names
    assert sum(parameter.numel() for parameter in Tied().parameters()) == subspace.projection.D


@PARAMETRIZATIONS
def test_gradient_of_a_tied_tensor_sums_over_its_places(parametrization):
    subspace = moved(Tied(), parametrization=parametrization)
    (subspace(IDS) ** 3).sum().backward()
    plain = subspace.merge()
    (plain(IDS) ** 3).sum().backward()
    chained = torch.autograd.grad(
        [
            subspace.parametrization.move(parameter, subspace.theta_d, name=name, projection=subspace.projection)
            for name, parameter in plain.named_parameters()
        ],
        subspace.theta_d,
        [parameter.grad for parameter in plain.parameters()],
    )[0]
    torch.testing.assert_close(subspace.theta_d.grad, chained, rtol=1e-4, atol=1e-6)


def test_gradient_is_the_adjoint_of_the_weights_gradient():
    model = mixed().double()
    x = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    subspace = Subspace(model, dim=20, allocation="per_tensor")
    subspace(x).pow(2).sum().backward()
    model(x).pow(2).sum().backward()
    g = torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])
    truth = (subspace.projection.T @ g).float()  # θ_d is float32, as is its gradient
    torch.testing.assert_close(subspace.theta_d.grad, truth, rtol=1e-5, atol=1e-6)


def test_parametrized_weights_are_made_by_the_formula():
    model, subspace = mixed(), moved(mixed())
    theta = model[0].weight.double() + subspace.projection.rows(subspace.theta_d.double(), name="0.weight").view(33, 7)
    torch.testing.assert_close(subspace.model[0].weight.double(), theta, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("forward_first", [False, True])
def test_a_deep_copy_is_equal_and_independent(forward_first):
    # Fault B13: public code cannot be copied after a forward pass.
    subspace = moved(Tied())
    output = subspace(IDS).detach()
    if forward_first:
        subspace(IDS).sum().backward()
    twin = copy.deepcopy(subspace)
    assert torch.equal(twin(IDS), output)
    twin.set_coordinates(torch.zeros(12))
    assert torch.equal(twin(IDS), Tied().eval()(IDS))
    assert torch.equal(subspace(IDS), output)
    with torch.no_grad():
        subspace.theta_d.mul_(-1)
    assert torch.equal(twin(IDS), Tied().eval()(IDS))
    assert [id(p) for p in twin.parameters() if p.requires_grad] == [id(twin.theta_d)]


@PARAMETRIZATIONS
def test_merge_gives_a_plain_model_with_the_same_outputs(parametrization):
    subspace, model = moved(Tied(), parametrization=parametrization), Tied()
    output = subspace(IDS)
    plain = subspace.merge()
    assert torch.equal(plain(IDS), output)
    assert [type(module) for module in plain.modules()] == [type(module) for module in model.modules()]
    assert list(plain.state_dict()) == list(model.state_dict())
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert torch.equal(subspace(IDS), output)


def test_merged_tied_weights_are_still_tied():
    plain = moved(Tied()).merge()
    assert plain.out.weight is plain.embedding.weight
    with torch.no_grad():
        plain.embedding.weight.zero_()
    assert not plain.out.weight.any()


def test_merging_a_copy_leaves_the_original_working():
    subspace = moved(Tied())
    output = subspace(IDS)
    merged = copy.deepcopy(subspace).merge()
    assert torch.equal(subspace(IDS), output)
    assert torch.equal(merged(IDS), output)
    again = subspace.merge()
    assert torch.equal(again(IDS), output)
    subspace(IDS).sum().backward()
    assert subspace.theta_d.grad.any()


def test_a_merged_model_goes_into_a_subspace_again():
    plain = moved(Tied()).merge()
    assert torch.equal(Subspace(plain, dim=12).eval()(IDS), plain.eval()(IDS))


def test_frozen_parameters_do_not_move():
    model = mixed()
    model[0].weight.requires_grad_(False)
    subspace = moved(model, size=3.0)
    assert torch.equal(subspace.model[0].weight, model[0].weight)
    assert not torch.equal(subspace.model[3].weight, model[3].weight)
    assert "0.weight" not in dict(subspace.projection.spec.layout)
    plain = subspace.merge()
    assert not plain[0].weight.requires_grad
    assert plain[3].weight.requires_grad


def test_same_seed_same_network_and_other_seed_another():
    assert torch.equal(moved(Tied(), seed=4)(IDS), moved(Tied(), seed=4)(IDS))
    assert not torch.equal(moved(Tied(), seed=4)(IDS), moved(Tied(), seed=5)(IDS))


def test_state_dict_round_trip():
    subspace, fresh = moved(Tied()), Subspace(Tied(), dim=12).eval()
    fresh.load_state_dict(subspace.state_dict())
    assert torch.equal(fresh(IDS), subspace(IDS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_keep_their_type(dtype):
    model = mixed().to(dtype)
    subspace = Subspace(model, dim=20)
    assert {tensor.dtype for name, tensor in subspace.merge().named_parameters()} == {dtype}
    assert all(torch.equal(a, b) for a, b in zip(subspace.merge().parameters(), model.parameters(), strict=True))


def test_rounded_coordinates_are_multiples_of_the_step():
    subspace = moved(Tied(), size=1.0)
    for step in (0.25, 2**-1.5, 0.1):
        subspace.rounding_step = step
        multiples = subspace.coordinates().detach().double() / step
        torch.testing.assert_close(multiples, multiples.round(), rtol=0, atol=1e-5)
        assert float((subspace.coordinates() - subspace.theta_d).detach().abs().max()) <= step / 2 * (1 + 1e-6)


def test_the_gradient_passes_straight_through_the_rounding():
    subspace = moved(mixed(), dim=20)
    subspace.rounding_step = 0.25
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    subspace(x).pow(2).sum().backward()
    on_the_grid = Subspace(mixed(), dim=20).eval()
    on_the_grid.set_coordinates(subspace.coordinates().detach())
    on_the_grid(x).pow(2).sum().backward()
    assert torch.equal(subspace.theta_d.grad, on_the_grid.theta_d.grad)
    assert torch.equal(subspace(x), on_the_grid(x))


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(ConfigError, match="no trainable parameters; set requires_grad"):
        Subspace(mixed().requires_grad_(False), dim=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 5, "projection": "walsh"}, "unknown projection 'walsh'; choose one of dense, fastfood"),
        ({"dim": 5, "parametrization": "lora"}, "unknown parametrization 'lora'"),
        ({"dim": 5, "allocation": "fair"}, "allocation: .*'fair'"),
        ({"dim": 433}, "432, got d = 433; choose another d"),
        ({"dim": 3, "parametrization": "said"}, r"3 coordinates of its own .*got d = 3; choose a larger d"),
        ({"dim": 0}, "got d = 0"),
        ({"dim": 5, "seed": -1}, "seed: .*got -1"),
    ],
)
def test_wrong_arguments_are_refused_by_value(options, message):
    with pytest.raises(ConfigError, match=message):
        Subspace(mixed(), **options)


def test_wrong_number_of_coordinates_is_refused():
    with pytest.raises(ValueError, match=r"expected 12 coordinates, got shape \(13,\)"):
        Subspace(Tied(), dim=12).set_coordinates(torch.zeros(13))
