"""Vectors in compiled functions do what numpy does to each number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

numba = pytest.importorskip("numba", reason="the compiled path needs numba (extra fast)")

from idbounds.projections.numba_vectors import (  # noqa: E402 - not without numba
    LANES,
    flipped,
    load,
    prefetch,
    prefetch_to_write,
    store,
    without_negative_zeros,
)

#: Of any value: signed zeros, numbers that are not finite and such as are too small to be normal among them.
NUMBERS = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=True), min_size=3 * LANES, max_size=3 * LANES
    ).map(lambda numbers: np.array(numbers, dtype=dtype))
)


@numba.njit
def _compute(one, other, place, word, shift, results):
    prefetch(one, place + 10**6)
    prefetch_to_write(results[0], place + 10**6)
    left, right = load(one, place), load(other, place)
    store(results[0], place, left + right)
    store(results[1], place, left - right)
    store(results[2], place, without_negative_zeros(left))
    store(results[3], place, flipped(left, np.uint32(word), np.uint32(shift)))


def test_numbers_that_lie_apart_are_refused():
    @numba.njit
    def first(numbers, result):
        store(result, 0, load(numbers, 0))

    with pytest.raises(numba.TypingError, match="contiguous array"):
        first(np.zeros(4 * LANES)[::2], np.zeros(LANES))


@given(
    one=NUMBERS,
    seed=st.integers(0, 99),
    place=st.integers(0, 2 * LANES),
    word=st.integers(0, 2**32 - 1),
    bit=st.integers(0, 31),
)
def test_vectors_do_what_numpy_does(one, seed, place, word, bit):
    other = np.random.default_rng(seed).permutation(one)
    results = np.full((4, one.size), 7.0, dtype=one.dtype)
    _compute(one, other, place, word, 31 - bit, results)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = np.stack([one + other, one - other, one + one.dtype.type(0), -one if word >> bit & 1 else one])
    within = slice(place, place + LANES)
    assert np.array_equal(results[:, within], expected[:, within], equal_nan=True)
    finite = ~np.isnan(expected[:, within])  # which sign inf - inf has is the processor's affair
    assert np.array_equal(np.signbit(results[:, within])[finite], np.signbit(expected[:, within])[finite])
    results[:, within] = 7.0
    assert np.all(results == 7.0)
