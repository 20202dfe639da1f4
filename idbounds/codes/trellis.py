"""The code `trellis`: integers whose residues modulo 4 walk through a convolutional code, each as a discrete Gaussian.

A state q of 8 bits, 0 at the start, says whether the next coefficient is even or odd; which of the two residues of that parity
it has says where q goes. With p = q mod 2 and u = floor(x / 2) mod 2,

    x = p (mod 2),    q' = floor(q / 2) xor p 515 xor u 362    (in octal, without their last digit in binary)

So each coefficient is one of every second integer, and yet two vectors are at least 4 steps apart, as if it were one of every
fourth: trellis-coded quantisation. The quantiser is `idbounds.codes.viterbi`. Bits a coefficient above the rate-distortion
function of a Gaussian, log2(sigma / error), where the root mean square error is as given; 20,000 Gaussians
(scripts/rate_distortion.py):

| log2(sigma / error) | 0.5  | 1    | 1.5  | 2    | 3    |
|---------------------|------|------|------|------|------|
| trellis             | 0.04 | 0.04 | 0.05 | 0.10 | 0.04 |
| E8                  | 0.44 | 0.33 | 0.26 | 0.22 | 0.18 |
| one step            | 0.52 | 0.46 | 0.38 | 0.34 | 0.31 |

Sources: Marcellin & Fischer, IEEE Trans. Commun. 38(1), 1990 (quantisation); Fischer & Wang, IEEE Trans. Inf. Theory 38(2),
1992 (with entropy coding); Ungerboeck, IEEE Commun. Mag. 25(2), 1987, Table I (the polynomials).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.cosets import LARGEST, Coset
from idbounds.codes.discretized import NUM_MAGNITUDES, NUM_SCALES, densities
from idbounds.core.errors import ConfigError

NUM_STATES = 256
#: h0 and h1 of the code of 256 states, without the coefficient of D^0: what parity and upper bit of a residue add to a state.
_BY_PARITY, _BY_UPPER = 0o515 >> 1, 0o362 >> 1


def next_state(state: int, residue: int) -> int:
    """Where an integer with this residue modulo 4, of the parity of `state`, leads."""
    return (state >> 1) ^ (residue & 1) * _BY_PARITY ^ (residue >> 1) * _BY_UPPER


class Trellis(Code):
    """Scale index, then the integers."""

    name: ClassVar[str] = "trellis"
    title: ClassVar[str] = "a path of a trellis, discretised Gaussian with its scale"

    def can_encode(self, values: NDArray[np.int64]) -> bool:
        """Vectors of the trellis, none of whose coordinates is above 255 in magnitude."""
        state = 0
        for residue in (values % 4).tolist():
            if (state ^ residue) & 1:
                return False
            state = next_state(state, residue)
        return bool(np.all(np.abs(values) <= LARGEST))

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """The scale that gives these integers the shortest code, then the integers."""
        if not self.can_encode(values):
            raise ConfigError(
                "these integers are no path of the trellis within 255 steps; use another code, or viterbi.trellis"
            )
        scale = int(np.argmin(_bits() @ np.bincount(np.abs(values), minlength=NUM_MAGNITUDES)))
        coder.encode_below(scale, NUM_SCALES)
        cosets = _cosets(scale)
        for value in values.tolist():
            cosets[value % 2].encode(value, coder)

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """Scale, then integers."""
        cosets, state, values = _cosets(coder.decode_below(NUM_SCALES)), 0, []
        for _ in range(d):
            value = cosets[state & 1].decode(coder)
            state = next_state(state, value % 4)
            values.append(value)
        return np.array(values, dtype=np.int64)


@lru_cache(maxsize=NUM_SCALES)
def _cosets(scale: int) -> tuple[Coset, Coset]:
    """Even and odd integers at a scale."""
    weights = densities(scale, 2)
    return Coset(weights, 0, modulus=2), Coset(weights, 1, modulus=2)


@cache
def _bits() -> NDArray[np.float64]:
    """About what a magnitude takes at each scale, (64, 256); it only ranks scales."""
    rows = []
    for scale in range(NUM_SCALES):
        weights = densities(scale, 2)
        masses = (weights[0] + 2 * sum(weights[2::2]), 2 * sum(weights[1::2]))
        rows.append([math.log2(masses[size % 2]) - math.log2(max(weight, 1)) for size, weight in enumerate(weights)])
    return np.array(rows)
