"""The inverse questions, answered through a bound's own numbers: how much code, data or error still gives a target?

Every answer is on the safe side and is checked by the bound itself: the bound at the answer meets the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from idbounds.bounds.base import Bound, check_delta
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import fraction_array
from idbounds.core.tails import counts
from idbounds.core.units import bits_to_nats

_LARGEST_BITS = 1e9
_LARGEST_N = 2**50


def _value(bound: Bound, errors: float, n: float, num_bits: float, delta: float) -> float:
    return float(bound.from_counts(errors=errors, n=n, complexity_nats=bits_to_nats(num_bits), delta=delta))


def check_target(target: float) -> float:
    """The target if it is in (0, 1)."""
    if not 0 < target < 1:
        raise ConfigError(f"target must be in (0, 1), got {target!r}: give a fraction, such as 0.3 for 30 % error")
    return float(target)


def largest_num_bits(bound: Bound, *, target: float, errors: int, n: int, delta: float) -> float | None:
    """The most bits with which the bound is still at most `target`; None if not even 0 bits give it."""
    check_target(target)
    check_delta(delta)
    counts(errors, n)

    def meets(bits: float) -> bool:
        return _value(bound, errors, n, bits, delta) <= target

    if not meets(0.0):
        return None
    low, high = 0.0, 1.0
    while meets(high):
        low, high = high, high * 2
        if high > _LARGEST_BITS:
            return low
    while high - low > 1e-9 * max(high, 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def largest_d(bound: Bound, *, target: float, errors: int, n: int, bits_per_coordinate: float, delta: float) -> int | None:
    """The most coordinates of `bits_per_coordinate` bits with which the bound is still at most `target`."""
    if not bits_per_coordinate > 0:
        raise ConfigError(f"bits_per_coordinate must be positive, got {bits_per_coordinate!r}")
    bits = largest_num_bits(bound, target=target, errors=errors, n=n, delta=delta)
    if bits is None:
        return None
    d = math.floor(bits / bits_per_coordinate + 1e-6)
    while d > 0 and _value(bound, errors, n, d * bits_per_coordinate, delta) > target:
        d -= 1
    return d


def bits_per_coordinate(bound: Bound, *, target: float, errors: int, n: int, d: int, delta: float) -> float | None:
    """The bits each of d coordinates may take with which the bound is still at most `target`."""
    if not d >= 1:
        raise ConfigError(f"d must be at least 1, got {d!r}")
    bits = largest_num_bits(bound, target=target, errors=errors, n=n, delta=delta)
    return None if bits is None else bits / d


def largest_errors(bound: Bound, *, target: float, n: int, num_bits: float, delta: float) -> int | None:
    """The most training errors with which the bound is still at most `target`; None if not even 0 errors give it."""
    check_target(target)

    def meets(errors: int) -> bool:
        return _value(bound, errors, n, num_bits, delta) <= target

    if not meets(0):
        return None
    low, high = 0, int(counts(0, n)[1])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def smallest_n(bound: Bound, *, target: float, empirical_risk: float, num_bits: float, delta: float) -> int | None:
    """The fewest examples from which on, at this error rate, the bound is at most `target`.

    The error count at n is ⌈empirical_risk · n⌉. None if the rate itself is not below the target, or 2^50 do not do.
    The count moves in steps, so a slightly smaller n may meet the target by luck; all larger n up to twice this one are
    sampled and meet it.
    """
    check_target(target)
    rate = float(fraction_array("empirical_risk", empirical_risk))

    def meets(n: int) -> bool:
        try:
            return _value(bound, min(math.ceil(rate * n - 1e-9), n), n, num_bits, delta) <= target
        except ConfigError:  # below the bound's smallest n
            return False

    return _first_lasting(meets) if rate < target else None


def break_even_n(bound: Bound, *, majority_error: float, empirical_risk: float, num_bits: float, delta: float) -> int | None:
    """The fewest examples from which on the bound is below the error of always answering the majority class."""
    target = float(np.nextafter(check_target(majority_error), 0.0))
    return smallest_n(bound, target=target, empirical_risk=empirical_risk, num_bits=num_bits, delta=delta)


def _first_lasting(meets: Callable[[int], bool]) -> int | None:
    high = 1
    while not meets(high):
        high *= 2
        if high > _LARGEST_N:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    # ⌈rate n⌉ makes the bound a saw: step over the teeth that stick out.
    while missed := [m for m in _following(high) if not meets(m)]:
        high = missed[-1] + 1
    return high


def _following(n: int) -> list[int]:
    close = range(n, n + 200)
    far = np.unique(np.geomspace(n, 2 * n, 50).astype(np.int64))
    return sorted({*close, *(int(m) for m in far)})
