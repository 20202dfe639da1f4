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

from idbounds.codes.bits import BitReader, BitWriter
from idbounds.core.errors import CorruptMessageError

#: Working precision in bits. With totals below 2^30, truncating range // total costs less than 2^-31 of a symbol.
PRECISION = 62
MAX_TOTAL = 2**30
_FULL = 1 << PRECISION
_MASK = _FULL - 1
#: Settled bits are set aside in pieces of this size, so that adding to `low` stays cheap in long messages.
_PIECE_BITS = 4096


class ArithmeticEncoder:
    """Encodes symbols given as [start, start + size) out of `total`, then writes one code word."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _FULL
        self._pieces: list[tuple[int, int]] = []
        self._open_bits = 0

    def encode(self, start: int, size: int, *, total: int) -> None:
        """Append a symbol of probability size / total."""
        _check(start, size, total)
        offset, self._range = _narrow(self._range, start, size, total)
        shift = _num_settled(self._range)
        self._low = (self._low + offset) << shift
        self._range <<= shift
        self._open_bits += shift
        if self._open_bits >= _PIECE_BITS:
            self._pieces.append((self._low >> PRECISION, self._open_bits))
            self._low &= _MASK
            self._open_bits = 0

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
    """

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._low = 0
        self._range = _FULL
        # The window holds PRECISION bits, of which only those shifted out are consumed; the rest is a look ahead.
        self._value = reader.look(reader.position, width=PRECISION)

    def target(self, *, total: int) -> int:
        """A number in [0, total) that lies inside the next symbol's [start, start + size)."""
        return min(self._value // (self._range // total), total - 1)

    def consume(self, start: int, size: int, *, total: int) -> None:
        """Remove the symbol that `target` pointed at."""
        _check(start, size, total)
        offset, self._range = _narrow(self._range, start, size, total)
        shift = _num_settled(self._range)
        ahead = self._reader.look(self._reader.position + PRECISION, width=shift)
        self._reader.skip(shift)
        self._value = ((self._value - offset) << shift) | ahead
        self._low = ((self._low + offset) << shift) & _MASK
        self._range <<= shift

    def finish(self) -> None:
        """Consume the terminating bits, and refuse bits inside the final interval that are not its code word.

        Such bits exist because the cell that they name may stick out of the interval; only the encoder's cell is
        sure to fit, and accepting others would give one sequence two spellings.
        """
        tail = _termination(self._low, self._range)
        self._reader.skip(tail)
        grain = PRECISION - tail
        if (self._low + self._value) >> grain != -(-self._low >> grain):
            raise CorruptMessageError("the message ends in bits that no encoder writes; get an unaltered copy of the file")


def _check(start: int, size: int, total: int) -> None:
    if not (0 <= start < start + size <= total <= MAX_TOTAL):
        raise ValueError(f"need 0 <= start < start + size <= total <= {MAX_TOTAL}, got {start}, {size}, {total}")


def _narrow(width: int, start: int, size: int, total: int) -> tuple[int, int]:
    """Offset and width of the symbol's part; the last symbol takes what truncation left over."""
    unit = width // total
    offset = unit * start
    return offset, width - offset if start + size == total else unit * size


def _num_settled(width: int) -> int:
    """How far an interval below half of the precision is doubled; 0 for the untouched one, a bit longer than others."""
    return max(0, PRECISION - width.bit_length())


def _termination(low: int, width: int) -> int:
    """The least t for which a multiple of 2^(PRECISION-t) and its whole cell lie in [low, low + width).

    t = 2 always does: rounding low up costs less than a quarter, and the cell takes a quarter of the at least half.
    """
    for tail in (0, 1):
        grain = PRECISION - tail
        if ((-(-low >> grain) + 1) << grain) <= low + width:
            return tail
    return 2
