"""Bits and nats. The only place where one becomes the other, so that no bound converts twice."""

from __future__ import annotations

import math
from typing import overload

import numpy as np
from numpy.typing import NDArray

_LN2 = math.log(2.0)


@overload
def bits_to_nats(bits: float) -> float: ...
@overload
def bits_to_nats(bits: NDArray[np.float64]) -> NDArray[np.float64]: ...
def bits_to_nats(bits: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Information in nats, rounded up: never below bits * ln 2, and 0 for 0 bits.

    One unit in the last place is enough: the double nearest to ln 2 is below it by 0.3 units, and the product rounds
    by at most half a unit more.

    Raises ValueError for a negative number of bits and for NaN.
    """
    return _outward(bits, factor=_LN2, what="bits")


@overload
def nats_to_bits(nats: float) -> float: ...
@overload
def nats_to_bits(nats: NDArray[np.float64]) -> NDArray[np.float64]: ...
def nats_to_bits(nats: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Information in bits, rounded up: never below nats / ln 2, and 0 for 0 nats. Raises as `bits_to_nats`."""
    return _outward(nats, factor=1.0 / _LN2, what="nats", steps=2)  # 1/ln 2 has a rounding of its own


def _outward(amount: float | NDArray[np.float64], *, factor: float, what: str, steps: int = 1) -> float | NDArray[np.float64]:
    array = np.asarray(amount, dtype=np.float64)
    if not np.all(array >= 0):
        raise ValueError(f"{what} must be non-negative, got {amount!r}")
    raised = array * factor
    for _ in range(steps):
        raised = np.nextafter(raised, np.inf)
    exact_at_zero = np.where(array == 0, 0.0, raised)
    return float(exact_at_zero) if np.ndim(amount) == 0 else exact_at_zero
