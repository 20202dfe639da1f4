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
        # No helpers here or in `consume`: these are the inner loops of every message.
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
    """

    def __init__(self, reader: BitReader) -> None:
        self._reader = reader
        self._start = reader.position
        self._low = 0
        self._range = _FULL
        # The window holds PRECISION bits, of which only those shifted out are consumed; the rest is a look ahead.
        self._value = reader.look(reader.position, width=PRECISION)
        # Bits behind the window, so that most symbols need no look into the bytes.
        self._ahead, self._ahead_bits = 0, 0

    @property
    def used(self) -> float:
        """The encoder's `used` after the same symbols."""
        return self._reader.position - self._start + _missing_bits(self._range)

    def target(self, *, total: int) -> int:
        """A number in [0, total) that lies inside the next symbol's [start, start + size)."""
        return min(self._value // (self._range // total), total - 1)

    def consume(self, start: int, size: int, *, total: int) -> None:
        """Remove the symbol that `target` pointed at."""
        if not (0 <= start < start + size <= total <= MAX_TOTAL):
            raise ValueError(_describe(start, size, total))
        unit = self._range // total
        offset = unit * start
        width = self._range - offset if start + size == total else unit * size
        shift = PRECISION - width.bit_length()
        if shift <= 0:
            self._value -= offset
            self._low += offset
            self._range = width
            return
        if shift > self._ahead_bits:
            self._ahead = self._reader.look(self._reader.position + PRECISION, width=_AHEAD_BITS)
            self._ahead_bits = _AHEAD_BITS
        self._reader.skip(shift)
        self._ahead_bits -= shift
        self._value = ((self._value - offset) << shift) | (self._ahead >> self._ahead_bits) & ((1 << shift) - 1)
        self._low = ((self._low + offset) << shift) & _MASK
        self._range = width << shift

    def decode_below(self, bound: int) -> int:
        """One of `bound` numbers of equal probability."""
        value = self.target(total=bound)
        self.consume(value, 1, total=bound)
        return value

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
