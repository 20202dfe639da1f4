"""kl and its inverses, binomial lower tails and their inverse: vectorised, in log space, rounded outward.

Everything takes ln δ, never δ, because δ 2^-K underflows at about a thousand bits. An inverse is the root of a
convex function of the logit of p. Newton's iteration from the far side of such a root stays on the far side,
and the end that is returned is checked: there the function exceeds its target by more than the rounding error
of evaluating it, so the value is never on the optimistic side of the true one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]

_EPS = 2.0**-52
# Bound on the relative error of evaluating kl: its two terms are non-negative and each takes under 20 roundings
# with condition numbers below 8 (see `_phi`). Counted generously; the tests compare with 60 digits.
_KL_SLACK = 256 * _EPS
_TINY = 1e-290
_LARGEST_N = 2.0**52  # counts must be exact in double precision
_MAX_NEWTON = 100
_MAX_FRACTION = 600


def kl(q: ArrayLike, *, p: ArrayLike) -> FloatArray:
    """Binary relative entropy kl(q‖p) in nats, to a relative error below 1e-13; broadcasts.

    Formula: q ln(q/p) + (1-q) ln((1-q)/(1-p)), computed as q φ(h/q) + (1-q) φ(-h/(1-q)) with h = p - q and
    φ(x) = x - ln(1+x) ≥ 0. Both terms are non-negative, so nothing cancels when p is close to q.
    """
    first, second = np.broadcast_arrays(fraction_array("q", q), fraction_array("p", p))
    return _deviance(first, 1.0 - first, second - first, second, 1.0 - second)


def kl_inverse_upper(q: ArrayLike, *, c: ArrayLike) -> FloatArray:
    """sup{p ≥ q : kl(q‖p) ≤ c}, rounded up; in [q, 1]. `c` is in nats, infinity allowed; broadcasts."""
    risk, budget = np.broadcast_arrays(fraction_array("q", q), _budget(c))
    risk = np.where((risk > 0) & (risk < _TINY), _TINY, risk)  # upward, as the inverse grows with q
    target = budget * (1 + _KL_SLACK)
    entropy = special.entr(risk) + special.entr(1.0 - risk)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # Three upper ends: kl ≥ h²/2p, kl ≥ 2h² (Pinsker), kl ≥ -(1-q) ln(1-p) - H(q).
        start = np.minimum(risk + target + np.sqrt(target) * np.sqrt(target + 2 * risk), risk + np.sqrt(target / 2))
        start = np.minimum(start, -np.expm1(-(target + entropy) / (1.0 - risk)))
    start = np.clip(np.where(np.isfinite(start), start, 1.0), risk, 1.0)
    found = _newton_logit(lambda p: (_gap(risk, p, target), p - risk), start)
    found = np.where(risk == 0.0, -np.expm1(-target), found)
    return _push(np.where(budget == 0.0, risk, found), up=True, holds=lambda p: (p >= 1.0) | (_gap(risk, p, target) >= 0))


def kl_inverse_lower(q: ArrayLike, *, c: ArrayLike) -> FloatArray:
    """inf{p ≤ q : kl(q‖p) ≤ c}, rounded down; in [0, q]. `c` is in nats, infinity allowed; broadcasts."""
    risk, budget = np.broadcast_arrays(fraction_array("q", q), _budget(c))
    risk = np.where(risk < _TINY, 0.0, risk)  # downward
    target = budget * (1 + _KL_SLACK)
    entropy = special.entr(risk) + special.entr(1.0 - risk)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # Two lower ends: kl ≥ h²/2q, kl ≥ -q ln p - H(q).
        start = np.maximum(risk - np.sqrt(2 * risk) * np.sqrt(target), np.exp(-(target + entropy) / risk))
    start = np.clip(np.where(np.isfinite(start), start, 0.0), 0.0, risk)
    found = _newton_logit(lambda p: (_gap(risk, p, target), p - risk), start)
    found = np.where(risk == 1.0, np.exp(-target), found)
    return _push(np.where(budget == 0.0, risk, found), up=False, holds=lambda p: (p <= 0.0) | (_gap(risk, p, target) >= 0))


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
        raise ValueError(f"ln_delta must be at most 0, got {_first(level, ~(level <= 0))}")
    errors, size, level = np.broadcast_arrays(errors, size, level)
    shape = level.shape
    k1, n1, nats = errors.ravel(), size.ravel(), np.maximum(-level.ravel(), math.log(2.0))
    result = np.ones(nats.size)
    zero = k1 == 0
    result[zero] = np.minimum(np.nextafter(-np.expm1(-nats[zero] * (1 + 4 * _EPS) / n1[zero]), np.inf) * (1 + 4 * _EPS), 1.0)
    rest = ~zero & (k1 < n1) & np.isfinite(nats)
    result[rest] = _invert_tail(k1[rest], n1[rest], nats[rest])
    return result.reshape(shape)


def counts(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """(k, n) as floats after checking that they are whole numbers with 0 ≤ k ≤ n, n ≥ 1."""
    errors, size = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    for name, array, least in (("errors", errors, 0), ("n", size, 1)):
        wrong = ~((array >= least) & (array <= _LARGEST_N) & (np.floor(array) == array))
        if np.any(wrong):
            raise ValueError(
                f"{name} must be a whole number from {least} to 2^52, got {_first(array, wrong)}: count examples, not fractions"
            )
    if np.any(errors > size):
        raise ValueError(f"errors must be at most n, got {_first(*np.broadcast_arrays(errors, errors > size))} errors")
    return errors, size


def fraction_array(name: str, value: ArrayLike) -> FloatArray:
    """The value as floats after checking that all of it lies in [0, 1]."""
    array = np.asarray(value, dtype=np.float64)
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if np.any(wrong):
        raise ValueError(f"{name} must be in [0, 1], got {_first(array, wrong)}: give a fraction, not percent")
    return array


def x_minus_log1p(x: ArrayLike) -> FloatArray:
    """φ(x) = x - ln(1+x) for x > -1 without cancellation near 0."""
    array = np.atleast_1d(np.asarray(x, dtype=np.float64))
    return _phi(array, 1.0 + array).reshape(np.shape(x))


def _first(array: FloatArray, wrong: NDArray[np.bool_]) -> float:
    return float(np.asarray(array)[wrong].ravel()[0])


def _budget(c: ArrayLike) -> FloatArray:
    array = np.asarray(c, dtype=np.float64)
    wrong = ~(array >= 0.0)
    if np.any(wrong):
        raise ValueError(f"c must be a non-negative number of nats, got {_first(array, wrong)}")
    return array


def _phi(x: FloatArray, one_plus_x: FloatArray) -> FloatArray:
    """x - ln(1+x), relative error of some roundings; `one_plus_x` must be accurate where x is near -1.

    With r = x/(2+x): ln(1+x) = 2 atanh r and x - 2r = x r, so x - ln(1+x) = r (x - 2r²(1/3 + r²/5 + …)).
    For |x| < 0.35, r² < 0.046 and twelve terms reach 1e-17.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        result = x - np.log(one_plus_x)
    near = np.abs(x) < 0.35
    y = x[near]
    r = y / (2.0 + y)
    square = r * r
    series = np.full_like(square, 1 / 25)
    for odd in range(23, 1, -2):
        series = series * square + 1 / odd
    result[near] = r * (y - 2.0 * square * series)
    return np.asarray(result)


