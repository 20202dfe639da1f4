"""kl and its inverses: vectorised, in log space, rounded outward (binomial tails: `idbounds.core.tails`).

Everything takes ln δ, never δ, because δ 2^-K underflows at about a thousand bits. An inverse is the root of a
convex function of the logit of p. Newton's iteration from the far side of such a root stays on the far side,
and the end that is returned is checked: there the function exceeds its target by more than the rounding error
of evaluating it, so the value is never on the optimistic side of the true one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

EPS = 2.0**-52
# Bound on the relative error of evaluating kl: its two terms are non-negative and each takes under 20 roundings
# with condition numbers below 8 (see `_phi`). Counted generously; the tests compare with 60 digits.
KL_SLACK = 256 * EPS
_TINY = 1e-290
_ENOUGH = 1e6  # nats; no kl between numbers that double precision tells from 0 and 1 comes near
MAX_NEWTON = 100
_CRUDE_STEPS = 8
_SMALL_BUDGET = 1e-8  # nats; above, the plain formula of kl moves p by less than 1e-10
BLOCK = 8192


def kl(q: ArrayLike, *, p: ArrayLike) -> FloatArray:
    """Binary relative entropy kl(q‖p) in nats, to a relative error below 1e-13 (absolute 1e-287); broadcasts.

    Formula: q ln(q/p) + (1-q) ln((1-q)/(1-p)), computed as q φ(h/q) + (1-q) φ(-h/(1-q)) with h = p - q and
    φ(x) = x - ln(1+x) ≥ 0. Both terms are non-negative, so nothing cancels when p is close to q.
    """
    first, second = np.broadcast_arrays(fraction_array("q", q), fraction_array("p", p))
    value = deviance(first, 1.0 - first, second - first, second, 1.0 - second)
    # Ratios to a subnormal p have few digits; there nothing cancels, and the plain formula has all of them.
    subnormal = (second > 0) & (second < _TINY) & (first > _TINY)
    return np.where(subnormal, _plain(first, np.maximum(second, 5e-324)) - _entropy(first), value)


def kl_inverse_upper(q: ArrayLike, *, c: ArrayLike) -> FloatArray:
    """sup{p ≥ q : kl(q‖p) ≤ c}, rounded up; in [q, 1]. `c` is in nats, infinity allowed; broadcasts."""
    risk, budget = np.broadcast_arrays(fraction_array("q", q), _budget(c))
    risk = np.where((risk > 0) & (risk < _TINY), _TINY, risk)  # upward, as the inverse grows with q
    return in_blocks(_kl_upper, risk, budget)


def kl_inverse_lower(q: ArrayLike, *, c: ArrayLike) -> FloatArray:
    """inf{p ≤ q : kl(q‖p) ≤ c}, rounded down; in [0, q]. `c` is in nats, infinity allowed; broadcasts."""
    risk, budget = np.broadcast_arrays(fraction_array("q", q), _budget(c))
    risk = np.where(risk < _TINY, 0.0, risk)  # downward
    return in_blocks(_kl_lower, risk, budget)


def fraction_array(name: str, value: ArrayLike) -> FloatArray:
    """The value as floats after checking that all of it lies in [0, 1]."""
    array = np.asarray(value, dtype=np.float64)
    wrong = ~((array >= 0.0) & (array <= 1.0))
    if np.any(wrong):
        raise ValueError(f"{name} must be in [0, 1], got {first_wrong(array, wrong)}: give a fraction, not percent")
    return array


def x_minus_log1p(x: ArrayLike) -> FloatArray:
    """φ(x) = x - ln(1+x) for x > -1 without cancellation near 0."""
    array = np.atleast_1d(np.asarray(x, dtype=np.float64))
    return _phi(array, 1.0 + array).reshape(np.shape(x))


def first_wrong(array: FloatArray, wrong: NDArray[np.bool_]) -> float:
    """The first offending value, for a message."""
    return float(np.asarray(array)[wrong].ravel()[0])


def _budget(c: ArrayLike) -> FloatArray:
    array = np.asarray(c, dtype=np.float64)
    wrong = ~(array >= 0.0)
    if np.any(wrong):
        raise ValueError(f"c must be a non-negative number of nats, got {first_wrong(array, wrong)}")
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


def deviance(a: FloatArray, b: FloatArray, h: FloatArray, p: FloatArray, pc: FloatArray) -> FloatArray:
    """a φ(h/a) + b φ(-h/b), where a + h = (a+b) p and b - h = (a+b) pc; 0 φ(·/0) is its limit."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = a + b
        left = a * _phi(np.atleast_1d(h / a), np.atleast_1d(total * p / a)).reshape(h.shape)
        right = b * _phi(np.atleast_1d(-h / b), np.atleast_1d(total * pc / b)).reshape(h.shape)
        # a = 0: the whole is -total ln(1-p); b = 0: -total ln p. Below 1e-290 h/a could overflow, and a ln a is nothing.
        result = np.where(a < _TINY, -total * np.log1p(-p), np.where(b == 0, -total * np.log(p), left + right))
        result = np.where((a > 0) & (p == 0), np.inf, result)
    return np.asarray(np.where(h == 0, 0.0, result))


