"""Binomial lower tails and their inverse: vectorised, in log space, rounded outward.

Everything takes ln δ, never δ. The tail is Loader's deviance form of the point mass times the continued fraction of
DiDonato and Morris; the inverse is Newton's iteration on a convex function of the logit of p, and the end that is
returned is checked to exceed its target by more than the rounding error of evaluating the tail.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from idbounds.core.logmath import (
    BLOCK,
    EPS,
    KL_SLACK,
    MAX_NEWTON,
    FloatArray,
    IndexArray,
    deviance,
    first_wrong,
    fraction_array,
    in_blocks,
    kl_inverse_upper,
    logit_step,
    push_outward,
)

_LARGEST_N = 2.0**52  # counts must be exact in double precision
_MAX_FRACTION = 600
# Where the continued fraction stops: its lower end is used, so this costs at most so many nats, upward.
_SETTLED = 1e-11
_ROUGH = (1e-2, 1e-5)  # enough for the first two steps


def ln_binomial_tail(k: ArrayLike, *, n: ArrayLike, p: ArrayLike) -> FloatArray:
    """ln P[Bin(n, p) ≤ k] for p ≥ k/n, rounded up; no underflow, n up to 2^52; broadcasts.

    Formula: ln pmf(k) + ln((n-k) p) - ln F, the pmf in Loader's deviance form and F the continued fraction of
    DiDonato and Morris (1992, eq. 9). Its terms are positive for p ≥ k/n, so convergents alternate around F and
    the smaller of two neighbours is a lower end.
    """
    errors, size = counts(k, n)
    errors, size, prob = np.broadcast_arrays(errors, size, fraction_array("p", p))
    if np.any(prob * size < errors):
        raise ValueError("p must be at least k/n here; for smaller p the tail exceeds about one half")
    shape = prob.shape
    tail = np.zeros(prob.size)
    k1, n1, p1 = errors.ravel(), size.ravel(), prob.ravel()
    with np.errstate(divide="ignore"):
        tail[k1 == 0] = (n1 * np.log1p(-p1))[k1 == 0]
    tail[(p1 == 1.0) & (k1 < n1)] = -np.inf
    rest = (k1 > 0) & (k1 < n1) & (p1 < 1.0)
    value, _ = _tail(k1[rest], n1[rest], p1[rest])
    tail[rest] = value
    safe = np.minimum(tail + _tail_slack(-tail), 0.0)
    return np.where(np.isfinite(tail), safe, tail).reshape(shape)


def binomial_inverse(k: ArrayLike, *, n: ArrayLike, ln_delta: ArrayLike) -> FloatArray:
    """sup{p : P[Bin(n, p) ≤ k] ≥ δ}, rounded up; in [k/n, 1]; broadcasts.

    δ above one half counts as one half, which errs upward: only then can the exact value lie below k/n.

    Examples:
        >>> float(binomial_inverse(0, n=100, ln_delta=math.log(0.05)).round(6))
        0.029513
    """
    errors, size = counts(k, n)
    level = np.asarray(ln_delta, dtype=np.float64)
    if not np.all(level <= 0):
        raise ValueError(f"ln_delta must be at most 0, got {first_wrong(level, ~(level <= 0))}")
    errors, size, level = np.broadcast_arrays(errors, size, level)
    return in_blocks(_binomial_upper, errors, size, np.maximum(-level, math.log(2.0)), length=4 * BLOCK)


def counts(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """(k, n) as floats after checking that they are whole numbers with 0 ≤ k ≤ n, n ≥ 1."""
    errors, size = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    for name, array, least in (("errors", errors, 0), ("n", size, 1)):
        wrong = ~((array >= least) & (array <= _LARGEST_N) & (np.floor(array) == array))
        if np.any(wrong):
            raise ValueError(
                f"{name} must be a whole number from {least} to 2^52, got {first_wrong(array, wrong)}: "
                "count examples, not fractions"
            )
    if np.any(errors > size):
        raise ValueError(f"errors must be at most n, got {first_wrong(*np.broadcast_arrays(errors, errors > size))} errors")
    return errors, size


def _stirling_table() -> FloatArray:
    """ln m! - (m+½) ln m + m - ½ ln 2π for m = 0..15, from the series at 16 down by exact differences."""
    table = [float(_stirling_series(np.array(16.0)))]
    for m in range(15, 0, -1):
        r = 1.0 / (2 * m + 1)
        table.append(table[-1] + sum(r ** (2 * i) / (2 * i + 1) for i in range(1, 20)))
    return np.array([0.0, *table[:0:-1]])


def _stirling_series(m: FloatArray) -> FloatArray:
    s = 1.0 / (m * m)
    return np.asarray((1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * 691 / 360360))))) / m)


_STIRLING = _stirling_table()


def _stirling(m: FloatArray) -> FloatArray:
    small = m < 16
    result = _stirling_series(np.where(small, 16.0, m))
    result[small] = _STIRLING[m[small].astype(np.intp)]
    return result


def _tail_slack(nats: FloatArray) -> FloatArray:
    """Bound on the rounding error of `_tail`, in nats: each of its terms is below nats + 64 in size.

    The rounding of n p is not in it: that equals a move of p by one unit, which `_invert_tail` adds at the end.
    """
    return np.asarray(KL_SLACK * (nats + 64.0))


def _tail(k: FloatArray, n: FloatArray, p: FloatArray, *, tolerance: float = _SETTLED) -> tuple[FloatArray, FloatArray]:
    """(ln P[Bin(n,p) ≤ k], F) for 0 < k < n and k/n ≤ p < 1; F is minus the tail's derivative in the logit of p."""
    h = n * p - k
    log_pmf = (
        0.5 * (np.log(n / k) - np.log(2 * math.pi * (n - k)))
        + (_stirling(n) - _stirling(k) - _stirling(n - k))
        - deviance(k, n - k, h, p, 1.0 - p)
    )
    fraction, loose = _fraction(k, n, p, h + p, tolerance)
    tail = log_pmf + np.log((n - k) * p) - np.log(fraction)
    if np.any(loose):
        # Close to the mean (δ above a few percent, large n) the fraction is slow and the tail is not small.
        direct = np.log(special.betaincc(k[loose] + 1, n[loose] - k[loose], p[loose])) + 1e-10
        tail[loose] = direct
        fraction[loose] = np.exp(log_pmf[loose] + np.log((n[loose] - k[loose]) * p[loose]) - direct)
    return np.minimum(tail, 0.0), fraction


