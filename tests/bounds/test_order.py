"""What is proven about order, as property tests (same complexity, δ and predictor)."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import BOUNDS
from idbounds.bounds.betting import regret
from idbounds.bounds.catoni import CatoniFixed
from idbounds.bounds.pac_bayes import Lambda

CASE = st.tuples(st.integers(1, 10**7), st.floats(0, 1), st.floats(0, 1e5), st.floats(1e-12, 0.5))


def at(name: str, case: tuple[int, float, float, float]) -> float:
    n, share, nats, delta = case
    return float(BOUNDS[name].from_counts(errors=min(int(share * (n + 1)), n), n=n, complexity_nats=nats, delta=delta))


@given(case=CASE)
@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("occam_binomial", "occam_kl"),
        ("occam_kl", "occam_hoeffding"),
        ("occam_kl", "catoni_fixed"),
        ("occam_kl", "catoni_grid"),
        ("occam_kl", "seeger"),
        ("occam_kl", "occam_split_kl"),
        ("occam_kl", "occam_betting"),
        ("occam_kl", "universal_prior"),
        ("pac_bayes_betting", "seeger"),
        ("seeger", "pac_bayes_split_kl"),
        ("seeger", "mcallester"),
        ("seeger", "pac_bayes_quadratic"),
    ],
)
def test_order(smaller: str, larger: str, case: tuple[int, float, float, float]) -> None:
    assert at(smaller, case) <= at(larger, case) * (1 + 1e-12)


@given(case=CASE)
def test_lambda_bound_at_its_minimum_is_the_quadratic_bound(case: tuple[int, float, float, float]) -> None:
    assert at("pac_bayes_lambda", case) == pytest.approx(at("pac_bayes_quadratic", case), rel=1e-12)


@given(case=CASE, lam=st.floats(0.01, 1.99))
def test_no_lambda_is_below_the_quadratic_bound(case: tuple[int, float, float, float], lam: float) -> None:
    n, share, nats, delta = case
    risk = min(int(share * (n + 1)), n) / n
    penalty = nats + math.log(2 * math.sqrt(n) / delta)
    assert min(risk / (1 - lam / 2) + penalty / (n * lam * (1 - lam / 2)), 1.0) >= at("pac_bayes_quadratic", case) * (1 - 1e-12)
    assert 0 < float(Lambda.best_lambda(risk, n, penalty)) <= 1


@given(case=CASE)
def test_quadratic_is_below_mcallester_exactly_where_it_is_below_one_quarter(case: tuple[int, float, float, float]) -> None:
    """Not always, as is sometimes said: (p-r)² = 2 p A/2n at the quadratic bound p and A/2n at McAllester's."""
    quadratic, square_root = at("pac_bayes_quadratic", case), at("mcallester", case)
    if quadratic < 0.25 * (1 - 1e-9):
        assert quadratic <= square_root * (1 + 1e-12)
    elif quadratic > 0.25 * (1 + 1e-9):
        assert quadratic >= square_root * (1 - 1e-12)


@given(share=st.floats(0.001, 0.9), n=st.integers(100, 10**6), nats=st.floats(1.0, 50.0))
def test_infimum_over_lambda_of_catoni_is_kl(share: float, n: int, nats: float) -> None:
    """Without a grid: valid for one predictor. The minimiser is λ = n ln(p (1-r) / (r (1-p)))."""
    errors = max(1, min(int(share * n), n - 1))
    p, risk = at("occam_kl", (n, (errors + 0.5) / (n + 1), nats, 0.05)), errors / n
    if p < 1 - 1e-6:
        lam = n * (math.log(p / risk) - math.log1p(-(p - risk) / (1 - risk)) * 1.0)
        value = CatoniFixed().value(empirical_risk=risk, n=n, complexity_nats=nats, delta=0.05, lam=lam)
        assert float(value) == pytest.approx(p, abs=1e-9)


def test_seeger_follows_from_maurer_for_small_n_too() -> None:
    """Maurer proves E exp(n kl) ≤ 2√n for n ≥ 8; here the exact expectation, Σ C(n,k) (k/n)^k (1-k/n)^(n-k), for n < 8."""
    for n in range(1, 9):
        exact = mpmath.fsum(
            mpmath.binomial(n, k) * (mpmath.mpf(k) / n) ** k * (1 - mpmath.mpf(k) / n) ** (n - k) for k in range(n + 1)
        )
        assert exact <= 2 * mpmath.sqrt(n)


@given(n=st.one_of(st.integers(1, 10**6), st.integers(1, 10**12)))
def test_regret_is_rounded_up_and_below_maurers_constant(n: int) -> None:
    with mpmath.workdps(60):
        exact = mpmath.log(mpmath.sqrt(mpmath.pi)) + mpmath.loggamma(n + 1) - mpmath.loggamma(n + mpmath.mpf(1) / 2)
    found = float(regret(n))
    assert exact <= found <= exact + 1e-12
    assert found <= math.log(2 * math.sqrt(n)) + 1e-11
