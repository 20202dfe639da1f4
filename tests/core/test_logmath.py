"""kl, its inverses and binomial tails against mpmath and Arb, in the corners where public code fails."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idbounds.core.logmath import kl, kl_inverse_lower, kl_inverse_upper, x_minus_log1p
from idbounds.core.tails import binomial_inverse, ln_binomial_tail

_FRACTION = st.one_of(
    st.floats(0.0, 1.0),
    st.floats(1e-300, 1e-6),
    st.sampled_from([0.0, 1.0, 0.5, 1e-10, 1 - 1e-10, 1 - 2.0**-53, 5e-324]),
)


def exact_kl(q: float, p: float) -> mpmath.mpf:
    # 1000 digits, because q may be 5e-324 and 1 - q must still differ from 1
    with mpmath.workdps(1000):
        q, p = mpmath.mpf(q), mpmath.mpf(p)
        if (p == 0 and q > 0) or (p == 1 and q < 1):
            return mpmath.inf
        first = q * mpmath.log(q / p) if q > 0 else mpmath.mpf(0)
        return first + ((1 - q) * mpmath.log((1 - q) / (1 - p)) if q < 1 else mpmath.mpf(0))


@given(q=_FRACTION, p=_FRACTION)
@example(q=0.75, p=5e-324)
def test_kl_is_accurate(q: float, p: float) -> None:
    found, exact = float(kl(q, p=p)), exact_kl(q, p)
    if exact == mpmath.inf:
        assert found == math.inf
    else:
        assert abs(found - exact) <= 1e-13 * exact + mpmath.mpf("1e-287")


@given(q=st.floats(1e-9, 1 - 1e-9), step=st.integers(-40, 40))
def test_kl_of_neighbours_does_not_cancel(q: float, step: int) -> None:
    p = q * (1 + step * 2.0**-40)
    if 0 < p < 1:
        exact = exact_kl(q, p)
        assert abs(float(kl(q, p=p)) - exact) <= 1e-12 * exact + mpmath.mpf("1e-320")


@given(q=_FRACTION, c=st.one_of(st.floats(0.0, 5.0), st.floats(1e-300, 1e-8), st.floats(5.0, 1e8)))
@example(q=0.25, c=1.0298143395977577e-32)
def test_kl_inverse_upper_is_on_the_safe_side_and_close(q: float, c: float) -> None:
    p = float(kl_inverse_upper(q, c=c))
    assert q <= p <= 1
    if p < 1:
        assert exact_kl(q, p) >= c
        close = max(q, p - 1e-9)
        assert close == q or exact_kl(q, close) < c
    else:
        assert exact_kl(q, 1 - 1e-9) < c or q > 1 - 1e-9


@given(q=_FRACTION, c=st.one_of(st.floats(0.0, 5.0), st.floats(1e-300, 1e-8), st.floats(5.0, 1e8)))
def test_kl_inverse_lower_is_on_the_safe_side_and_close(q: float, c: float) -> None:
    p = float(kl_inverse_lower(q, c=c))
    assert 0 <= p <= q
    if p > 0:
        assert exact_kl(q, p) >= c
        close = min(q, p + 1e-9)
        assert close == q or exact_kl(q, close) < c


def test_kl_inverse_closed_forms() -> None:
    assert float(kl_inverse_upper(0.0, c=0.1)) == pytest.approx(-math.expm1(-0.1), rel=1e-13)
    assert float(kl_inverse_upper(1.0, c=0.1)) == 1.0
    assert float(kl_inverse_lower(1.0, c=0.1)) == pytest.approx(math.exp(-0.1), rel=1e-13)
    assert float(kl_inverse_upper(0.3, c=0.0)) == pytest.approx(0.3, rel=1e-15)
    assert float(kl_inverse_upper(0.3, c=math.inf)) == 1.0
    assert float(kl_inverse_upper(0.1, c=1e-300)) == pytest.approx(0.1, rel=1e-15)


def test_kl_inverse_near_one_is_not_zero() -> None:
    """A public bisection returns 0 here."""
    assert float(kl_inverse_upper(1 - 1e-10, c=1e-12)) > 1 - 1e-10


def test_kl_inverse_never_below_truth_in_20_000_cases() -> None:
    """A public bisection that returns its midpoint is below the truth in half of them."""
    generator = np.random.default_rng(1)
    q, c = generator.random(20_000) ** 3, 10 ** generator.uniform(-9, 0.5, 20_000)
    p = kl_inverse_upper(q, c=c)
    inside = p < 1
    assert inside.mean() > 0.8
    assert np.all(kl(q, p=p)[inside] >= c[inside])


@pytest.mark.parametrize(
    ("k", "n", "p"), [(0, 10, 0.3), (3, 10, 0.5), (9, 10, 0.95), (10, 10, 1.0), (50, 200, 0.3), (7, 100, 0.071)]
)
def test_ln_tail_against_a_sum(k: int, n: int, p: float) -> None:
    with mpmath.workdps(50):
        exact = mpmath.log(
            mpmath.fsum(mpmath.binomial(n, j) * mpmath.mpf(p) ** j * (1 - mpmath.mpf(p)) ** (n - j) for j in range(k + 1))
        )
    found = float(ln_binomial_tail(k, n=n, p=p))
    assert exact <= found + 1e-15
    assert found <= exact + 1e-10


def test_ln_tail_where_scipy_is_minus_infinity() -> None:
    """binom.logcdf is -inf beyond 745 nats."""
    found = float(ln_binomial_tail(1000, n=100_000, p=0.5))
    assert -64_000 < found < -63_000


def test_ln_tail_below_the_mean_is_refused() -> None:
    with pytest.raises(ValueError, match="p must be at least k/n"):
        ln_binomial_tail(5, n=10, p=0.2)


def _tail_ball(flint: object, k: int, n: int, p: float) -> object:
    before = flint.ctx.prec
    try:
        for precision in (192, 512, 2048, 8192):
            flint.ctx.prec = precision
            ball = (flint.arb(1) - flint.arb(p)).beta_lower(n - k, k + 1, regularized=1).log()
            if ball.rad() < 1e-12 * abs(ball.mid()) + 1e-12:
                return ball
    finally:
        flint.ctx.prec = before
    return ball


@given(
    n=st.one_of(st.integers(2, 60), st.integers(2, 10**12)),
    where=st.floats(0.0, 1.0),
    few=st.integers(0, 12),
    nats=st.one_of(st.floats(math.log(2), 6.0), st.floats(0.7, 7e7)),
)
@example(n=2, where=0.0, few=1, nats=5.75)
def test_binomial_inverse_against_arb(n: int, where: float, few: int, nats: float) -> None:
    """Never below the truth, within 1e-9 of it, for n to 1e12 and ln δ' to -7e7."""
    flint = pytest.importorskip("flint")
    for k in {min(few, n - 1), min(int(where**3 * n), n - 1)}:
        p = float(binomial_inverse(k, n=n, ln_delta=-nats))
        assert k / n <= p <= 1
        if p < 1:
            assert _tail_ball(flint, k, n, p) < -nats
        below = p - 1e-9
        assert below * n <= k or _tail_ball(flint, k, n, below) > -nats


