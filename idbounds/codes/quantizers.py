"""Quantisers: from real coefficients to integers and back, with the same bits on every machine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.adaptive import MAX_MAGNITUDE
from idbounds.core.errors import ConfigError


class UniformStep:
    """Rounding to multiples of a step from the grid 2^(LARGEST_EXPONENT - index/2), index = 0 .. NUM_STEPS - 1.

    The grid is declared with the format, before any data are seen; the index is a coded number and is paid
    for. A ratio of sqrt(2) loses little: rounding noise grows with step^2, so the nearest grid point is at most
    2^(1/4) = 19 % away from any wanted step. 64 points reach from 2^8 down to 2^-23.5, from steps far above any
    trained coefficient to the spacing of float32 at 1.
    """

    NUM_STEPS = 64
    LARGEST_EXPONENT = 8

    def step(self, index: int) -> float:
        """The step at `index`. Even indices are powers of two; odd ones round sqrt(2) once, correctly (IEEE 754)."""
        if not 0 <= index < self.NUM_STEPS:
            raise ConfigError(f"step index must be in [0, {self.NUM_STEPS}), got {index}")
        halvings, odd = divmod(index, 2)
        return math.ldexp(math.sqrt(2.0) if odd else 1.0, self.LARGEST_EXPONENT - halvings - odd)

    def nearest_index(self, step: float) -> int:
        """The index whose step is nearest to `step` in ratio, held inside the grid."""
        if not (math.isfinite(step) and step > 0):
            raise ConfigError(f"step must be positive and finite, got {step!r}")
        index = round(2 * (self.LARGEST_EXPONENT - math.log2(step)))
        return min(max(index, 0), self.NUM_STEPS - 1)

    def quantize(self, w: ArrayLike, *, step: float) -> NDArray[np.int64]:
        """Round w / step to the nearest integer, ties to even, in float64: (d,) -> (d,) int64.

        Raises ConfigError if w is not a finite vector or an integer would be too large to encode.
        """
        values = np.asarray(w, dtype=np.float64)
        if values.ndim != 1 or not values.size:
            raise ConfigError(f"coefficients must be a non-empty vector, got shape {values.shape}")
        scaled = np.rint(values / step)
        worst = int(np.argmax(np.where(np.isnan(scaled), np.inf, np.abs(scaled))))
        if not abs(scaled[worst]) <= MAX_MAGNITUDE:
            raise ConfigError(
                f"coefficient {worst} is {values[worst]!r}, which a step of {step!r} cannot encode: "
                "use a larger step, or a lower learning rate if training diverged"
            )
        return scaled.astype(np.int64)

    def dequantize(self, quantized: NDArray[np.int64], *, step: float) -> NDArray[np.float32]:
        """quantized * step, one multiplication in float64 and one rounding to float32: (d,) -> (d,)."""
        return (quantized.astype(np.float64) * step).astype(np.float32)
