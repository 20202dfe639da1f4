from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.codes.chain import MAX_MAGNITUDE, NUM_LEVELS
from idbounds.codes.quantizers import UniformStep, e8
from idbounds.codes.registry import CODES, get_code
from idbounds.codes.viterbi import trellis
from idbounds.core.errors import ConfigError, CorruptMessageError
from idbounds.testing.code_suite import CodeSuite


class TestAdaptive(CodeSuite):
    code = get_code("adaptive")


class TestTernary(CodeSuite):
    code = get_code("ternary")


class TestEnumerative(CodeSuite):
    code = get_code("enumerative")


class TestCodebook(CodeSuite):
    code = get_code("codebook")
    # 4 bits for the number of entries, 8 or more for the set: no word is shorter than 12 bits.
    num_decoded_bits = 12


class TestTwoSteps(CodeSuite):
    code = get_code("two_steps")
    num_decoded_bits = 12


class TestE8(CodeSuite):
    code = get_code("e8")
    exhaustive = ((9, 1), (4, 2), (1, 8))

    def nearest_words(self, values):
        return e8(np.clip(values, -200, 200), step_index=UniformStep().nearest_index(1.0), grid=UniformStep()).symbols


class TestTrellis(CodeSuite):
    code = get_code("trellis")
    exhaustive = ((9, 1), (9, 2), (4, 4))

    def nearest_words(self, values):
        index, grid = UniformStep().nearest_index(1.0), UniformStep()
        return trellis(np.clip(values, -200, 200), step_index=index, max_rms_error=0.0, grid=grid).symbols


class TestGaussian(CodeSuite):
    code = get_code("gaussian")


class TestLaplace(CodeSuite):
    code = get_code("laplace")


def test_every_code_has_its_suite():
    assert set(CODES) == {suite.code.name for suite in CodeSuite.__subclasses__()}


def test_unknown_code_names_the_known_ones():
    with pytest.raises(ConfigError, match="adaptive, codebook"):
        get_code("huffman")


@given(st.lists(st.integers(0, 70).flatmap(lambda width: st.tuples(st.integers(0, 2**width - 1), st.just(width)))))
def test_fields_round_trip_and_padding_is_zero(fields):
    writer = BitWriter()
    for value, width in fields:
        writer.write(value, width=width)
    assert writer.num_bits == sum(width for _, width in fields)
    reader = BitReader(writer.to_bytes())
    assert [reader.read(width=width) for _, width in fields] == [value for value, _ in fields]
    assert reader.num_bits - reader.position < 8
    assert reader.read(width=reader.num_bits - reader.position) == 0


def test_bits_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="3 bits, got 8"):
        BitWriter().write(8, width=3)
    with pytest.raises(CorruptMessageError, match="truncated"):
        BitReader(b"\x00").read(width=9)


@st.composite
def symbol_sequences(draw):
    """Pairs of a frequency table and a symbol: a different model at each place, as adaptive models are."""
    sequence = []
    for _ in range(draw(st.integers(0, 60))):
        table = draw(st.lists(st.integers(1, draw(st.sampled_from([2, 1000, 10**7]))), min_size=1, max_size=6))
        sequence.append((table, draw(st.integers(0, len(table) - 1))))
    return sequence


@given(symbol_sequences(), st.integers(0, 2**70 - 1), st.integers(0, 13))
def test_arithmetic_coder_is_exact_self_delimiting_and_within_two_bits(sequence, junk, lead):
    encoder, writer = ArithmeticEncoder(), BitWriter()
    writer.write(0, width=lead)  # the code word need not start on a byte
    probability = Fraction(1)
    for table, symbol in sequence:
        encoder.encode(sum(table[:symbol]), table[symbol], total=sum(table))
        probability *= Fraction(table[symbol], sum(table))
    encoder.finish(writer)
    end = writer.num_bits
    # Termination takes at most 2 bits beyond -log2 p; truncation costs below 1e-6 bits over these lengths.
    ideal = math.log2(probability.denominator) - math.log2(probability.numerator)
    assert end - lead <= math.floor(ideal + 1e-6) + 2
    writer.write(junk, width=70)
    reader = BitReader(writer.to_bytes())
    reader.skip(lead)
    decoder = ArithmeticDecoder(reader)
    for table, symbol in sequence:
        assert decoder.find((0, *accumulate(table))) == symbol
    decoder.finish()
    assert reader.position == end


def test_arithmetic_coder_carries_across_set_aside_pieces():
    """Thirds that close in on 1/2 from both sides: low is 0.0111… until the end turns every bit into 0.1000…"""
    half = ArithmeticDecoder(BitReader(b"\x80" + bytes(4000)))
    encoder, writer = ArithmeticEncoder(), BitWriter()
    sequence = []
    for _ in range(15_000):
        sequence.append(half.decode_below(3))
        encoder.encode(sequence[-1], 1, total=3)
    sequence.append(2)
    encoder.encode(2, 1, total=3)
    encoder.finish(writer)
    assert writer.num_bits > 5 * 4096
    assert writer.to_bytes().startswith(b"\x80" + bytes(2500))
    reader = BitReader(writer.to_bytes())
    decoder = ArithmeticDecoder(reader)
    for symbol in sequence:
        assert decoder.decode_below(3) == symbol
    decoder.finish()
    assert reader.position == writer.num_bits


def test_arithmetic_coder_refuses_impossible_symbols():
    for start, size, total in ((0, 0, 2), (-1, 1, 2), (1, 2, 2), (0, 1, 2**31)):
        with pytest.raises(ValueError, match="need 0 <= start"):
            ArithmeticEncoder().encode(start, size, total=total)


