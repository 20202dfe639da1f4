"""An integer-only arithmetic coder that is prefix-free: the decoder knows which bits were its own.

A sequence of symbols owns the interval [low, low + range) of [0, 1). The code word is the shortest dyadic
interval inside it that starts where bits can name it, so code words of different sequences are disjoint
intervals and Kraft's inequality holds. Because `range` is kept above half of the working precision, naming
takes at most 2 bits after the bits that normalisation has already shifted out.

Carries run through arbitrarily long integers instead of being tracked bit by bit: `low` simply grows.
Everything is a Python integer, so encoder and decoder agree on every processor.

Source: Witten, Neal & Cleary, CACM 30(6), 1987; Moffat, Neal & Witten, ACM TOIS 16(3), 1998.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from idbounds.codes.bits import BitReader, BitWriter
from idbounds.core.errors import CorruptMessageError

#: Working precision in bits. With totals below 2^30, truncating range // total costs less than 2^-31 of a symbol.
PRECISION = 62
MAX_TOTAL = 2**30
_FULL = 1 << PRECISION
_MASK = _FULL - 1
#: Settled bits are set aside in pieces of this size, so that adding to `low` stays cheap in long messages.
_PIECE_BITS = 4096
#: Bits that a decoder looks ahead at once, behind its window; a symbol shifts out at most PRECISION of them.
_AHEAD_BITS = 4 * PRECISION
#: Binary places of `used`: 1/1024 of a bit. Such numbers add up without rounding in float64.
_LOG_BITS = 10


class ArithmeticEncoder:
    """Encodes symbols given as [start, start + size) out of `total`, then writes one code word."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _FULL
        self._pieces: list[tuple[int, int]] = []
        self._open_bits = 0
        self._set_aside = 0

    @property
    def used(self) -> float:
        """Bits of the symbols so far, -log2 of the interval's width, rounded down to 1/1024; made with integers alone."""
        return self._set_aside + self._open_bits + _missing_bits(self._range)

    def encode(self, start: int, size: int, *, total: int) -> None:
        """Append a symbol of probability size / total."""
        if not (0 <= start < start + size <= total <= MAX_TOTAL):
            raise ValueError(_describe(start, size, total))
        # No helpers here: this is the inner loop of every message.
        unit = self._range // total
        offset = unit * start
        width = self._range - offset if start + size == total else unit * size
        shift = PRECISION - width.bit_length()
        if shift <= 0:
            self._low += offset
            self._range = width
            return
        self._low = (self._low + offset) << shift
        self._range = width << shift
        self._open_bits += shift
        if self._open_bits >= _PIECE_BITS:
            self._pieces.append((self._low >> PRECISION, self._open_bits))
            self._low &= _MASK
            self._set_aside += self._open_bits
            self._open_bits = 0

    def encode_below(self, value: int, bound: int) -> None:
        """Append one of `bound` numbers of equal probability."""
        self.encode(value, 1, total=bound)

    def finish(self, writer: BitWriter) -> None:
        """Write the code word: the bits shifted out, then at most 2 that name a point of the final interval."""
        tail = _termination(self._low & _MASK, self._range)
        grain = PRECISION - tail
        last = -(-self._low >> grain)  # low rounded up to a multiple of 2^grain
        code, num_bits = 0, 0
        for value, width in [*self._pieces, (last, self._open_bits + tail)]:
            code = (code << width) + value  # a carry out of `value` lands in the bits before it
            num_bits += width
        writer.write(code, width=num_bits)


