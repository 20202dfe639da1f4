"""Calls a second of the inverses against scalar loops, in one run on the same inputs; and the time of one certified value.

    python scripts/bench_bounds.py [--size 100000] [--scalar 2000]

The scalar loops get a part of the same inputs (`--scalar` of them), because they would take minutes on all.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
from scipy import special
from scipy.optimize import brentq

from idbounds.bounds import BOUNDS, rigorous
from idbounds.core.logmath import kl_inverse_upper
from idbounds.core.tails import binomial_inverse, ln_binomial_tail
from idbounds.provenance import provenance


def scalar_kl(q: float, p: float) -> float:
    first = q * math.log(q / p) if q > 0 else 0.0
    return first + ((1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0)


def brentq_kl_inverse(q: float, c: float) -> float:
    top = 1 - 1e-15
    if q >= top or scalar_kl(q, top) <= c:
        return 1.0
    return float(brentq(lambda p: scalar_kl(q, p) - c, q, top, xtol=1e-12))


def bisection_kl_inverse(q: float, c: float) -> float:
    """As public `inv_kl` functions do it: bisection on [q, 1] to 1e-9, the midpoint returned."""
    low, high = q, 1 - 1e-15
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if scalar_kl(q, middle) > c else (middle, high)
    return (low + high) / 2


def scalar_ln_tail(k: float, n: float, p: float) -> float:
    """ln P[Bin(n, p) ≤ k] where the tail is representable, and by the library below that."""
    tail = float(special.betaincc(k + 1, n - k, p))
    return math.log(tail) if tail > 1e-290 else float(ln_binomial_tail(k, n=n, p=p))


def brentq_binomial_inverse(k: float, n: float, nats: float) -> float:
    top = 1 - 1e-15
    if k >= n or scalar_ln_tail(k, n, top) >= -nats:
        return 1.0
    return float(brentq(lambda p: scalar_ln_tail(k, n, p) + nats, k / n, top, xtol=1e-12))


def rate(function: Callable[[], object], calls: int, *, repeats: int) -> float:
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return calls / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--scalar", type=int, default=2_000)
    chosen = parser.parse_args()
    print(f"made by scripts/bench_bounds.py --size {chosen.size} --scalar {chosen.scalar}, seed 0")
    print(*(f"{name}: {value}" for name, value in provenance().items()), sep=", ")
    generator = np.random.default_rng(0)
    n = generator.integers(1, 10**6, chosen.size).astype(np.float64)
    k = np.floor(n * generator.random(chosen.size) ** 3)
    nats = 10 ** generator.uniform(0, 4, chosen.size)
    part = [(float(a), float(b), float(c)) for a, b, c in zip(k, n, nats, strict=True)][: chosen.scalar]

    ours = rate(lambda: kl_inverse_upper(k / n, c=nats / n), chosen.size, repeats=5)
    loops = {
        "scalar brentq": rate(lambda: [brentq_kl_inverse(a / b, c / b) for a, b, c in part], len(part), repeats=2),
        "scalar bisection (as public inv_kl)": rate(
            lambda: [bisection_kl_inverse(a / b, c / b) for a, b, c in part], len(part), repeats=2
        ),
    }
    print(f"kl inverse: {ours:12,.0f} a second")
    for name, speed in loops.items():
        print(f"  {name}: {speed:,.0f} a second, ratio {ours / speed:.0f}")

    ours = rate(lambda: binomial_inverse(k, n=n, ln_delta=-nats), chosen.size, repeats=3)
    print(f"binomial inverse: {ours:12,.0f} a second")
    few = part[: max(1, chosen.scalar // 4)]
    speed = rate(lambda: [brentq_binomial_inverse(*case) for case in few], len(few), repeats=2)
    print(f"  scalar brentq on the log tail: {speed:,.0f} a second, ratio {ours / speed:.0f}")
    speed = rate(lambda: [brentq_kl_inverse(a / b, c / b) for a, b, c in part], len(part), repeats=2)
    print(f"  scalar brentq on kl (a looser bound): {speed:,.0f} a second, ratio {ours / speed:.0f}")

    if rigorous.available():
        value = float(BOUNDS["occam_binomial"].value(errors=10**7, n=10**9, complexity_nats=1e5, delta=0.05))
        speed = rate(
            lambda: rigorous.prove_binomial(value, errors=10**7, n=10**9, complexity_nats=1e5, delta=0.05), 1, repeats=5
        )
        print(f"certified value at n = 1e9: {1000 / speed:.1f} ms")


if __name__ == "__main__":
    main()
