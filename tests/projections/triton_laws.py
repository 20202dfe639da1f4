"""What the Triton kernels must keep, on a GPU or, under TRITON_INTERPRET=1, on the CPU; `test_triton_kernels.py` runs it.

The interpreter is chosen when triton is imported, so these run in a process of their own.
"""

import os

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idbounds.projections import compiled, projection, triton_kernels
from idbounds.projections.table import TableProjection
from idbounds.testing.projection_suite import gaussian

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
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
    return P, P._expand(gaussian(d, dtype=dtype).to(DEVICE))


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
        triton_kernels.write_rows(table, base, found, P.tensorwise(""), start)
        assert torch.equal(bits(found), bits(expected))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES)
@settings(max_examples=2, deadline=None)
@given(start=STARTS, length=LENGTHS)
@example(start=2**40 + 37, length=5001)
def test_the_adjoint_is_that_of_the_path_through_torch(family, d, dtype, start, length):
    P, _ = made(family, d, dtype)
    g = gaussian(length, dtype=dtype).to(DEVICE)
    expected = P._adjoint_rows(g, "", start)
    found = torch.zeros_like(expected)
    triton_kernels.add_adjoint(found, g, P.tensorwise(""), start)
    torch.testing.assert_close(found, expected, rtol=0, atol=ERROR[dtype])


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize(("family", "d"), CASES[::2])
def test_zero_moves_no_bit_and_is_written_as_plus_zero(family, d, dtype):
    P, table = made(family, d, dtype)
    zeros, found = torch.zeros_like(table), table.new_empty(3000)
    for zero in (zeros, -zeros):
        triton_kernels.write_rows(zero, None, found, P.tensorwise(""), 0)
        assert not bool(bits(found).any())
        base = -torch.zeros_like(found)
        triton_kernels.write_rows(zero, base, found, P.tensorwise(""), 0)
        assert torch.equal(bits(found), bits(base))


def test_no_rows_at_all():
    P, table = made("one_hot", 100, torch.float32)
    nothing, total = table.new_empty(0), torch.zeros_like(table)
    for start in (0, 37):
        triton_kernels.write_rows(table, nothing, nothing, P.tensorwise(""), start)
        triton_kernels.add_adjoint(total, nothing, P.tensorwise(""), start)
    assert not bool(total.any())


def test_only_the_rows_asked_for_are_written_and_what_lies_apart_is_read():
    P, table = made("fastfood", 100, torch.float32)
    about, memory, every_other = P.tensorwise(""), table.new_full((1000,), 7.0), gaussian(1600, dtype=torch.float32)[::2]
    every_other = every_other.to(DEVICE)
    triton_kernels.write_rows(table, every_other, memory[100:900], about, 37)
    expected = table.new_empty(800)
    P._write(table, every_other, expected, "", 37)
    assert torch.equal(memory[100:900], expected)
    assert bool((memory[:100] == 7).all())
    assert bool((memory[900:] == 7).all())
    total = table.new_full(table.shape, 7.0)
    triton_kernels.add_adjoint(total, every_other, about, 37)
    torch.testing.assert_close(total, 7 + P._adjoint_rows(every_other, "", 37), rtol=0, atol=ERROR[torch.float32])
