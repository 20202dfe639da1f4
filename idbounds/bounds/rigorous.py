"""Proof of a binomial bound in ball arithmetic (python-flint's Arb; extra `cert`).

p is an upper end of sup{p : P[Bin(n, p) ≤ k] ≥ δ'} exactly when P[Bin(n, p) ≤ k] ≤ δ', because the tail falls
in p. The tail is I_{1-p}(n-k, k+1); its logarithm is enclosed in a ball, and the ball's upper end is compared
with a ball for ln δ'. A value that does not pass is raised until it does.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

_PRECISIONS = (128, 256, 512, 1024, 2048, 4096)


def available() -> bool:
    """Whether python-flint is installed."""
    return importlib.util.find_spec("flint") is not None


def prove_binomial(value: float, *, errors: int, n: int, complexity_nats: float, delta: float) -> float:
    """The smallest tried number ≥ value for which the tail is proven to be at most δ e^-complexity.

    Without python-flint the value comes back as it is; it was rounded outward in floating point.
    """
    if not available():
        return value
    p, step = max(value, errors / n), 2.0**-52
    while p < 1.0 and not holds(p, errors=errors, n=n, complexity_nats=complexity_nats, delta=delta):
        p = min(math.nextafter(p * (1.0 + step), 2.0), 1.0)
        step *= 2.0
    return min(p, 1.0)


def holds(p: float, *, errors: int, n: int, complexity_nats: float, delta: float) -> bool:
    """True only if P[Bin(n, p) ≤ errors] ≤ δ e^-complexity is proven."""
    import flint

    before = flint.ctx.prec
    try:
        for precision in _PRECISIONS:
            flint.ctx.prec = precision
            gap = flint.arb(delta).log() - flint.arb(complexity_nats) - ln_tail_ball(p, errors=errors, n=n)
            if gap > 0:
                return True
            if gap < 0:
                return False
    finally:
        flint.ctx.prec = before
    return False


def ln_tail_ball(p: float, *, errors: int, n: int) -> Any:
    """A ball that contains ln P[Bin(n, p) ≤ errors], at flint's current precision; for 0 < p < 1."""
    import flint

    rest = flint.arb(1) - flint.arb(p)
    if errors == n:
        return flint.arb(0)
    if errors == 0:
        return n * rest.log()
    return rest.beta_lower(n - errors, errors + 1, regularized=1).log()
