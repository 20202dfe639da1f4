"""What the Triton kernels must keep, on a GPU or, under TRITON_INTERPRET=1, on the CPU; `test_triton_kernels.py` runs it.

The interpreter is chosen when triton is imported, so these run in a process of their own.
"""

import itertools
import math
import os

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idbounds.measurement import Subspace
from idbounds.projections import compiled, projection, table, triton_hadamard, triton_kernels
from idbounds.projections.hadamard import walsh_hadamard
from idbounds.projections.table import TableProjection
from idbounds.projections.units import Piece
from idbounds.testing.projection_suite import gaussian

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
#: Triton's interpreter cuts float32 to bfloat16 where a GPU rounds.
NARROW = torch.float16 if DEVICE == "cpu" else torch.bfloat16
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
#: Sums of at most a few hundred numbers of size one to ten, in another order.
ERROR = {torch.float32: 1e-4, torch.float64: 1e-12}

#: d = 100 has segments far shorter than a program, d = 3000 longer ones.
CASES = [(family, d) for family in ("one_hot", "signed_permutation", "fastfood") for d in (100, 3000)]
#: Aligned to units or not, in the first program or beyond 2^40, where 32-bit arithmetic would fail.
STARTS = st.builds(int.__add__, st.sampled_from([0, 2**40]), st.sampled_from([0, 32, 2048]) | st.integers(0, 10_000))
LENGTHS = st.sampled_from([1, 2048, 4096]) | st.integers(1, 9000)


@pytest.fixture(autouse=True)
def _the_oracle_is_the_path_through_torch(monkeypatch):
    monkeypatch.setenv(compiled.SWITCH, "1")


def bits(vector):
    return vector.view(BITS[vector.dtype])


def made(family: str, d: int, dtype: torch.dtype) -> tuple[TableProjection, torch.Tensor]:
    """A projection and its table for some w."""
    P = projection(family, d=d, D=20_000, seed=5)
    assert isinstance(P, TableProjection)
    return P, P.scaled(P._expand(gaussian(d, dtype=dtype).to(DEVICE)), "", moves=False)


def sums(P: TableProjection, table: torch.Tensor, g: torch.Tensor, name: str, start: int) -> torch.Tensor:
    """The transposed rows of P times g, through torch, as the table that the kernels add to."""
    total = torch.zeros_like(table)
    P._add_adjoint(total, g, name, start)
    return total


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES)
@settings(max_examples=2, deadline=None)
@given(start=STARTS, length=LENGTHS)
@example(start=2**40 + 37, length=5001)
def test_rows_have_the_bits_of_the_path_through_torch(family, d, dtype, start, length):
    P, table = made(family, d, dtype)
    for base in (None, gaussian(length, dtype=dtype).to(DEVICE)):
        expected, found = table.new_empty(length), table.new_empty(length)
        P._write(table, base, expected, "", start)
        triton_kernels.writing([Piece(P.tensorwise(""), start, found, base)])(table)
        assert torch.equal(bits(found), bits(expected))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES)
@settings(max_examples=2, deadline=None)
@given(start=STARTS, length=LENGTHS)
@example(start=2**40 + 37, length=5001)
def test_the_adjoint_is_that_of_the_path_through_torch(family, d, dtype, start, length):
    P, table = made(family, d, dtype)
    g = gaussian(length, dtype=dtype).to(DEVICE)
    expected = sums(P, table, g, "", start)
    found = torch.zeros_like(expected)
    triton_kernels.add_adjoint(found, [Piece(P.tensorwise(""), start, g)])
    torch.testing.assert_close(found, expected, rtol=0, atol=ERROR[dtype])


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES[::2])
def test_zero_moves_no_bit_and_is_written_as_plus_zero(family, d, dtype):
    P, table = made(family, d, dtype)
    zeros, found = torch.zeros_like(table), table.new_empty(3000)
    for zero in (zeros, -zeros):
        triton_kernels.writing([Piece(P.tensorwise(""), 0, found)])(zero)
        assert not bool(bits(found).any())
        base = -torch.zeros_like(found)
        triton_kernels.writing([Piece(P.tensorwise(""), 0, found, base)])(zero)
        assert torch.equal(bits(found), bits(base))


def test_no_rows_at_all():
    P, table = made("one_hot", 100, torch.float32)
    nothing, total = table.new_empty(0), torch.zeros_like(table)
    for start in (0, 37):
        triton_kernels.writing([Piece(P.tensorwise(""), start, nothing, nothing)])(table)
        triton_kernels.add_adjoint(total, [Piece(P.tensorwise(""), start, nothing)])
    assert not bool(total.any())


def test_only_the_rows_asked_for_are_written_and_what_lies_apart_is_read():
    P, table = made("fastfood", 100, torch.float32)
    about, memory, every_other = P.tensorwise(""), table.new_full((1000,), 7.0), gaussian(1600, dtype=torch.float32)[::2]
    every_other = every_other.to(DEVICE)
    triton_kernels.writing([Piece(about, 37, memory[100:900], every_other)])(table)
    expected = table.new_empty(800)
    P._write(table, every_other, expected, "", 37)
    assert torch.equal(memory[100:900], expected)
    assert bool((memory[:100] == 7).all())
    assert bool((memory[900:] == 7).all())
    total = table.new_full(table.shape, 7.0)
    triton_kernels.add_adjoint(total, [Piece(about, 37, every_other)])
    torch.testing.assert_close(total, 7 + sums(P, table, every_other, "", 37), rtol=0, atol=ERROR[torch.float32])


