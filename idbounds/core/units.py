"""Bits and nats. The only place where one becomes the other, so that no bound converts twice."""

from __future__ import annotations

import math

LN2 = math.log(2.0)


def bits_to_nats(bits: float) -> float:
    """Information in nats, rounded outward (up) by one unit in the last place.

    Formula: nats = bits * ln 2. Requires bits >= 0.
    """
    if not bits >= 0:
        raise ValueError(f"bits must be non-negative, got {bits!r}")
    return math.nextafter(bits * LN2, math.inf) if bits else 0.0
