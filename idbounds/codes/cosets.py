"""Integers of one residue class as a discrete Gaussian, in a table of integers: what the lattice and the trellis send.

With v the Gaussian weights of `idbounds.codes.discretized` (magnitudes up to 255), the x from -255 to 255 that are r modulo m
have, in order, the frequencies 1 + floor(v_|x| (2^24 - 512 / m) / sum v), and the total is their sum.
"""

from __future__ import annotations

from itertools import accumulate

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.discretized import NUM_MAGNITUDES, TOTAL

LARGEST = NUM_MAGNITUDES - 1


class Coset:
    """The integers that are `residue` modulo `modulus`; `mass` is the sum of their weights."""

    def __init__(self, weights: list[int], residue: int, *, modulus: int) -> None:
        # -255 is 1 modulo 2 and modulo 4.
        self._members = range(-LARGEST + (residue - 1) % modulus, LARGEST + 1, modulus)
        self.mass = sum(weights[abs(value)] for value in self._members)
        free = TOTAL - 2 * NUM_MAGNITUDES // modulus
        self._starts = (0, *accumulate(1 + weights[abs(value)] * free // self.mass for value in self._members))

    def encode(self, value: int, coder: ArithmeticEncoder) -> None:
        """Append a member."""
        place = (value - self._members.start) // self._members.step
        start, end = self._starts[place : place + 2]
        coder.encode(start, end - start, total=self._starts[-1])

    def decode(self, coder: ArithmeticDecoder) -> int:
        """Read a member."""
        return self._members[coder.find(self._starts)]
