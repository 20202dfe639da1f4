"""Gradients of several tensors, added up where they arrive: the sum, whatever the order of passes and their fate."""

import pytest
import torch

from idbounds.projections import adjoint_sum, projection
from idbounds.projections.adjoint_sum import AdjointSum, Gradient
from idbounds.testing.projection_suite import LAYOUT, gaussian

#: Tables with units that are mixed and that are not, tables of strata, rows that are drawn, and a slice of w itself.
FAMILIES = pytest.mark.parametrize("family", ["fastfood", "srht", "one_hot", "sparse", "kronecker", "dense", "coordinate"])
ALLOCATIONS = pytest.mark.parametrize("allocation", ["global", "per_tensor"])


def made(family, allocation="global"):
    P = projection(family, d=40, layout=LAYOUT, seed=3, allocation=allocation)
    return P, torch.split(gaussian(P.D), list(P.sizes.values()))


@FAMILIES
@ALLOCATIONS
def test_it_is_the_sum_of_its_parts(family, allocation):
    P, gradients = made(family, allocation)
    total = AdjointSum(P, torch.float64)
    for name, g in zip(P.sizes, gradients, strict=True):
        total.add([Gradient(g, name, 0)])
    added = total.take()
    parts = sum(P.assemble_adjoint(g, name, 0) for name, g in zip(P.sizes, gradients, strict=True))
    torch.testing.assert_close(added, parts, rtol=1e-12, atol=1e-12)
    assert total.take() is None


@FAMILIES
def test_waiting_for_others_changes_no_bit(family, monkeypatch):
    layout = (("a", 700), ("b", 2**15 + 9), ("c", 2048), ("d", 2**14), ("e", 2**14), ("f", 5), ("g", 40_000), ("h", 33))
    P = projection(family, d=40, layout=layout, seed=3)
    gradients = torch.split(gaussian(P.D, dtype=torch.float32), list(P.sizes.values()))
    sums = []
    for most in (adjoint_sum._WAITING["cpu"], 0):
        monkeypatch.setitem(adjoint_sum._WAITING, "cpu", most)
        total = AdjointSum(P, torch.float32)
        for name, g in zip(P.sizes, gradients, strict=True):
            total.add([Gradient(g, name, 0)])
        sums.append(total.take())
    assert torch.equal(*sums)


@FAMILIES
def test_what_is_added_is_not_changed(family):
    P, gradients = made(family)
    before = [g.clone() for g in gradients]
    total = AdjointSum(P, torch.float64)
    for _ in range(2):
        for name, g in zip(P.sizes, gradients, strict=True):
            total.add([Gradient(g, name, 0)])
    total.take()
    assert all(torch.equal(*pair) for pair in zip(gradients, before, strict=True))


@FAMILIES
@ALLOCATIONS
def test_a_graph_that_is_kept_gives_the_same_gradient_again(family, allocation):
    P, gradients = made(family, allocation)
    w = gaussian(40).requires_grad_()
    point = P.at(w)
    loss = sum((point.rows(name=name) * g).sum() for name, g in zip(P.sizes, gradients, strict=True))
    first, second = (torch.autograd.grad(loss, w, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, P.T @ gaussian(P.D), rtol=1e-12, atol=1e-12)
    assert torch.equal(first, second)


def test_rows_of_part_of_the_tensors_and_of_one_twice():
    P, _ = made("fastfood")
    w, name = gaussian(40).requires_grad_(), list(P.sizes)[-1]
    point = P.at(w)
    (point.rows(name=name).sum() + 2 * point.rows(name=name, stop=1).sum()).backward()
    ones = torch.ones(P.size(name), dtype=torch.float64)
    expected = P.adjoint_rows(ones, name=name) + 2 * P.adjoint_rows(ones[:1], name=name)
    torch.testing.assert_close(w.grad, expected, rtol=1e-12, atol=1e-12)


def test_a_pass_that_stopped_midway_is_not_mixed_into_the_next():
    P, _ = made("fastfood")
    w, names = gaussian(40).requires_grad_(), list(P.sizes)
    point = P.at(w)
    last, first = point.rows(name=names[1]), point.rows(name=names[0])
    fail = [True]

    def stop(_):
        if fail:
            raise MemoryError

    last.register_hook(stop)
    loss = first.sum() + (last + 0 * first.sum()).sum()
    with pytest.raises(MemoryError):
        loss.backward(retain_graph=True)
    assert point._source.total._passes, "it must have stopped after a gradient was added, or nothing is left to be mixed in"
    fail.clear()
    loss.backward()
    expected = sum(P.adjoint_rows(torch.ones(P.size(name)).double(), name=name) for name in names[:2])
    torch.testing.assert_close(w.grad, expected, rtol=1e-12, atol=1e-12)


def test_a_derivative_that_is_differentiated_again():
    P, _ = made("one_hot")
    w, name = gaussian(40).requires_grad_(), next(iter(P.sizes))
    (gradient,) = torch.autograd.grad((P.at(w).rows(name=name) ** 3).sum(), w, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), w)
    rows = P.rows(torch.ones(40, dtype=torch.float64), name=name) * 6 * P.rows(w.detach(), name=name)
    torch.testing.assert_close(second, P.adjoint_rows(rows, name=name), rtol=1e-10, atol=1e-10)