def test_binomial_inverse_closed_forms() -> None:
    assert float(binomial_inverse(0, n=7, ln_delta=math.log(0.01))) == pytest.approx(1 - 0.01 ** (1 / 7), rel=1e-12)
    assert float(binomial_inverse(6, n=7, ln_delta=math.log(0.01))) == pytest.approx(0.99 ** (1 / 7), rel=1e-12)
    assert float(binomial_inverse(7, n=7, ln_delta=-3.0)) == 1.0
    assert float(binomial_inverse(0, n=1, ln_delta=-1e8)) == 1.0


def test_binomial_inverse_where_beta_ppf_fails() -> None:
    """scipy's quantile at 1 - δ' is 1 or NaN here; the value lies just below the Chernoff bound."""
    for nats in (40.0, 450.0, 700.0, 5_886.0, 1e5):
        p = float(binomial_inverse(5_000, n=100_000, ln_delta=-nats))
        chernoff = float(kl_inverse_upper(0.05, c=nats / 100_000))
        assert 0.05 < p < chernoff
        assert p > chernoff - 5e-4


def test_delta_above_one_half_counts_as_one_half() -> None:
    assert binomial_inverse(3, n=10, ln_delta=-0.1) == binomial_inverse(3, n=10, ln_delta=math.log(0.5))


def test_broadcasting_and_empty() -> None:
    assert binomial_inverse([[1], [2]], n=10, ln_delta=[-1.0, -2.0, -3.0]).shape == (2, 3)
    assert kl_inverse_upper(np.zeros(0), c=np.zeros(0)).shape == (0,)
    assert binomial_inverse(np.zeros(0), n=10, ln_delta=-1.0).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: kl(1.2, p=0.5),
        lambda: kl(0.5, p=math.nan),
        lambda: kl_inverse_upper(-0.1, c=1.0),
        lambda: kl_inverse_upper(0.1, c=-1.0),
        lambda: kl_inverse_upper(0.1, c=math.nan),
        lambda: kl_inverse_lower(2.0, c=1.0),
        lambda: binomial_inverse(1.5, n=10, ln_delta=-1.0),
        lambda: binomial_inverse(11, n=10, ln_delta=-1.0),
        lambda: binomial_inverse(1, n=0, ln_delta=-1.0),
        lambda: binomial_inverse(1, n=10, ln_delta=0.5),
        lambda: binomial_inverse(1, n=10, ln_delta=math.nan),
        lambda: binomial_inverse(1, n=2.0**60, ln_delta=-1.0),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        call()


@given(x=st.one_of(st.floats(-0.999, 1e6), st.floats(-1e-8, 1e-8)))
def test_x_minus_log1p(x: float) -> None:
    with mpmath.workdps(700):
        exact = mpmath.mpf(x) - mpmath.log(1 + mpmath.mpf(x))
    assert abs(float(x_minus_log1p(x)) - exact) <= 1e-14 * exact + mpmath.mpf("1e-320")
