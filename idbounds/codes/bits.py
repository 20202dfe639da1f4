"""Bits in order, most significant first: what every code writes to and reads from. Plain Python integers only."""

from __future__ import annotations

from idbounds.core.errors import CorruptMessageError


class BitWriter:
    """Appends fields; `num_bits` says how many bits were written, `to_bytes` pads the last byte with zeros."""

    def __init__(self) -> None:
        self._fields: list[tuple[int, int]] = []
        self.num_bits = 0

    def write(self, value: int, *, width: int) -> None:
        """Append `value` as exactly `width` bits. Raises ValueError unless 0 <= value < 2^width."""
        if width < 0 or value < 0 or value >> width:
            raise ValueError(f"value must fit in {width} bits, got {value}")
        self._fields.append((value, width))
        self.num_bits += width

    def to_bytes(self) -> bytes:
        """Everything written so far, padded with zero bits to whole bytes."""
        code = 0
        for value, width in self._fields:
            code = (code << width) | value
        num_bytes = -(-self.num_bits // 8)
        return (code << (8 * num_bytes - self.num_bits)).to_bytes(num_bytes, "big")


class BitReader:
    """Reads what `BitWriter` wrote; `position` is the number of bits consumed so far."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.num_bits = 8 * len(data)
        self.position = 0

    def read(self, *, width: int) -> int:
        """The next `width` bits as an integer. Raises CorruptMessageError if fewer are left."""
        start = self.position
        self.skip(width)
        return self.look(start, width=width)

    def skip(self, width: int) -> None:
        """Consume `width` bits. Raises CorruptMessageError if fewer are left."""
        if width > self.num_bits - self.position:
            raise CorruptMessageError(
                f"the message is truncated: bit {self.position + width} is needed and there are {self.num_bits}; "
                "get a complete copy of the file"
            )
        self.position += width

    def look(self, start: int, *, width: int) -> int:
        """Bits [start, start + width) without consuming them; bits past the end read as zero."""
        first, last = start // 8, -(-(start + width) // 8)
        window = int.from_bytes(self._data[first:last].ljust(last - first, b"\0"), "big")
        return (window >> (8 * last - start - width)) & ((1 << width) - 1)
