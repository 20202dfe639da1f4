"""The code `enumerative`: how many integers have each magnitude, then which of the arrangements it is.

For each magnitude j the n integers that are at least j say how many of them equal j, one of n + 1 possibilities, and which,
one of C(n, k). Together log2((n + 1) C(n, k)) bits. Sending the counts and then coding with fixed probabilities k / n (a
two-part code with static counts) takes log2(n + 1) + n H(k / n) bits, never less, because C(n, k) <= 2^(n H(k / n)); so that
code is not here.

Source: Cover, "Enumerative source encoding", IEEE Trans. Inf. Theory 19(1), 1973.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.chain import NUM_LEVELS, decode_gamma, encode_gamma


class Enumerative(Code):
    """Counts, arrangements, excesses of the magnitudes from `NUM_LEVELS` on, signs."""

    name: ClassVar[str] = "enumerative"
    title: ClassVar[str] = "counts of magnitudes, then their arrangement"

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """Level by level."""
        left = np.abs(values).tolist()
        for level in range(NUM_LEVELS):
            if not left:
                break
            equal = [int(magnitude == level) for magnitude in left]
            coder.encode_below(sum(equal), len(left) + 1)
            encode_subset(equal, coder)
            left = [magnitude for magnitude in left if magnitude > level]
        for magnitude in left:
            encode_gamma(magnitude - NUM_LEVELS + 1, coder)
        for value in values.tolist():
            if value:
                coder.encode(int(value < 0), 1, total=2)

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """Level by level."""
        magnitudes = [NUM_LEVELS] * d
        left = list(range(d))
        for level in range(NUM_LEVELS):
            if not left:
                break
            equal = decode_subset(len(left), coder.decode_below(len(left) + 1), coder)
            for index, is_equal in zip(left, equal, strict=True):
                if is_equal:
                    magnitudes[index] = level
            left = [index for index in left if magnitudes[index] > level]
        for index in left:
            magnitudes[index] = NUM_LEVELS - 1 + decode_gamma(coder)
        return np.array([-m if m and coder.decide(1, 1) else m for m in magnitudes], dtype=np.int64)


def encode_subset(chosen: list[int], coder: ArithmeticEncoder) -> None:
    """Which places are 1, given how many: exactly log2 C(n, k) bits, by P(1) = ones left / places left."""
    places, ones = len(chosen), sum(chosen)
    for bit in chosen:
        if bit:
            coder.encode(places - ones, ones, total=places)
        else:
            coder.encode(0, places - ones, total=places)
        places, ones = places - 1, ones - bit


def decode_subset(places: int, ones: int, coder: ArithmeticDecoder) -> list[int]:
    """The inverse of `encode_subset`."""
    chosen = []
    for left in range(places, 0, -1):
        # Where all that are left are 0, or all 1, nothing is written.
        bit = coder.decide(left - ones, ones) if 0 < ones < left else int(ones > 0)
        ones -= bit
        chosen.append(bit)
    return chosen