def in_blocks(function: Callable[..., FloatArray], *arrays: FloatArray, length: int = BLOCK) -> FloatArray:
    """The function over flattened blocks that stay in the processor's cache: about three times as fast."""
    flat = [array.ravel() for array in arrays]
    result = np.empty(flat[0].size)
    for start in range(0, result.size, length):
        block = slice(start, start + length)
        result[block] = function(*(array[block] for array in flat))
    return result.reshape(arrays[0].shape)


def _kl_upper(risk: FloatArray, budget: FloatArray) -> FloatArray:
    target, entropy = np.minimum(budget, _ENOUGH) * (1 + KL_SLACK), _entropy(risk)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # Three upper ends: kl ≥ h²/2p, kl ≥ 2h² (Pinsker), kl ≥ -(1-q) ln(1-p) - H(q).
        start = np.minimum(risk + target + np.sqrt(target) * np.sqrt(target + 2 * risk), risk + np.sqrt(target / 2))
        start = np.minimum(start, -np.expm1(-(target + entropy) / (1.0 - risk)))
    start = np.clip(np.where(np.isfinite(start), start, 1.0), risk, 1.0)
    found = np.where(risk == 0.0, -np.expm1(-target), _solve_kl(risk, target, entropy, start))
    found = np.where(budget == 0.0, risk, found)
    return push_outward(found, up=True, holds=lambda p, i: (p >= 1.0) | _exceeds(risk[i], p, target[i], entropy[i]))


def _kl_lower(risk: FloatArray, budget: FloatArray) -> FloatArray:
    target, entropy = np.minimum(budget, _ENOUGH) * (1 + KL_SLACK), _entropy(risk)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # Two lower ends: kl ≥ h²/2q, kl ≥ -q ln p - H(q).
        start = np.maximum(risk - np.sqrt(2 * risk) * np.sqrt(target), np.exp(-(target + entropy) / risk))
    start = np.clip(np.where(np.isfinite(start), start, 0.0), 0.0, risk)
    found = np.where(risk == 1.0, np.exp(-target), _solve_kl(risk, target, entropy, start))
    found = np.where(found < _TINY, 0.0, found)
    found = np.where(budget == 0.0, risk, found)
    return push_outward(found, up=False, holds=lambda p, i: (p <= 0.0) | _exceeds(risk[i], p, target[i], entropy[i]))