def encode_integers(values, *, writer):
    coder = ArithmeticEncoder()
    get_code("adaptive").encode(values, coder=coder)
    coder.finish(writer)


def decode_integers(reader, *, d):
    coder = ArithmeticDecoder(reader)
    values = get_code("adaptive").decode(coder, d=d)
    coder.finish()
    return values


@given(st.lists(st.integers(-MAX_MAGNITUDE, MAX_MAGNITUDE) | st.integers(-NUM_LEVELS - 3, NUM_LEVELS + 3), min_size=1))
def test_integers_of_any_size_round_trip(values):
    writer = BitWriter()
    encode_integers(np.array(values, dtype=np.int64), writer=writer)
    reader = BitReader(writer.to_bytes())
    assert decode_integers(reader, d=len(values)).tolist() == values
    assert reader.position == writer.num_bits


def test_integers_follow_the_krichevsky_trofimov_formula():
    """2^-length is the product of sequential KT probabilities, up to the at most two terminating bits."""
    values = np.rint(2 * np.random.default_rng(3).standard_normal(500)).astype(np.int64)
    magnitudes = np.abs(values)
    ideal = float(np.count_nonzero(magnitudes))
    for level in range(int(magnitudes.max()) + 1):
        stop, larger = int(np.sum(magnitudes == level)), int(np.sum(magnitudes > level))
        # Gamma(a+1/2) Gamma(b+1/2) / (pi Gamma(a+b+1)) is the KT probability of a zeros and b ones.
        log_p = math.lgamma(stop + 0.5) + math.lgamma(larger + 0.5) - math.log(math.pi) - math.lgamma(stop + larger + 1)
        ideal -= log_p / math.log(2)
    writer = BitWriter()
    encode_integers(values, writer=writer)
    assert ideal - 1e-6 <= writer.num_bits <= ideal + 2 + 1e-6


@pytest.mark.parametrize(("d", "allowed"), [(200, 20), (1000, 26)])
def test_gaussians_cost_little_more_than_their_empirical_entropy(d, allowed):
    excess = []
    for seed in range(20):
        values = np.rint(np.random.default_rng(seed).standard_normal(d)).astype(np.int64)
        writer = BitWriter()
        encode_integers(values, writer=writer)
        counts = np.unique(values, return_counts=True)[1]
        excess.append(writer.num_bits - float(-np.sum(counts * np.log2(counts / d))))
    assert np.mean(excess) < allowed


def test_coefficients_beyond_the_code_are_refused():
    with pytest.raises(ConfigError, match="larger step"):
        encode_integers(np.array([MAX_MAGNITUDE + 1]), writer=BitWriter())


def test_a_forged_integer_beyond_the_largest_is_refused():
    """Many times "larger", then an Elias gamma number of 32 zeros: written symbol by symbol as no encoder would."""
    encoder, writer = ArithmeticEncoder(), BitWriter()
    for _ in range(NUM_LEVELS):
        encoder.encode(1, 1, total=2)
    for _ in range(32):
        encoder.encode(0, 1, total=2)
    encoder.finish(writer)
    writer.write(0, width=64)
    with pytest.raises(CorruptMessageError, match="lies beyond"):
        decode_integers(BitReader(writer.to_bytes()), d=1)


class TestUniformStep:
    quantizer = UniformStep()

    def test_grid_is_geometric_and_its_powers_of_two_are_exact(self):
        steps = [self.quantizer.step(index) for index in range(UniformStep.NUM_STEPS)]
        assert steps[0] == 256.0
        assert steps[16] == 1.0
        assert all(math.frexp(step)[0] == 0.5 for step in steps[::2])
        np.testing.assert_allclose(np.array(steps[:-1]) / steps[1:], math.sqrt(2), rtol=1e-15)

    @given(st.integers(0, UniformStep.NUM_STEPS - 1), st.floats(0.85, 1.18))
    def test_nearest_index_inverts_step(self, index, factor):
        assert self.quantizer.nearest_index(self.quantizer.step(index) * factor) == index

    def test_nearest_index_stays_inside(self):
        assert self.quantizer.nearest_index(1e300) == 0
        assert self.quantizer.nearest_index(1e-300) == UniformStep.NUM_STEPS - 1
        with pytest.raises(ConfigError, match="positive and finite"):
            self.quantizer.nearest_index(0.0)

    @given(st.lists(st.floats(-100, 100, width=32), min_size=1), st.integers(0, 40))
    def test_rounding_error_is_at_most_half_a_step(self, w, index):
        step = self.quantizer.step(index)
        back = self.quantizer.quantize(w, step=step) * step
        assert np.all(np.abs(back - np.array(w)) <= step / 2)

    def test_what_cannot_be_quantised_is_refused(self):
        with pytest.raises(ConfigError, match=r"coefficient 1 is .*nan.*diverged"):
            self.quantizer.quantize(np.array([1.0, np.nan]), step=1.0)
        with pytest.raises(ConfigError, match=r"coefficient 0 is .*inf"):
            self.quantizer.quantize(np.array([np.inf, 1.0]), step=1.0)
        with pytest.raises(ConfigError, match="larger step"):
            self.quantizer.quantize(np.array([1e12]), step=1.0)
        with pytest.raises(ConfigError, match="shape"):
            self.quantizer.quantize(np.ones((2, 2)), step=1.0)
        with pytest.raises(ConfigError, match="step index"):
            self.quantizer.step(64)
