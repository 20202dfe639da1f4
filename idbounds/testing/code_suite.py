"""The laws of a `Code`, to be subclassed by the tests of each member.

class TestMine(CodeSuite):
    code = get_code("mine")
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.codes.base import Code, Quantized
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.core.errors import CorruptMessageError

_COEFFICIENTS = st.lists(st.floats(min_value=-50.0, max_value=50.0, width=32), min_size=1, max_size=40)


class CodeSuite:
    """Subclass and set `code`; narrow `step_indices` if the code has fewer than these."""

    code: ClassVar[Code]
    #: Steps to test with, from far coarser than the coefficients to far finer.
    step_indices: ClassVar[tuple[int, ...]] = (0, 11, 16, 23, 30)
    #: Kraft's sum is taken over all vectors with these (largest magnitude, d).
    exhaustive: ClassVar[tuple[tuple[int, int], ...]] = ((1, 1), (9, 1), (3, 2), (2, 4), (1, 6))

    @given(w=_COEFFICIENTS, choice=st.integers(0, 2**16), junk=st.binary(max_size=12))
    def test_round_trip_consumes_exactly_its_own_bits(self, w: list[float], choice: int, junk: bytes) -> None:
        """decode(encode(x) + any bits) is x, and the reader stops right behind x."""
        sent = self._quantize(w, choice)
        writer = BitWriter()
        self.code.encode(sent, writer=writer)
        own_bits = writer.num_bits
        for byte in junk:
            writer.write(byte, width=8)
        reader = BitReader(writer.to_bytes())
        received = self.code.decode(reader, d=len(w))
        assert reader.position == own_bits
        assert received.step_index == sent.step_index
        np.testing.assert_array_equal(received.symbols, sent.symbols)

    @given(w=_COEFFICIENTS, choice=st.integers(0, 2**16))
    def test_ledger_sums_to_the_bits_written(self, w: list[float], choice: int) -> None:
        """Every written bit is on exactly one line."""
        writer = BitWriter()
        ledger = self.code.encode(self._quantize(w, choice), writer=writer)
        assert sum(item.bits for item in ledger) == writer.num_bits

    @given(w=_COEFFICIENTS, v=_COEFFICIENTS, choice=st.integers(0, 2**16))
    def test_no_code_word_is_the_beginning_of_another(self, w: list[float], v: list[float], choice: int) -> None:
        """Prefix-freeness on pairs of realistic size."""
        d = min(len(w), len(v))
        one, other = self._quantize(w[:d], choice), self._quantize(v[:d], choice)
        if np.array_equal(one.symbols, other.symbols):
            assert self._word(one) == self._word(other)
            return
        shorter, longer = sorted((self._word(one), self._word(other)), key=len)
        assert not longer.startswith(shorter)

    def test_kraft_sum_is_at_most_one(self) -> None:
        """Kraft's inequality and prefix-freeness by exhaustive enumeration of small vectors."""
        for largest, d in self.exhaustive:
            words = [
                self._word(Quantized(np.array(symbols, dtype=np.int64), self.step_indices[0]))
                for symbols in itertools.product(range(-largest, largest + 1), repeat=d)
            ]
            assert sum(Fraction(1, 2 ** len(word)) for word in words) <= 1
            words.sort()  # a prefix of any word sorts directly before one that it begins
            assert not any(later.startswith(earlier) for earlier, later in itertools.pairwise(words))

    @given(w=_COEFFICIENTS, choice=st.integers(0, 2**16), keep=st.floats(0.0, 1.0, exclude_max=True))
    def test_truncated_bits_are_refused(self, w: list[float], choice: int, keep: float) -> None:
        """A decoder that needs bits which are not there says so."""
        writer = BitWriter()
        self.code.encode(self._quantize(w, choice), writer=writer)
        data = writer.to_bytes()
        with pytest.raises(CorruptMessageError):
            self.code.decode(BitReader(data[: int(keep * len(data))]), d=len(w))

    @given(data=st.binary(max_size=60), d=st.integers(1, 50))
    def test_arbitrary_bytes_decode_or_are_refused(self, data: bytes, d: int) -> None:
        """No crash, no hang; what decodes is spelled as the encoder spells it."""
        reader = BitReader(data)
        try:
            received = self.code.decode(reader, d=d)
        except CorruptMessageError:
            return
        assert received.symbols.shape == (d,)
        assert reader.position <= 8 * len(data)
        assert np.all(np.isfinite(self.code.dequantize(received)))
        consumed = "".join(f"{byte:08b}" for byte in data)[: reader.position]
        assert consumed == self._word(received), "two spellings of one vector"

    @given(w=_COEFFICIENTS, choice=st.integers(0, 2**16))
    def test_dequantized_values_quantize_to_themselves(self, w: list[float], choice: int) -> None:
        """What is decoded is float32 and a fixed point of quantising."""
        sent = self._quantize(w, choice)
        coefficients = self.code.dequantize(sent)
        assert coefficients.dtype == np.float32
        assert coefficients.shape == (len(w),)
        again = self.code.dequantize(self.code.quantize(coefficients, step_index=sent.step_index))
        assert coefficients.tobytes() == again.tobytes()

    def _quantize(self, w: list[float], choice: int) -> Quantized:
        return self.code.quantize(w, step_index=self.step_indices[choice % len(self.step_indices)])

    def _word(self, quantized: Quantized) -> str:
        writer = BitWriter()
        self.code.encode(quantized, writer=writer)
        bits = "".join(f"{byte:08b}" for byte in writer.to_bytes())
        return bits[: writer.num_bits]
