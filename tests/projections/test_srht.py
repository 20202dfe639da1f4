from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.streams import Stream
from idbounds.projections import projection
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.srht import different_places
from idbounds.testing.projection_suite import ProjectionSuite


class TestSrht(ProjectionSuite):
    family = "srht"
    # Tensors of fewer rows than d give rows of signs, which may agree.
    generic_from: ClassVar = 17
    # The transform has the length of the tensor. Addresses beyond: test_places_and_padding_far_beyond_32_bits.
    reaches: ClassVar = 2**20


@given(log2_size=st.integers(0, 9), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_an_isometry_where_nothing_is_cut(log2_size, seed, data):
    d = data.draw(st.integers(1, 2**log2_size))
    matrix = projection("srht", d=d, D=2**log2_size, seed=seed).to_dense()
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-13)


@given(size=st.integers(1, 200), d=st.integers(1, 100), seed=st.integers(0, 2**64 - 1))
def test_entries_are_those_that_the_docstring_states(size, d, seed):
    P = projection("srht", d=d, layout=(("a", size), ("b", 100)), seed=seed)
    places = different_places(Stream(seed=seed, purpose="srht/places", name="a"), d, P.padded("a"))
    signs = fair_signs(Stream(seed=seed, purpose="srht/signs", name="a"), 0, size)
    column_signs = fair_signs(Stream(seed=seed, purpose="srht/column_signs", name="a"), 0, d)
    common_bits = np.bitwise_count(np.arange(size)[:, None] & places)
    expected = P.scale("a") * signs[:, None] * (1.0 - 2.0 * (common_bits % 2)) * column_signs
    np.testing.assert_array_equal(P.to_dense()[:size], expected)


@given(D=st.integers(2, 300), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_full_rank_of_one_tensor_wherever_it_is_cut(D, seed, data):
    d = data.draw(st.integers(1, D // 2))
    matrix = projection("srht", d=d, D=D, seed=seed).to_dense()
    assert int(torch.linalg.matrix_rank(matrix)) == d


@given(log2_size=st.integers(0, 8), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_places_are_different_and_in_range(log2_size, seed, data):
    count = data.draw(st.integers(1, 2**log2_size))
    places = different_places(Stream(seed=seed, purpose="test"), count, 2**log2_size)
    assert len(set(places.tolist())) == count
    if 2 * count <= 2**log2_size:
        assert len(set((places % 2 ** (log2_size - 1)).tolist())) == count
    assert 0 <= places.min() <= places.max() < 2**log2_size


def test_places_are_uniform():
    drawn = [different_places(Stream(seed=seed, purpose="test"), 3, 8) for seed in range(4000)]
    for column in np.stack(drawn, axis=1):
        counts = np.bincount(column, minlength=8)
        # Four and a half standard deviations of a count with mean 500.
        assert np.abs(counts - 500).max() < 4.5 * (4000 * 7 / 64) ** 0.5


def test_places_and_padding_far_beyond_32_bits():
    P = projection("srht", d=1000, D=2**40)
    assert P.padded("") == 2**40
    assert projection("srht", d=1000, D=2**40 + 1).padded("") == 2**41
    places = P._columns_for("", torch.device("cpu")).places
    assert 2**39 < int(places.max()) < 2**40
    assert float(places.double().mean()) / 2**39 == pytest.approx(1, abs=0.1)
