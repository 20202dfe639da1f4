from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError
from idbounds.projections import projection
from idbounds.projections.compiled import SWITCH
from idbounds.testing.projection_suite import Layout, ProjectionSuite, gaussian


class TestSparse(ProjectionSuite):
    family = "sparse"
    generic_from: ClassVar = 17

    def largest_d(self, layout: Layout) -> int:
        # Eight strata, each of which needs a tensor with all of its slots, unless it has one coordinate.
        stratum = max(1, 32 * (max(size for _, size in layout) // 32))
        return min(8 * stratum, sum(size for _, size in layout))


@given(d=st.integers(1, 200), nonzeros=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_rows_have_so_many_entries_and_columns_are_balanced(d, nonzeros, seed):
    # Fault B7: with independent entries 413 of 1474 rows are 0 at d = 50.
    nonzeros = min(nonzeros, d)
    P = projection("sparse", d=d, D=1474, seed=seed, nonzeros=nonzeros)
    matrix = P.to_dense()
    assert (matrix != 0).sum(1).unique().tolist() == [nonzeros or min(d, 8)]
    torch.testing.assert_close(matrix.norm(dim=0), torch.ones(d, dtype=torch.float64))
    # In a stratum of s coordinates each has at least one slot in 32 ceil(s / 32) of them.
    largest = -(-d // P.nonzeros)
    assert int((matrix != 0).sum(0).min()) >= 1474 // (32 * -(-largest // 32))


@pytest.mark.parametrize(("d", "D", "expected"), [(5, 1000, 5), (100, 10_000, 8), (5000, 10_000, 50), (800, 10_000, 8)])
def test_default_number_of_entries(d, D, expected):
    assert projection("sparse", d=d, D=D).nonzeros == expected


def test_strata_are_drawn_apart():
    strata = projection("sparse", d=64, D=6400, seed=0, nonzeros=2).to_dense().split(32, dim=1)
    first, second = ((stratum != 0).to(torch.int64).argmax(1) for stratum in strata)
    # Two independent choices of 32 agree in 200 of 6400 rows.
    assert 130 < int((first == second).sum()) < 270
    signs = strata[0].sum(1).sign() * strata[1].sum(1).sign()
    assert abs(float(signs.mean())) < 0.06


def test_pure_torch_and_compiled_kernels_give_the_same_bits(monkeypatch):
    P, w, base = projection("sparse", d=300, D=200_001, seed=0), gaussian(300, dtype=torch.float32), gaussian(200_001)
    compiled = P @ w, P.move(base, w, name=""), P.T @ base
    monkeypatch.setenv(SWITCH, "1")
    assert torch.equal(P @ w, compiled[0])
    assert torch.equal(P.move(base, w, name=""), compiled[1])
    torch.testing.assert_close(P.T @ base, compiled[2], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("nonzeros", [-1, 41])
def test_numbers_out_of_range_are_refused(nonzeros):
    with pytest.raises(ConfigError, match=f"nonzeros must be between 1 and d = 40 .* got {nonzeros}"):
        projection("sparse", d=40, D=400, nonzeros=nonzeros)


def test_a_coordinate_that_moves_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"coordinates \d+ to \d+ \(a stratum of 32\): .* would move no weight"):
        projection("sparse", d=64, layout=tuple((f"t{number}", 2) for number in range(32)), nonzeros=2)