def _gap(q: FloatArray, p: FloatArray, target: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(deviance(q, 1.0 - q, p - q, p, 1.0 - p) - target)


def _entropy(q: FloatArray) -> FloatArray:
    """-q ln q - (1-q) ln(1-q), each term to some roundings; the rounding of 1 - q must not reach the logarithm."""
    return np.asarray(special.entr(q) - special.xlog1py(1.0 - q, -q))


def _plain(q: FloatArray, p: FloatArray) -> FloatArray:
    """kl plus the entropy of q. At kl = target its two terms are positive and add up to entropy + target."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-q * np.log(p) - (1.0 - q) * np.log1p(-p))


def _exceeds(q: FloatArray, p: FloatArray, target: FloatArray, entropy: FloatArray) -> NDArray[np.bool_]:
    """True only where kl(q‖p) ≥ target, rounding errors included: by the plain formula, or else by the exact one.

    The plain one takes ten roundings of numbers up to entropy + target, and sixteen are allowed for.
    """
    with np.errstate(invalid="ignore"):
        result = _plain(q, p) >= (entropy + target) * (1 + 16 * EPS)
    unsure = np.flatnonzero(~result)
    if unsure.size:
        result[unsure] = _gap(q[unsure], p[unsure], target[unsure]) >= 0
    return np.asarray(result)


def _solve_kl(q: FloatArray, target: FloatArray, entropy: FloatArray, start: FloatArray) -> FloatArray:
    """Newton with the plain formula of kl, two logarithms a step; where that would cancel, with the one that does not.

    The aim is a little beyond the target, so that the check in `push_outward` passes at once. Each element stops by
    itself, because its value must not depend on what else is in the block.
    """
    aim = target * (1 + KL_SLACK)
    constant = (entropy + aim) * (1 + 24 * EPS)
    p, settled = _iterate(lambda at: _plain(q, at) - constant, q, start, steps=_CRUDE_STEPS)
    small = target < _SMALL_BUDGET
    p = np.where(small, start, p)
    exact = np.flatnonzero(~settled | small)
    if exact.size:
        few, few_aim = q[exact], aim[exact]
        p[exact], _ = _iterate(lambda at: _gap(few, at, few_aim), few, p[exact], steps=MAX_NEWTON)
    return p


def _iterate(
    function: Callable[[FloatArray], FloatArray], q: FloatArray, start: FloatArray, *, steps: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Newton's iteration on `function` less its zero, whose slope in the logit is p - q; and where it settled."""
    p, settled = start, np.zeros(start.shape, dtype=bool)
    for _ in range(steps):
        moved, move = logit_step(p, function(p), p - q)
        p = np.where(settled, p, moved)
        # Quadratic in the logit: the next move would be 1e-16 of the distance to q, 0 or 1, or is below rounding.
        scale = np.minimum(np.minimum(np.abs(moved - q), moved), 1.0 - moved)
        settled |= np.abs(move) <= np.maximum(1e-8 * scale, 2 * EPS * moved)
        if np.all(settled):
            break
    return p, settled


def logit_step(p: FloatArray, value: FloatArray, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One Newton step in logit(p), given a function's value and its derivative in the logit; and its size in p."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shift = np.expm1(value / slope)
        rest = (1.0 - p) * shift
        # logit(p) - δ is p / (p + (1-p) e^δ); written as a correction, so that a small one keeps its digits.
        move = p * rest / (1.0 + rest)
    # A slope of 0 means p = q to the last bit: the root is within a rounding, and `push_outward` finds it.
    move[~np.isfinite(move) | (slope == 0)] = 0.0
    return np.clip(p - move, 0.0, 1.0), move


def push_outward(p: FloatArray, *, up: bool, holds: Callable[[FloatArray, IndexArray], NDArray[np.bool_]]) -> FloatArray:
    """Move p outward by growing steps until `holds(p[index], index)`, then by one more unit in the last place."""
    end = 1.0 if up else 0.0
    step, index = EPS, np.arange(p.size)
    while (index := index[~holds(p[index], index)]).size:
        wide = np.maximum(np.abs(p[index]) * step, 5e-324)
        p[index] = np.clip(p[index] + wide if up else p[index] - wide, 0.0, 1.0)
        step *= 2
    return np.asarray(np.where(p == end, p, np.nextafter(p, end)))