class ArithmeticDecoder:
    """Decodes what `ArithmeticEncoder` wrote from the reader's position on; `finish` leaves the reader right behind it.

    Raises CorruptMessageError as soon as a symbol needs bits that are not there. What it accepts is exactly what the
    encoder writes.

    Instead of `low` it knows how far the code word lies above it: a window of PRECISION bits at the first bit that is not
    shifted out yet, minus `low`.
    """

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._start = reader.position
        self._range = _FULL
        self._value = reader.look(reader.position, width=PRECISION)
        # Bits behind the window, so that most symbols need no look into the bytes; never more than may be shifted out.
        self._ahead, self._ahead_bits = 0, 0
        self._end_of_ahead = reader.position

    @property
    def used(self) -> float:
        """The encoder's `used` after the same symbols."""
        return self._position - self._start + _missing_bits(self._range)

    def decode_below(self, bound: int) -> int:
        """One of `bound` numbers of equal probability."""
        if not 1 <= bound <= MAX_TOTAL:
            raise ValueError(_describe(0, 1, bound))
        unit = self._range // bound
        value = min(self._value // unit, bound - 1)
        offset = unit * value
        self._narrow(offset, unit if value < bound - 1 else self._range - offset)
        return value

    def decide(self, first: int, second: int) -> int:
        """0 or 1, whose probabilities are as these sizes."""
        total = first + second
        if first < 1 or second < 1 or total > MAX_TOTAL:
            raise ValueError(_describe(first, second, total))
        offset = self._range // total * first
        if self._value < offset:
            self._narrow(0, offset)
            return 0
        self._narrow(offset, self._range - offset)
        return 1

    def find(self, starts: Sequence[int]) -> int:
        """Which symbol is next, of those that own [starts[i], starts[i + 1]); the first start is 0, the last the total."""
        total = starts[-1]
        if starts[0] != 0 or not 1 <= total <= MAX_TOTAL:
            raise ValueError(_describe(starts[0], 1, total))
        unit = self._range // total
        place = bisect_right(starts, min(self._value // unit, total - 1)) - 1
        offset, end = unit * starts[place], starts[place + 1]
        self._narrow(offset, unit * end - offset if end < total else self._range - offset)
        return place

    def finish(self) -> None:
        """Consume the terminating bits, and refuse bits inside the final interval that are not its code word.

        Such bits exist because the cell that they name may stick out of the interval; only the encoder's cell is
        sure to fit, and accepting others would give one sequence two spellings.
        """
        reader = self._reader
        reader.position = self._position
        low = (reader.look(reader.position, width=PRECISION) - self._value) & _MASK
        tail = _termination(low, self._range)
        reader.skip(tail)
        grain = PRECISION - tail
        if (low + self._value) >> grain != -(-low >> grain):
            raise CorruptMessageError("the message ends in bits that no encoder writes; get an unaltered copy of the file")

    @property
    def _position(self) -> int:
        """Where the window begins."""
        return self._end_of_ahead - self._ahead_bits

    def _narrow(self, offset: int, width: int) -> None:
        """Go on in [low + offset, low + offset + width)."""
        shift = PRECISION - width.bit_length()
        if shift <= 0:
            self._value -= offset
            self._range = width
            return
        if shift > self._ahead_bits:
            self._look_ahead(shift)
        self._ahead_bits -= shift
        self._value = ((self._value - offset) << shift) | (self._ahead >> self._ahead_bits) & ((1 << shift) - 1)
        self._range = width << shift

    def _look_ahead(self, needed: int) -> None:
        reader, position = self._reader, self._position
        if needed > reader.num_bits - position:
            reader.position = position
            reader.skip(needed)  # says what is missing
        self._ahead_bits = min(_AHEAD_BITS, reader.num_bits - position)
        self._ahead = reader.look(position + PRECISION, width=self._ahead_bits)
        self._end_of_ahead = position + self._ahead_bits


def _describe(start: int, size: int, total: int) -> str:
    return f"need 0 <= start < start + size <= total <= {MAX_TOTAL}, got {start}, {size}, {total}"


def _missing_bits(width: int) -> float:
    """-log2(width / 2^PRECISION), rounded down to a multiple of 2^-_LOG_BITS: binary digits of log2 by repeated squaring.

    Rounding log2 of the width up keeps the sum of all lines of a ledger at most the written bits. No library's logarithm
    is asked, so that every machine prints the same ledger.
    """
    digits, rest = 0, width
    exponent = rest.bit_length() - 1
    for _ in range(_LOG_BITS):
        rest *= rest
        grown = rest.bit_length() - 1 - 2 * exponent
        digits, exponent = digits << 1 | grown, 2 * exponent + grown
    inexact = rest != 1 << exponent
    return PRECISION - (width.bit_length() - 1) - (digits + inexact) / (1 << _LOG_BITS)


def _termination(low: int, width: int) -> int:
    """The least t for which a multiple of 2^(PRECISION-t) and its whole cell lie in [low, low + width).

    t = 2 always does: rounding low up costs less than a quarter, and the cell takes a quarter of the at least half.
    """
    for tail in (0, 1):
        grain = PRECISION - tail
        if ((-(-low >> grain) + 1) << grain) <= low + width:
            return tail
    return 2
