"""The first butterflies chosen from a table: the same bits, and a transpose."""

import copy

import pytest
import torch

from idbounds.projections import projection, sign_patterns
from idbounds.projections.compiled import SWITCH
from idbounds.testing.projection_suite import LAYOUT, gaussian

BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
LARGE = [("matrix", 300_001), ("bias", 7), ("other", 70_000)]


@pytest.fixture(autouse=True)
def _through_torch(monkeypatch):
    monkeypatch.setenv(SWITCH, "1")


def both_ways(monkeypatch, **options):
    """A projection that adds, and one that chooses."""
    made = []
    for pays in (False, True):
        monkeypatch.setattr(sign_patterns, "pay", lambda pays=pays, **_: pays)
        made.append(projection("fastfood", seed=4, **options))
    assert [P._chooses_patterns(torch.zeros(1)) for P in made] == [False, True]
    return made


def same_bits(one, other):
    return torch.equal(one.view(BITS[one.dtype]), other.view(BITS[other.dtype]))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("d", [1, 40, 3000])
@pytest.mark.parametrize("layout", [LAYOUT, LARGE])
def test_rows_have_the_same_bits(layout, d, dtype, monkeypatch):
    adds, chooses = both_ways(monkeypatch, d=d, layout=layout)
    w, (name, size) = gaussian(d, dtype=dtype), layout[0]
    theta_0, middle = gaussian(size, dtype=dtype), {"name": name, "start": size // 3, "stop": size // 2}
    assert same_bits(adds @ w, chooses @ w)
    assert same_bits(adds.move(theta_0, w, name=name), chooses.move(theta_0, w, name=name))
    assert same_bits(adds.rows(w, **middle), chooses.rows(w, **middle))


@pytest.mark.parametrize("d", [1, 40, 3000])
@pytest.mark.parametrize("layout", [LAYOUT, LARGE])
def test_the_adjoint_is_the_transpose(layout, d, monkeypatch):
    adds, chooses = both_ways(monkeypatch, d=d, layout=layout)
    g, w = gaussian(adds.D), gaussian(d)
    made = chooses.T @ g
    torch.testing.assert_close(made, adds.T @ g, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(torch.dot(chooses @ w, g), torch.dot(w, made), rtol=1e-12, atol=1e-12)
    assert torch.equal(chooses.T @ g, made), "reproducible"


def test_points_that_take_turns_have_tables_of_their_own(monkeypatch):
    adds, chooses = both_ways(monkeypatch, d=40, layout=LAYOUT)
    turns = [[P.at(w) for w in (gaussian(40), 2 * gaussian(40))] for P in (adds, chooses)]
    rows = [torch.cat([point.rows(name=name) for name in adds.sizes for point in points]) for points in turns]
    assert same_bits(*rows)


def test_a_copy_and_a_derivative(monkeypatch):
    adds, chooses = both_ways(monkeypatch, d=40, layout=LAYOUT)
    w = gaussian(40).requires_grad_()
    gradients = [torch.autograd.grad((copy.deepcopy(P) @ w).pow(3).sum(), w)[0] for P in (adds, chooses)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


def test_zero_moves_no_bit(monkeypatch):
    monkeypatch.setattr(sign_patterns, "pay", lambda **_: True)
    P = projection("fastfood", d=40, D=5000, seed=4)
    theta_0 = -torch.zeros(5000)
    assert torch.equal(P.move(theta_0, torch.zeros(40), name="").view(torch.int32), theta_0.view(torch.int32))
    assert not P.rows(-torch.zeros(40)).view(torch.int32).any()


@pytest.mark.parametrize(("allocation", "chooses"), [("global", True), ("per_tensor", False)])
def test_tensors_of_different_scales_do_without(allocation, chooses, monkeypatch):
    monkeypatch.setattr(sign_patterns, "pay", lambda **_: True)
    P = projection("fastfood", d=40, layout=LAYOUT, seed=4, allocation=allocation)
    assert P._chooses_patterns(torch.zeros(1)) is chooses


def test_when_they_pay():
    assert sign_patterns.pay(table_numbers=2**15, rows=2**23)
    assert not sign_patterns.pay(table_numbers=2**15, rows=2**23 - 1), "half a byte for each weight is enough"
    assert not sign_patterns.pay(table_numbers=2**16, rows=2**40), "the table would leave the caches"