@pytest.mark.parametrize(("family", "d"), CASES)
def test_one_launch_serves_tensors_of_many_sizes_dtypes_and_addresses(family, d):
    sizes = {"matrix": 9000, "aligned": 4096, "bias": 2, "nothing": 0, "odd": 2049}
    P = projection(family, d=d, layout=[(name, size) for name, size in sizes.items() if size] + [("rest", 9000)], seed=5)
    assert isinstance(P, TableProjection)
    table = P.scaled(P._expand(gaussian(d, dtype=torch.float32).to(DEVICE)), "matrix", moves=False)
    kinds = [(torch.float32, torch.float32), (NARROW, torch.float32), (NARROW, NARROW)]
    pieces, expected, total = [], [], torch.zeros_like(table)
    for (name, size), (out, base) in itertools.product(sizes.items(), kinds):
        theta_0, rows = gaussian(size, dtype=base).to(DEVICE), table.new_empty(size)
        P._write(table, theta_0.float(), rows, name, 0)
        expected.append(rows.to(out))
        pieces.append(Piece(P.tensorwise(name), 0, torch.full((size + 3,), 7.0, dtype=out, device=DEVICE)[3:], theta_0))
        total += sums(P, table, rows.to(out).float(), name, 0)
    triton_kernels.writing(pieces)(table)
    assert all(torch.equal(piece.rows, rows) for piece, rows in zip(pieces, expected, strict=True))
    found = torch.zeros_like(table)
    triton_kernels.add_adjoint(found, [piece._replace(base=None) for piece in pieces])
    torch.testing.assert_close(found, total, rtol=0, atol=10 * ERROR[torch.float32])


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES)
@pytest.mark.parametrize("columns", [5, 24, 768, 2048])
def test_rows_that_indices_name_are_those_of_the_matrix(family, d, columns, dtype):
    P, table = made(family, d, dtype)
    height = 20_000 // columns
    indices = torch.tensor([3, height - 1, 0, 3, 1], device=DEVICE)
    theta_0, matrix = gaussian(height * columns, dtype=dtype).to(DEVICE), table.new_empty(height * columns)
    for base in (None, theta_0):
        P._write(table, base, matrix, "", 0)
        found = torch.full((5, columns), 7.0, dtype=dtype, device=DEVICE)
        triton_kernels.writing([Piece(P.tensorwise(""), 0, found, base, indices)])(table)
        assert torch.equal(bits(found), bits(matrix.view(height, columns)[indices]))
    total = torch.zeros_like(table)
    triton_kernels.add_adjoint(total, [Piece(P.tensorwise(""), 0, found, indices=indices)])
    gradient = torch.zeros_like(matrix).view(height, columns).index_add_(0, indices, found)
    torch.testing.assert_close(total, sums(P, table, gradient.view(-1), "", 0), rtol=0, atol=ERROR[dtype])


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("padding", [None, 5])
def test_an_embedding_looks_up_rows_without_a_look_at_the_indices(memory, padding, monkeypatch):
    torch.manual_seed(0)
    words, ids = torch.nn.Embedding(300, 24, padding_idx=padding), torch.tensor([[5, 5, 299, 0], [7, 1, 5, 1]], device=DEVICE)
    found = []
    for kernels in (None, triton_kernels):
        monkeypatch.setattr(table, "kernels_for", lambda _, kernels=kernels: kernels)
        subspace = Subspace(torch.nn.Sequential(words, torch.nn.Tanh()).to(DEVICE), dim=40, memory=memory, seed=3)
        subspace.set_coordinates(torch.linspace(-1, 1, 40))
        output = subspace(ids)
        output.square().sum().backward()
        (gradient,) = torch.autograd.grad(subspace(ids).square().sum(), subspace.theta_d, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), subspace.theta_d)
        found.append((output.detach(), subspace.theta_d.grad, gradient.detach(), second))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_indices_may_be_written_to_before_the_backward_pass(monkeypatch):
    monkeypatch.setattr(table, "kernels_for", lambda _: triton_kernels)
    model, gradients = torch.nn.Sequential(torch.nn.Embedding(300, 24)).to(DEVICE), []
    for change in (0, 1):
        subspace, ids = Subspace(model, dim=40), torch.tensor([3, 7], device=DEVICE)
        output = subspace(ids)
        ids += change
        gradients.append(torch.autograd.grad(output.square().sum(), subspace.theta_d)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_an_index_that_names_no_row_is_refused(monkeypatch):
    if DEVICE == "cuda":
        pytest.skip("on a GPU it ends the process, as torch's own check does")
    monkeypatch.setattr(table, "kernels_for", lambda _: triton_kernels)
    for wrong in (300, -1):
        with pytest.raises(RuntimeError, match=r"an index of tensor '0.weight' is not in \[0, 300\)"):
            Subspace(torch.nn.Sequential(torch.nn.Embedding(300, 24)), dim=40)(torch.tensor([3, wrong]))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 2, 1), (2, 32, 5), (1, 1024, 16), (32, 64, 16), (1, 4096, 1)])
def test_the_transform_has_the_bits_of_the_path_through_torch(shape, dtype):
    values = gaussian(math.prod(shape), dtype=dtype).view(shape).to(DEVICE)
    assert torch.equal(bits(triton_hadamard.walsh_hadamard(values.clone())), bits(walsh_hadamard(values.clone())))
