"""The rate as training sees it against the codes that are written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes import get_code
from idbounds.codes.arithmetic import ArithmeticEncoder
from idbounds.codes.bits import BitWriter
from idbounds.codes.rates import SCALE_BITS, magnitude_bits

INTEGERS = st.lists(st.integers(-255, 255) | st.integers(-2, 2), min_size=1, max_size=60).map(
    lambda values: np.array(values, dtype=np.int64)
)


def written(values: np.ndarray, name: str) -> int:
    coder, writer = ArithmeticEncoder(), BitWriter()
    get_code(name).encode(values, coder=coder)
    coder.finish(writer)
    return writer.num_bits


def said(values: np.ndarray) -> float:
    return float(magnitude_bits(np.abs(values))[np.abs(values)].sum()) + SCALE_BITS


@given(INTEGERS)
def test_it_is_the_length_of_the_shorter_code_word_up_to_its_ending(values):
    assert -0.1 <= min(written(values, "gaussian"), written(values, "laplace")) - said(values) <= 2.1


@pytest.mark.parametrize(("d", "deviation"), [(100, 0.5), (300, 1.0), (2000, 4.0)])
def test_it_is_within_a_few_percent_of_the_shortest_of_all_codes(d, deviation):
    values = np.rint(np.random.default_rng(d).normal(0, deviation, d)).astype(np.int64)
    shortest = min(written(values, name) for name in ("adaptive", "gaussian", "laplace", "enumerative"))
    assert said(values) == pytest.approx(shortest, rel=0.03)


@given(INTEGERS)
def test_a_larger_magnitude_never_costs_less(values):
    assert np.all(np.diff(magnitude_bits(np.abs(values))[:256]) >= 0)


def test_among_zeros_a_zero_is_nearly_free_and_the_rest_is_dear():
    bits = magnitude_bits(np.zeros(1000, dtype=np.int64))
    assert bits[0] < 0.001
    assert bits[1] > 10
