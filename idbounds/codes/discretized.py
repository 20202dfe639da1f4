"""The codes `gaussian` and `laplace`: one of 64 declared scales, then every integer by a fixed table of integers.

The table of scale index i has the rate a = (4 + i mod 4) 2^(1 - floor(i / 4)), i = 0 ... 63, and gives magnitude m = 0 ... 255
the weight exp(-a m^2) (Gaussian, a = 1 / (2 sigma^2), sigma from 0.19 to 46 steps) or exp(-a m) (Laplace, a = 1 / b), twice
that for m > 0, whose sign is a fair bit. Rates are at most 25 % apart, so that the nearest one costs a Gaussian at most
0.005 bits a coefficient.

Everything is integers, so that every processor makes the same table. With O = 2^96 and a = p / q:

    t_0 = O, t_k = floor(t_{k-1} p / (q k)) until it is 0, r = floor(O^2 / sum t_k)            (r / O = exp(-a))
    v_0 = O, v_{m+1} = floor(v_m s_m / O), s_0 = r, s_{m+1} = floor(s_m g / O); Laplace: g = O; Gaussian: g = floor(r r / O)
    u_0 = v_0, u_m = 2 v_m;  frequency f_m = 1 + floor(u_m (2^24 - 257) / sum u);  f_256 = 2^24 - sum of the others

Symbol 256 is a magnitude of 256 or more, whose excess over 255 follows in Elias gamma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.chain import decode_gamma, encode_gamma

NUM_SCALES = 64
NUM_MAGNITUDES = 256
TOTAL = 2**24
ONE = 1 << 96


class Discretized(Code):
    """Scale index, then for each integer its magnitude by the table, its excess if there is one, and its sign."""

    #: What the magnitude is raised to in the exponent.
    power: ClassVar[int]

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """The scale that gives these integers the shortest code, then the integers."""
        scale = self._best_scale(values)
        coder.encode_below(scale, NUM_SCALES)
        starts = frequencies(scale, self.power).starts
        for value in values.tolist():
            symbol = min(abs(value), NUM_MAGNITUDES)
            coder.encode(starts[symbol], starts[symbol + 1] - starts[symbol], total=TOTAL)
            if symbol == NUM_MAGNITUDES:
                encode_gamma(abs(value) - NUM_MAGNITUDES + 1, coder)
            if value:
                coder.encode(int(value < 0), 1, total=2)

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """Scale, then integers."""
        starts = frequencies(coder.decode_below(NUM_SCALES), self.power).starts
        values = []
        for _ in range(d):
            magnitude = coder.find(starts)
            if magnitude == NUM_MAGNITUDES:
                magnitude += decode_gamma(coder) - 1
            values.append(-magnitude if magnitude and coder.decide(1, 1) else magnitude)
        return np.array(values, dtype=np.int64)

    def _best_scale(self, values: NDArray[np.int64]) -> int:
        counts = np.bincount(np.minimum(np.abs(values), NUM_MAGNITUDES), minlength=NUM_MAGNITUDES + 1)
        return int(np.argmin([counts @ frequencies(scale, self.power).bits for scale in range(NUM_SCALES)]))


class Gaussian(Discretized):
    """P(m) in proportion to exp(-m^2 / (2 sigma^2))."""

    name: ClassVar[str] = "gaussian"
    title: ClassVar[str] = "discretised Gaussian with its scale"
    power: ClassVar[int] = 2


class Laplace(Discretized):
    """P(m) in proportion to exp(-m / b)."""

    name: ClassVar[str] = "laplace"
    title: ClassVar[str] = "discretised Laplace with its scale"
    power: ClassVar[int] = 1


@dataclass(frozen=True)
class Frequencies:
    """Where each symbol starts in [0, 2^24), with the end behind the last; and bits a symbol, which only rank scales."""

    starts: tuple[int, ...]
    bits: NDArray[np.float64]


@lru_cache(maxsize=2 * NUM_SCALES)
def frequencies(scale: int, power: int) -> Frequencies:
    """The table of one scale, by the formulas above."""
    first, *others = densities(scale, power)
    weights = [first, *(2 * value for value in others)]
    total = sum(weights)
    counts = [1 + weight * (TOTAL - NUM_MAGNITUDES - 1) // total for weight in weights]
    counts.append(TOTAL - sum(counts))
    bits = np.array([math.log2(TOTAL / count) for count in counts])
    return Frequencies((0, *accumulate(counts)), bits)


def densities(scale: int, power: int) -> list[int]:
    """exp(-a m^power) times 2^96 for m = 0 ... 255: the v of the formulas above."""
    halvings, quarter = divmod(scale, 4)
    ratio = _exp_of_minus((4 + quarter) * 2, 1 << halvings)
    growth = ratio * ratio // ONE if power == 2 else ONE
    values = [ONE]
    for _ in range(1, NUM_MAGNITUDES):
        values.append(values[-1] * ratio // ONE)
        ratio = ratio * growth // ONE
    return values


def _exp_of_minus(numerator: int, denominator: int) -> int:
    """exp(-numerator / denominator) times 2^96, by the series of exp(+x), whose terms are all positive."""
    term, total, k = ONE, 0, 0
    while term:
        total += term
        k += 1
        term = term * numerator // (denominator * k)
    return ONE * ONE // total