def _deviance(a: FloatArray, b: FloatArray, h: FloatArray, p: FloatArray, pc: FloatArray) -> FloatArray:
    """a φ(h/a) + b φ(-h/b), where a + h = (a+b) p and b - h = (a+b) pc; 0 φ(·/0) is its limit."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = a + b
        left = a * _phi(np.atleast_1d(h / a), np.atleast_1d(total * p / a)).reshape(h.shape)
        right = b * _phi(np.atleast_1d(-h / b), np.atleast_1d(total * pc / b)).reshape(h.shape)
        # a = 0: the whole is -total ln(1-p); b = 0: -total ln p. Below 1e-290 h/a could overflow, and a ln a is nothing.
        result = np.where(a < _TINY, -total * np.log1p(-p), np.where(b == 0, -total * np.log(p), left + right))
        result = np.where((a > 0) & (p == 0), np.inf, result)
    return np.asarray(np.where(h == 0, 0.0, result))


def _gap(q: FloatArray, p: FloatArray, target: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(_deviance(q, 1.0 - q, p - q, p, 1.0 - p) - target)


def _newton_logit(function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], start: FloatArray) -> FloatArray:
    """Newton's iteration in logit(p); `function` gives the value and its derivative in the logit."""
    p = start
    for _ in range(_MAX_NEWTON):
        value, slope = function(p)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shift = np.expm1(value / slope)
            # logit(p) - δ is p / (p + (1-p) e^δ); written as a correction, so that a small one keeps its digits.
            move = p * (1.0 - p) * shift / (1.0 + (1.0 - p) * shift)
        # A slope of 0 means p = q to the last bit: the root is within a rounding, and `_push` finds it.
        move = np.where(np.isfinite(move) & (slope != 0), move, 0.0)
        p = np.clip(p - move, 0.0, 1.0)
        if np.all(np.abs(move) <= 1e-13 * p):
            break
    return p


