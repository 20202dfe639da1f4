from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.units import bits_to_nats, nats_to_bits

# ln 2 to 40 digits, cut off: below the true value by less than 1e-40.
LN2 = Fraction("0.6931471805599453094172321214581765680755")
amounts = st.floats(min_value=1e-300, max_value=1e15)


@given(bits=amounts)
def test_nats_are_never_too_few_and_within_two_units_of_rounding(bits):
    exact = Fraction(bits) * LN2
    assert exact < Fraction(bits_to_nats(bits)) <= exact * (1 + Fraction(4, 2**52))


@given(nats=amounts)
def test_bits_are_never_too_few_and_within_four_units_of_rounding(nats):
    exact = Fraction(nats) / LN2
    assert exact < Fraction(nats_to_bits(nats)) <= exact * (1 + Fraction(8, 2**52))


def test_nothing_costs_nothing_and_arrays_are_converted_element_by_element():
    assert bits_to_nats(0.0) == 0.0
    np.testing.assert_array_equal(bits_to_nats(np.array([0.0, 3.0, 621.0])), [0.0, bits_to_nats(3.0), bits_to_nats(621.0)])


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_negative_amount_is_refused(wrong):
    with pytest.raises(ValueError, match="non-negative"):
        bits_to_nats(wrong)
