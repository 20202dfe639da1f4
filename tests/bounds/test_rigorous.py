"""Ball arithmetic proves what floating point found."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import BOUNDS, rigorous
from idbounds.core.values import Complexity, Evidence, LedgerItem

flint = pytest.importorskip("flint")


@given(
    n=st.one_of(st.integers(1, 100), st.integers(1, 10**12)),
    share=st.floats(0, 1),
    nats=st.one_of(st.floats(0, 100), st.floats(0, 7e7)),
    delta=st.floats(1e-300, 0.5),
)
def test_a_certified_value_is_proven(n: int, share: float, nats: float, delta: float) -> None:
    errors = min(int(share * (n + 1)), n)
    value = float(BOUNDS["occam_binomial"].value(errors=errors, n=n, complexity_nats=nats, delta=delta))
    proven = rigorous.prove_binomial(value, errors=errors, n=n, complexity_nats=nats, delta=delta)
    assert value <= proven <= min(value + 1e-9, 1.0)
    assert proven == 1.0 or rigorous.holds(proven, errors=errors, n=n, complexity_nats=nats, delta=delta)


def test_a_value_that_is_too_small_is_raised_until_it_holds() -> None:
    value = float(BOUNDS["test_set"].value(errors=5, n=100, delta=0.05))
    raised = rigorous.prove_binomial(value - 1e-7, errors=5, n=100, complexity_nats=0.0, delta=0.05)
    assert value - 1e-9 <= raised <= value + 1e-6
    assert not rigorous.holds(value - 1e-7, errors=5, n=100, complexity_nats=0.0, delta=0.05)


def test_the_tail_ball_contains_the_exact_rational() -> None:
    p = 0.25
    exact = sum(math.comb(20, j) * 3 ** (20 - j) for j in range(4)) / 4**20
    assert rigorous.ln_tail_ball(p, errors=3, n=20).overlaps(flint.arb(exact).log() * flint.arb(1, 1e-15))


def test_precision_is_put_back() -> None:
    before = flint.ctx.prec
    rigorous.holds(0.3, errors=5, n=100, complexity_nats=1.0, delta=0.05)
    assert flint.ctx.prec == before


def test_without_flint_the_value_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rigorous, "available", lambda: False)
    assert rigorous.prove_binomial(0.25, errors=5, n=100, complexity_nats=0.0, delta=0.05) == 0.25


def test_certificates_agree_with_and_without_flint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floating point is already safe, so the proof rarely has to raise anything."""
    evidence = Evidence.checked(errors=10**7, n=10**9, split="train", examples_sha256="0" * 64)
    complexity = Complexity(ledger=(LedgerItem(name="w", bits=1e6, reason="test"),))
    start = time.perf_counter()
    proven = BOUNDS["occam_binomial"].certify(evidence, complexity, delta=0.05).value
    assert time.perf_counter() - start < 5.0  # the benchmark measures; this only catches a hang
    monkeypatch.setattr(rigorous, "available", lambda: False)
    assert BOUNDS["occam_binomial"].certify(evidence, complexity, delta=0.05).value == pytest.approx(proven, abs=1e-12)
