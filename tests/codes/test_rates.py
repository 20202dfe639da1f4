"""The rate as training sees it against the code that is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes import get_code
from idbounds.codes.arithmetic import ArithmeticEncoder
from idbounds.codes.bits import BitWriter
from idbounds.codes.chain import NUM_LEVELS
from idbounds.codes.rates import adaptive_bits, magnitude_bits

INTEGERS = st.lists(st.integers(-3 * NUM_LEVELS, 3 * NUM_LEVELS), min_size=1, max_size=60).map(
    lambda values: np.array(values, dtype=np.int64)
)


def written(values: np.ndarray) -> int:
    coder, writer = ArithmeticEncoder(), BitWriter()
    get_code("adaptive").encode(values, coder=coder)
    coder.finish(writer)
    return writer.num_bits


@given(INTEGERS)
def test_adaptive_bits_are_those_of_the_code_word_up_to_its_ending(values):
    assert 0 <= written(values) - adaptive_bits(np.abs(values)) + 1e-6 <= 2 + 1e-6


@pytest.mark.parametrize(("d", "deviation"), [(100, 0.5), (300, 1.0), (2000, 4.0)])
def test_the_last_bits_are_nothing_of_a_long_message(d, deviation):
    values = np.rint(np.random.default_rng(d).normal(0, deviation, d)).astype(np.int64)
    assert written(values) == pytest.approx(adaptive_bits(np.abs(values)), rel=0.02)


@given(INTEGERS, st.integers(0, NUM_LEVELS - 1))
def test_magnitude_bits_are_what_one_more_integer_adds(values, magnitude):
    magnitudes = np.abs(values)
    added = adaptive_bits(np.append(magnitudes, magnitude)) - adaptive_bits(magnitudes)
    assert magnitude_bits(magnitudes)[magnitude] == pytest.approx(added, abs=1e-6)


def test_among_zeros_a_zero_is_nearly_free_and_the_rest_is_dear():
    bits = magnitude_bits(np.zeros(1000, dtype=np.int64))
    assert bits[0] < 0.001
    assert np.all(np.diff(bits) > 0)
    assert bits[1] > 11
