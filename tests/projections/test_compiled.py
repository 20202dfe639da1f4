"""The compiled path and the path through torch are one definition."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.projections import projection
from idbounds.projections.compiled import SWITCH, kernels_for
from idbounds.projections.hadamard import walsh_hadamard
from idbounds.projections.point import Write
from idbounds.testing.projection_suite import gaussian

pytest.importorskip("numba", reason="the compiled path needs numba (extra fast)")

FAMILIES = st.sampled_from(["fastfood", "one_hot", "signed_permutation"])
DTYPES = st.sampled_from([torch.float32, torch.float64])


def both_paths(action):
    """The result with the compiled kernels and without them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(SWITCH, raising=False)
        assert kernels_for(torch.zeros(1)) is not None
        compiled = action()
        patch.setenv(SWITCH, "1")
        assert kernels_for(torch.zeros(1)) is None
        return compiled, action()


@given(
    family=FAMILIES,
    dtype=DTYPES,
    d=st.integers(1, 300),
    start=st.one_of(st.integers(0, 5000), st.integers(2**40 - 10**4, 2**40 - 6000)),
    length=st.integers(0, 5000),
    seed=st.integers(0, 2**32),
)
def test_rows_have_the_same_bits(family, dtype, d, start, length, seed):
    P, w, base = projection(family, d=d, D=2**40, seed=seed), gaussian(d, dtype=dtype), gaussian(length, dtype=dtype)
    compiled, through_torch = both_paths(lambda: P.rows(w, start=start, stop=start + length))
    assert torch.equal(compiled, through_torch)
    assert torch.equal(torch.signbit(compiled), torch.signbit(through_torch))
    scaled = P.scaled(P._expand(w), "", moves=True)
    compiled, through_torch = both_paths(lambda: P.assemble(scaled, base, "", start, start + length))
    assert torch.equal(compiled, through_torch)


@given(family=FAMILIES | st.just("sparse"), dtype=DTYPES, d=st.integers(1, 300), start=st.integers(0, 5000))
def test_zero_moves_no_bit_on_either_path(family, dtype, d, start):
    P, base = projection(family, d=d, D=20_000), gaussian(3000, dtype=dtype)
    base[::3], base[1::3] = 0.0, -0.0
    for zero in (torch.zeros(d, dtype=dtype), -torch.zeros(d, dtype=dtype)):
        scaled = P.scaled(P._expand(zero), "", moves=True)
        for moved in both_paths(lambda table=scaled: P.assemble(table, base, "", start, start + 3000)):
            assert torch.equal(moved.view(torch.uint8), base.view(torch.uint8))
        for rows in both_paths(lambda w=zero: P.rows(w, start=start, stop=start + 3000)):
            assert not bool(rows.view(torch.uint8).any())


@given(family=FAMILIES, dtype=DTYPES, d=st.integers(1, 300), start=st.integers(0, 2**40 - 6000), length=st.integers(0, 5000))
def test_adjoints_agree_to_rounding(family, dtype, d, start, length):
    P, g = projection(family, d=d, D=2**40, seed=1), gaussian(length, dtype=dtype)
    compiled, through_torch = both_paths(lambda: P.adjoint_rows(g, start=start))
    tolerance = 64 * torch.finfo(dtype).eps * max(float(g.norm()), 1e-30) * P.scale("") * P.d**0.5
    torch.testing.assert_close(compiled, through_torch, rtol=0, atol=tolerance)


@given(family=FAMILIES, dtype=DTYPES, d=st.integers(1, 300), start=st.integers(0, 3000), step=st.integers(0, 3))
def test_numbers_that_lie_apart_in_memory_are_those_that_are_read(family, dtype, d, start, step):
    # A gradient of sum() is one number, seen as many: step 0.
    P, memory = projection(family, d=d, D=20_000, seed=1), gaussian(9000, dtype=dtype)
    apart = memory.as_strided((3000,), (step,))
    assert torch.equal(P.adjoint_rows(apart, start=start), P.adjoint_rows(apart.clone(), start=start))
    scaled = P.scaled(P._expand(gaussian(d, dtype=dtype)), "", moves=True)
    moved = P.assemble(scaled, apart, "", start, start + 3000)
    assert torch.equal(moved, P.assemble(scaled, apart.clone(), "", start, start + 3000))


@given(
    dtype=DTYPES,
    batch=st.integers(0, 3),
    size=st.integers(0, 9).map(lambda power: 1 << power),
    columns=st.integers(1, 70),
    seed=st.integers(0, 2**32),
)
def test_transforms_have_the_same_bits(dtype, batch, size, columns, seed):
    values = torch.randn(batch, size, columns, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    values[:, ::3] *= 0  # of both signs
    compiled, through_torch = both_paths(lambda: walsh_hadamard(values.clone()))
    assert torch.equal(compiled, through_torch)
    assert torch.equal(torch.signbit(compiled), torch.signbit(through_torch))


def test_a_transform_longer_than_what_is_made_at_once_has_the_same_bits():
    values = torch.randn(2, 2**15, 3, generator=torch.Generator().manual_seed(0))
    compiled, through_torch = both_paths(lambda: walsh_hadamard(values.clone()))
    assert torch.equal(compiled, through_torch)


@pytest.mark.parametrize("family", ["fastfood", "one_hot", "signed_permutation"])
def test_the_same_adjoint_again_with_two_threads(family):
    # Sums depend on how many threads there are, never on which of them was first.
    P, g, threads = projection(family, d=200, D=2**21 + 77), gaussian(2**21 + 77, dtype=torch.float32), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first = P.T @ g
        assert all(torch.equal(P.T @ g, first) for _ in range(5))
        torch.set_num_threads(1)
        torch.testing.assert_close(P.T @ g, first, rtol=1e-3, atol=1e-5)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("family", ["fastfood", "one_hot", "signed_permutation"])
def test_tensors_that_threads_share_are_those_made_one_by_one(family):
    # With three threads the cuts lie within the large tensors, at no unit's edge.
    layout = [("small", 77), ("large", 2**20 + 5), ("other", 2**20 - 33), ("last", 2048)]
    P = projection(family, d=200, layout=layout, seed=4)
    point, threads = P.at(gaussian(200, dtype=torch.float32)), torch.get_num_threads()
    bases = {name: gaussian(size, dtype=torch.float32) for name, size in layout}
    try:
        torch.set_num_threads(3)
        outs = {name: torch.full_like(base, torch.nan) for name, base in bases.items()}
        point.write_all([Write(name, outs[name], base) for name, base in bases.items()])
    finally:
        torch.set_num_threads(threads)
    for name, base in bases.items():
        assert torch.equal(outs[name], point.move(base, name=name))


def test_without_numba_everything_goes_through_torch():
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch, idbounds\n"
        "from idbounds.projections.compiled import kernels_for\n"
        "assert kernels_for(torch.zeros(1)) is None\n"
        "print(float((idbounds.projection('fastfood', d=50, D=5000) @ torch.ones(50)).double().sum()))\n"
    )
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = float((projection("fastfood", d=50, D=5000) @ torch.ones(50)).double().sum())
    assert float(alone.stdout) == here