def _fraction(
    k: FloatArray, n: FloatArray, p: FloatArray, lam: FloatArray, tolerance: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Lower end of the continued fraction by Steed's recurrence, and where it had not settled."""
    a, b, x = n - k, k + 1.0, 1.0 - p
    result = np.maximum(a * lam / (a + 1.0), 5e-324)
    loose = np.ones(k.shape, dtype=bool)
    index = np.arange(k.size)
    total, inverse, change = result.copy(), np.zeros_like(a), np.zeros_like(a)
    for m in range(1, _MAX_FRACTION + 1):
        even = a + (2 * m - 1)
        weight = m * (b - m) * x / even
        numerator = (a + (m - 1)) * (a + b + (m - 1)) * x / even * weight
        denominator = m + weight + (a + m) * (lam + m * (2.0 - x)) / (even + 2.0)
        following = 1.0 / (denominator + numerator * inverse)
        change = numerator * following if m == 1 else -numerator * inverse * following * change
        inverse, total = following, total + change
        if m % 4 and m > 2:
            continue
        done = np.abs(change) <= tolerance * total
        result[index] = np.minimum(total, total - change)
        if np.any(done):
            # Leaving at once, not with the slowest: the value must not depend on what else is in the block.
            loose[index[done]] = False
            keep = ~done
            index, a, b, x, lam = index[keep], a[keep], b[keep], x[keep], lam[keep]
            total, inverse, change = total[keep], inverse[keep], change[keep]
            if index.size == 0:
                break
    return result, loose


def _binomial_upper(k: FloatArray, n: FloatArray, nats: FloatArray) -> FloatArray:
    result = np.ones(nats.size)
    zero = k == 0
    none_wrong = -np.expm1(-nats[zero] * (1 + 4 * EPS) / n[zero])
    result[zero] = np.minimum(np.nextafter(none_wrong, np.inf) * (1 + 4 * EPS), 1.0)
    rest = ~zero & (k < n) & np.isfinite(nats)
    result[rest] = _invert_tail(k[rest], n[rest], nats[rest])
    return result


def _invert_tail(k: FloatArray, n: FloatArray, nats: FloatArray) -> FloatArray:
    """The binomial inverse for 0 < k < n, by Newton from the Chernoff end, which is above the root.

    The iteration aims a little beyond the target, so that the check in `push_outward` passes at once.
    """
    target = nats + _tail_slack(nats)
    aim = target + _tail_slack(nats) + 2 * _SETTLED
    p = kl_inverse_upper(k / n, c=aim / n)
    active = np.flatnonzero(p < 1.0)
    for step in range(MAX_NEWTON):
        if active.size == 0:
            break
        tolerance = _ROUGH[step] if step < len(_ROUGH) else _SETTLED
        ki, ni, pi = k[active], n[active], p[active]
        tail, slope = _tail(ki, ni, pi, tolerance=tolerance)
        moved, move = logit_step(pi, -tail - aim[active], slope)
        moved = np.maximum(moved, ki / ni)
        p[active] = moved
        if tolerance > _SETTLED:
            active = active[moved < 1.0]
            continue
        # Quadratic in the logit: after a move below 1e-6 of the distance to k/n or 1 the next is below 1e-12 of it.
        scale = np.minimum(moved - ki / ni, 1.0 - moved)
        active = active[(np.abs(move) > np.maximum(1e-6 * scale, 4 * EPS * moved)) & (moved < 1.0)]

    def holds(end: FloatArray, index: IndexArray) -> NDArray[np.bool_]:
        passed = end >= 1.0
        i = index[~passed]
        passed[~passed] = -_tail(k[i], n[i], end[~passed])[0] >= target[i]
        return passed

    return np.minimum(push_outward(p, up=True, holds=holds) * (1 + 8 * EPS), 1.0)
