"""The code `e8`: points of the lattice E8, eight coefficients at a time, as a discrete Gaussian.

In steps, which are halves of the lattice's own unit, a block of eight is all even or all odd and its sum is a multiple of 4;
coefficients beyond the last whole block are even. Ideal bits a coefficient less than for
rounding each to a multiple of one step, at the same mean square error, on 80,000 Gaussians (discrete Gaussian rates):

| rate | 0.5   | 1    | 1.5  | 2    | 3    |
|------|-------|------|------|------|------|
| E8   | -0.24 | 0.05 | 0.12 | 0.11 | 0.11 |
| D4   | -0.22 | 0.03 | 0.06 | 0.06 | 0.07 |

At the two bits a coefficient that messages take, that is five parts in a hundred; D4 pays half as much and is not here.
Source: Conway & Sloane, IEEE Trans. Inf. Theory 28(2), 1982.

With v the Gaussian weights of `idbounds.codes.discretized` (magnitudes up to 255), and A, B, C their sums over the integers
that are 0, 2, 1 modulo 4 (3 modulo 4 has the sum C too), P of a block is in proportion to the product of v. It is spent as

    whether the block is odd:  Z_even = ((A + B)^8 + (A - B)^8) / 2  against  Z_odd = (2 C)^8 / 2
    for each coefficient whether it is 0 or 2 (1 or 3) modulo 4: with m coefficients to come and s the parity that the number
    of 2s (3s) among them and this one must have,  A W_m(s)  against  B W_m(1 - s),  where
    W_m(s) = ((A + B)^m + (-1)^s (A - B)^m) / 2; in odd blocks C stands for A and B. Nothing for the last one, which the
    others determine
    the coefficient among the integers of its residue (`idbounds.codes.cosets`)

A choice of weights p against q has frequencies f = floor(2^24 p / (p + q)), held in [1, 2^24 - 1], and 2^24 - f.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.cosets import LARGEST, Coset
from idbounds.codes.discretized import NUM_MAGNITUDES, NUM_SCALES, ONE, TOTAL, densities
from idbounds.core.errors import ConfigError

BLOCK = 8


class E8(Code):
    """Scale index, then blocks, then what is left over."""

    name: ClassVar[str] = "e8"
    title: ClassVar[str] = "points of the lattice E8, discretised Gaussian with its scale"

    def can_encode(self, values: NDArray[np.int64]) -> bool:
        """Points of the lattice, none of whose coordinates is above 255 in magnitude."""
        whole = len(values) // BLOCK * BLOCK
        blocks, rest = values[:whole].reshape(-1, BLOCK), values[whole:]
        alike = np.all((blocks - blocks[:, :1]) % 2 == 0) and np.all(blocks.sum(axis=1) % 4 == 0) and np.all(rest % 2 == 0)
        return bool(alike and np.all(np.abs(values) <= LARGEST))

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """The scale that gives these points the shortest code, then the points."""
        if not self.can_encode(values):
            raise ConfigError("these integers are no points of E8 within 255 steps; use another code, or quantizers.e8")
        scale = self._best_scale(values)
        coder.encode_below(scale, NUM_SCALES)
        tables, integers = _tables(scale), values.tolist()
        whole = len(integers) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            block = integers[start : start + BLOCK]
            odd = block[0] % 2
            _encode_bit(odd, tables.even_block, coder)
            parity = 0
            for left, value in zip(range(BLOCK - 1, -1, -1), block, strict=True):
                upper = value % 4 // 2
                if left:
                    _encode_bit(upper, tables.lower[odd][left][parity], coder)
                parity ^= upper
                tables.residues[value % 4].encode(value, coder)
        for value in integers[whole:]:
            _encode_bit(value % 4 // 2, tables.lower_alone, coder)
            tables.residues[value % 4].encode(value, coder)

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """Scale, then points."""
        tables = _tables(coder.decode_below(NUM_SCALES))
        values: list[int] = []
        for _ in range(d // BLOCK):
            values += _decode_block(tables, coder)
        for _ in range(d % BLOCK):
            residue = 2 * _decode_bit(tables.lower_alone, coder)
            values.append(tables.residues[residue].decode(coder))
        return np.array(values, dtype=np.int64)

    def _best_scale(self, values: NDArray[np.int64]) -> int:
        counts = np.bincount(np.abs(values), minlength=NUM_MAGNITUDES)
        blocks, rest = divmod(len(values), BLOCK)
        return int(np.argmin([_tables(scale).bits(counts, blocks, rest) for scale in range(NUM_SCALES)]))


def _decode_block(tables: _Tables, coder: ArithmeticDecoder) -> Iterator[int]:
    odd, parity = _decode_bit(tables.even_block, coder), 0
    for left in range(BLOCK - 1, -1, -1):
        upper = _decode_bit(tables.lower[odd][left][parity], coder) if left else parity
        parity ^= upper
        residue = odd + 2 * upper
        yield tables.residues[residue].decode(coder)


class _Tables:
    """Everything that a scale determines; frequencies are of the first of two outcomes, out of 2^24."""

    def __init__(self, scale: int) -> None:
        weights = densities(scale, 2)
        self.residues = [Coset(weights, residue, modulus=4) for residue in range(4)]
        a, c, b, _ = (coset.mass for coset in self.residues)
        even, odd = ((a + b) ** BLOCK + (a - b) ** BLOCK) // 2, (2 * c) ** BLOCK // 2
        self.even_block = _frequency(even, odd)
        self.lower_alone = _frequency(a, b)
        self.lower = [
            [[_frequency(p * _ways(p, q, left, s), q * _ways(p, q, left, 1 - s)) for s in (0, 1)] for left in range(BLOCK)]
            for p, q in ((a, b), (c, c))
        ]
        self._bits_of_magnitude = np.array([math.log2(ONE) - math.log2(max(weight, 1)) for weight in weights])
        self._bits_of_block = math.log2(even + odd) - BLOCK * math.log2(ONE)
        self._bits_of_rest = math.log2(a + b) - math.log2(ONE)

    def bits(self, counts: NDArray[np.int64], blocks: int, rest: int) -> float:
        """About what magnitudes with these counts take; it only ranks scales."""
        return float(counts @ self._bits_of_magnitude) + blocks * self._bits_of_block + rest * self._bits_of_rest


_tables = lru_cache(maxsize=NUM_SCALES)(_Tables)


def _ways(p: int, q: int, left: int, s: int) -> int:
    """W_left(s)."""
    ways: int = ((p + q) ** left + (1 - 2 * s) * (p - q) ** left) // 2
    return ways


def _frequency(p: int, q: int) -> int:
    return min(max(TOTAL * p // (p + q), 1), TOTAL - 1)


def _encode_bit(bit: int, frequency: int, coder: ArithmeticEncoder) -> None:
    start, size = (frequency, TOTAL - frequency) if bit else (0, frequency)
    coder.encode(start, size, total=TOTAL)


def _decode_bit(frequency: int, coder: ArithmeticDecoder) -> int:
    return coder.decide(frequency, TOTAL - frequency)