def _push(p: FloatArray, *, up: bool, holds: Callable[[FloatArray], NDArray[np.bool_]]) -> FloatArray:
    """Move p outward by growing steps until `holds`, then by one more unit in the last place."""
    end = 1.0 if up else 0.0
    step = _EPS
    while np.any(bad := ~holds(p)):
        wide = np.maximum(np.abs(p) * step, 5e-324)
        p = np.where(bad, np.clip(p + wide if up else p - wide, 0.0, 1.0), p)
        step *= 2
    return np.asarray(np.where(p == end, p, np.nextafter(p, end)))


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
    return np.asarray(_KL_SLACK * (nats + 64.0))


def _tail(k: FloatArray, n: FloatArray, p: FloatArray, *, tolerance: float = _EPS) -> tuple[FloatArray, FloatArray]:
    """(ln P[Bin(n,p) ≤ k], F) for 0 < k < n and k/n ≤ p < 1; F is minus the tail's derivative in the logit of p."""
    h = n * p - k
    log_pmf = (
        0.5 * (np.log(n / k) - np.log(2 * math.pi * (n - k)))
        + (_stirling(n) - _stirling(k) - _stirling(n - k))
        - _deviance(k, n - k, h, p, 1.0 - p)
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
        loose[index[done]] = False
        if np.all(done):
            break
        if m % 8 == 0:
            keep = ~done
            index, a, b, x, lam = index[keep], a[keep], b[keep], x[keep], lam[keep]
            total, inverse, change = total[keep], inverse[keep], change[keep]
    return result, loose


def _invert_tail(k: FloatArray, n: FloatArray, nats: FloatArray) -> FloatArray:
    """The binomial inverse for 0 < k < n, by Newton from the Chernoff end, which is above the root."""
    target = nats + _tail_slack(nats)
    start = kl_inverse_upper(k / n, c=target / n)

    def gap(p: FloatArray) -> FloatArray:
        result = np.full(p.shape, np.inf)
        inside = p < 1.0
        result[inside] = -_tail(k[inside], n[inside], p[inside])[0] - target[inside]
        return result

    p, active = start.copy(), np.flatnonzero(start < 1.0)
    for step in range(_MAX_NEWTON):
        if active.size == 0:
            break
        ki, ni, pi = k[active], n[active], p[active]
        tail, slope = _tail(ki, ni, pi, tolerance=max(_EPS, 1e-3 ** (step + 1)))
        with np.errstate(over="ignore"):
            shift = np.expm1((-tail - target[active]) / slope)
        move = pi * (1.0 - pi) * shift / (1.0 + (1.0 - pi) * shift)
        moved = np.clip(pi - move, ki / ni, 1.0)
        p[active] = moved
        active = active[(np.abs(move) > 1e-13 * moved) & (moved < 1.0)]
    p = _push(p, up=True, holds=lambda end: gap(end) >= 0)
    return np.minimum(p * (1 + 8 * _EPS), 1.0)
