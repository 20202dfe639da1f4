import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.streams import Stream
from idbounds.projections.fair_signs import fair_signs

STREAM = Stream(seed=1, purpose="test")


@given(start=st.integers(0, 300), count=st.integers(0, 300))
def test_any_slice_has_the_signs_of_the_words_bits(start, count):
    words = STREAM.words(0, 10).tolist()
    expected = [1 - 2 * (words[i // 64] >> i % 64 & 1) for i in range(start, start + count)]
    np.testing.assert_array_equal(fair_signs(STREAM, start, count), expected)


def test_positions_beyond_32_bits_and_fairness():
    far = fair_signs(STREAM, 2**40 - 7, 20_000)
    np.testing.assert_array_equal(fair_signs(STREAM, 2**40, 10), far[7:17])
    # Four and a half standard deviations of 20,000 coins.
    assert abs(int(far.astype(np.int64).sum())) < 4.5 * 20_000**0.5
