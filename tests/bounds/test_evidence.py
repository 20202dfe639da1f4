"""Families over losses, posteriors, other samples and language models: against formulas with 40 digits, and bad input."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from idbounds.bounds import BOUNDS
from idbounds.bounds.evidence import (
    DisagreementEvidence,
    DocumentEvidence,
    GibbsEvidence,
    GibbsMomentEvidence,
    GibbsSplitEvidence,
    LossEvidence,
    MarginEvidence,
    SampleCompressionEvidence,
    TokenEvidence,
)
from idbounds.bounds.gaussian import PriorScaleGrid, gaussian_kl, monte_carlo_risk
from idbounds.bounds.language import smoothing_range
from idbounds.core.errors import UnsupportedEvidenceError
from idbounds.core.values import Complexity, Evidence, LedgerItem
from idbounds.testing.bound_suite import evaluate, mp_binomial_inverse

SHA = "0" * 64
CODE = Complexity(ledger=(LedgerItem(name="message", bits=80.0, reason="test"),))
LOSSES = tuple(float(x) for x in np.random.default_rng(0).beta(2, 9, size=500))

EVIDENCE = {
    "occam_kl": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    "occam_hoeffding": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    "occam_empirical_bernstein": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    "occam_unexpected_bernstein": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    "occam_split_kl": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    "occam_betting": LossEvidence(losses=LOSSES, split="train", examples_sha256=SHA),
    **{
        name: GibbsEvidence(empirical_risk=0.1, n=2000, examples_sha256=SHA)
        for name in (
            "mcallester", "seeger", "catoni_fixed", "catoni_grid", "pac_bayes_lambda", "pac_bayes_quadratic",
            "pac_bayes_betting",
        )
    },
    **{
        name: GibbsMomentEvidence(empirical_risk=0.1, second_moment=0.05, variance=0.041, n=2000, examples_sha256=SHA)
        for name in ("tolstikhin_seldin", "pac_bayes_unexpected_bernstein")
    },
    "pac_bayes_split_kl": GibbsSplitEvidence(mean_above=0.03, mean_below=0.43, center=0.5, n=2000, examples_sha256=SHA),
    "arora": MarginEvidence(margin_errors=100, n=2000, examples_sha256=SHA),
    "disagreement": DisagreementEvidence(errors=100, n=2000, disagreements=5, num_unlabelled=4000, examples_sha256=SHA),
    "sample_compression": SampleCompressionEvidence(errors=3, n=2000, num_kept=10, examples_sha256=SHA),
    "documents": DocumentEvidence(
        subsample_risk=4.0, num_documents=10**6, num_subsampled=10**4, vocabulary=50257, alpha=0.1, examples_sha256=SHA
    ),
    "tokens": TokenEvidence(empirical_risk=4.0, num_tokens=10**9, rms_range=18.8, examples_sha256=SHA),
}  # fmt: skip


@pytest.mark.parametrize("name", list(EVIDENCE))
def test_certify_risk(name: str) -> None:
    made = BOUNDS[name].certify_risk(EVIDENCE[name], CODE, delta=0.05)
    assert made.family == name
    assert math.isfinite(made.value)
    assert made.value > 0.05
    assert made.theorem
    assert type(made).from_dict(made.to_dict()) == made
    more = Complexity(ledger=(LedgerItem(name="message", bits=120.0, reason="test"),))
    assert BOUNDS[name].certify_risk(EVIDENCE[name], more, delta=0.05).value > made.value


def test_every_family_is_certified_somewhere_or_says_why_not() -> None:
    over_counts = {name for name, bound in BOUNDS.items() if Evidence in bound.accepts}
    refusing = {name for name, bound in BOUNDS.items() if bound.not_certified}
    assert over_counts | set(EVIDENCE) | refusing | {"test_set_gibbs"} == set(BOUNDS)
    assert refusing == {"freedman_tokens", "parameter_counting", "vc_dimension", "spectral_margin"}
    for name in refusing:
        with pytest.raises(UnsupportedEvidenceError, match=name):
            BOUNDS[name].certify_risk(EVIDENCE["tokens"], CODE, delta=0.05)
        assert not BOUNDS[name].in_default_table


def test_a_held_out_loss_is_refused() -> None:
    held_out = LossEvidence(losses=LOSSES, split="test", examples_sha256=SHA)
    with pytest.raises(UnsupportedEvidenceError, match="test split"):
        BOUNDS["occam_kl"].certify_risk(held_out, CODE, delta=0.05)


# losses in a range


@given(scale=st.floats(0.1, 50.0), shift=st.floats(-5.0, 5.0), nats=st.floats(0.0, 20.0))
@pytest.mark.parametrize(
    "name", ["occam_kl", "occam_hoeffding", "occam_empirical_bernstein", "occam_split_kl", "occam_betting"]
)
def test_scaling_the_loss_scales_the_bound(name: str, scale: float, shift: float, nats: float) -> None:
    losses = np.asarray(LOSSES[:80])
    bound = BOUNDS[name]
    plain = LossEvidence(losses=tuple(losses), split="train", examples_sha256=SHA)
    lower, upper = shift, shift + scale
    moved = LossEvidence(
        losses=tuple(np.clip(shift + scale * losses, lower, upper)),
        lower=lower,
        upper=upper,
        split="train",
        examples_sha256=SHA,
    )
    first = float(bound.value(**bound.arguments(plain), complexity_nats=nats, delta=0.05))
    second = float(bound.value(**bound.arguments(moved), complexity_nats=nats, delta=0.05))
    assert second == pytest.approx(shift + scale * first, abs=1e-9 * (scale + abs(shift)))


@given(nats=st.floats(0.0, 30.0), delta=st.floats(1e-6, 0.5), n=st.integers(2, 400))
def test_loss_bounds_against_their_formulas(nats: float, delta: float, n: int) -> None:
    losses = LOSSES[:n]
    mean = mpmath.fsum(losses) / n
    base = {"rhat": mean, "n": n, "C": nats, "delta": delta}
    spread = mpmath.fsum((z - mean) ** 2 for z in losses) / (n - 1)
    above = mpmath.fsum(max(z - 0.5, 0) for z in losses) / n
    below = mpmath.fsum(max(0.5 - z, 0) for z in losses) / n
    exact = {
        "occam_kl": base,
        "occam_hoeffding": base,
        "occam_empirical_bernstein": {**base, "var": spread},
        "occam_split_kl": {**base, "mu": 0.5, "above": above, "below": below},
    }
    evidence = LossEvidence(losses=losses, split="train", examples_sha256=SHA)
    for name, values in exact.items():
        bound = BOUNDS[name]
        value = float(bound.value(**bound.arguments(evidence), complexity_nats=nats, delta=delta))
        reference = min(evaluate(bound.formula, values), mpmath.mpf(1))
        assert value >= reference - mpmath.mpf("1e-15")  # the mean itself is rounded
        assert value <= reference + mpmath.mpf("1e-9")


# other samples


@given(k=st.integers(0, 60), a=st.integers(0, 60), nats=st.floats(0, 20), delta=st.floats(1e-6, 0.5))
def test_disagreement_and_sample_compression_against_sums(k: int, a: int, nats: float, delta: float) -> None:
    value = BOUNDS["disagreement"].value(errors=k, n=60, disagreements=a, num_unlabelled=70, complexity_nats=nats, delta=delta)
    with mpmath.workdps(40):
        half = mpmath.mpf(delta) / 2
        exact = mp_binomial_inverse(k, 60, half * mpmath.exp(-nats)) + mp_binomial_inverse(a, 70, half)
    assert min(exact, 1) <= float(value) <= min(exact, 1) + 1e-9
    kept = a % 50
    errors = min(k, 60 - kept)
    compressed = BOUNDS["sample_compression"].value(errors=errors, n=60, num_kept=kept, complexity_nats=nats, delta=delta)
    with mpmath.workdps(40):
        level = mpmath.mpf(delta) * mpmath.exp(-nats) / mpmath.binomial(60, kept) * 6 / (mpmath.pi**2 * (kept + 1) ** 2)
        exact = mp_binomial_inverse(errors, 60 - kept, level)
    assert exact <= float(compressed) <= exact + 1e-9


def test_arora_is_hoeffding_over_all_settings() -> None:
    value = BOUNDS["arora"].value(margin_errors=100, n=2000, num_parameters=30, num_values=256, delta=0.05)
    assert float(value) == pytest.approx(0.05 + math.sqrt((30 * math.log(256) + math.log(20)) / 4000), abs=1e-12)


# language models


def test_smoothing_range_is_the_range() -> None:
    spread = float(smoothing_range(vocabulary=1000, alpha=0.2))
    worst, best = -math.log2(0.2 / 1000), -math.log2(0.8 + 0.2 / 1000)
    assert spread == pytest.approx(worst - best, abs=1e-12)


def test_documents_against_the_published_formula() -> None:
    m, sub, nats, delta = 10**6, 10**4, 5e4, 0.05
    arguments: dict[str, Any] = {"num_documents": m, "num_subsampled": sub, "vocabulary": 50257, "alpha": 0.1}
    value = BOUNDS["documents"].value(subsample_risk=4.0, **arguments, complexity_nats=nats, delta=delta)
    share = sub / (sub + m)
    gap = math.sqrt((nats - math.log(share * delta)) / (2 * m)) + math.sqrt(-math.log((1 - share) * delta) / (2 * sub))
    assert float(value) == pytest.approx(4.0 + math.log2(1 + 0.9 * 50257 / 0.1) * gap, abs=1e-9)


def test_tokens_and_freedman_against_their_formulas() -> None:
    tokens = BOUNDS["tokens"]
    value = tokens.value(empirical_risk=4.0, num_tokens=10**8, rms_range=18.0, complexity_nats=1e6, delta=0.05)
    exact = evaluate(tokens.formula, {"rhat": 4, "scale": 18, "m": 10**8, "C": 1e6, "delta": 0.05})
    assert exact <= float(value) <= exact + 1e-9
    freedman = BOUNDS["freedman_tokens"]
    value = freedman.value(
        empirical_risk=2.0, variance_term=1.0, num_tokens=10**9, vocabulary=50257, grid_size=10, complexity_nats=1e6, delta=0.05
    )
    exact = evaluate(
        freedman.formula, {"rhat": 2, "sigma": 1, "m": 10**9, "V": 50257, "G": 10, "C": 1e6, "delta": mpmath.mpf(0.05)}
    )
    assert float(value) == pytest.approx(float(exact), abs=1e-9)


# Gaussian posteriors and Monte-Carlo


@given(mu=st.floats(-5, 5), sigma=st.floats(0.01, 5), tau=st.floats(0.1, 5))
def test_gaussian_kl_against_mpmath(mu: float, sigma: float, tau: float) -> None:
    with mpmath.workdps(40):
        s, t, m = mpmath.mpf(sigma), mpmath.mpf(tau), mpmath.mpf(mu)
        exact = (mpmath.log(t**2 / s**2) + (s**2 + m**2) / t**2 - 1) / 2
    found = gaussian_kl([mu], sigma=sigma, prior_scale=tau)
    assert exact <= found * (1 + 1e-16) + 1e-300
    assert found <= exact + 1e-9


def test_gaussian_kl_against_an_integral() -> None:
    q, p = stats.norm(0.7, 0.4), stats.norm(0, 1.3)
    exact, _ = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), -3, 4)
    assert gaussian_kl([0.7, 0.7], sigma=0.4, prior_scale=1.3) == pytest.approx(2 * exact, abs=1e-7)
    assert gaussian_kl(np.zeros(5), sigma=1.3, prior_scale=1.3) == pytest.approx(0.0, abs=1e-12)


def test_the_choice_of_a_prior_scale_is_paid_for() -> None:
    grid = PriorScaleGrid(largest=10.0, ratio=1.1, size=128)
    mean = np.random.default_rng(0).normal(0, 0.3, size=50)
    tau, nats, ledger = grid.best(mean, sigma=0.1)
    assert nats == min(gaussian_kl(mean, sigma=0.1, prior_scale=float(scale)) for scale in grid.scales)
    assert tau in grid.scales
    assert ledger[1].bits >= 7.0
    assert Complexity(ledger=ledger).nats >= nats + math.log(128)


def test_monte_carlo_has_its_own_delta() -> None:
    value = float(monte_carlo_risk(0.03, num_draws=150_000, delta_mc=0.01))
    assert value > 0.03
    generator = np.random.default_rng(1)
    means = generator.binomial(500, 0.1, size=2000) / 500
    failures = int((monte_carlo_risk(means, num_draws=500, delta_mc=0.1) < 0.1).sum())
    assert stats.binomtest(failures, 2000, 0.1, alternative="greater").pvalue > 1e-6


def test_a_monte_carlo_delta_is_spent_out_of_delta() -> None:
    estimate = GibbsEvidence(empirical_risk=0.1, n=2000, monte_carlo_delta=0.01, examples_sha256=SHA)
    made = BOUNDS["seeger"].certify_risk(estimate, CODE, delta=0.05)
    exact = GibbsEvidence(empirical_risk=0.1, n=2000, examples_sha256=SHA)
    assert made.delta == 0.05
    assert made.value == pytest.approx(BOUNDS["seeger"].certify_risk(exact, CODE, delta=0.04).value, abs=1e-12)
    with pytest.raises(ValueError, match="above monte_carlo_delta"):
        BOUNDS["seeger"].certify_risk(estimate, CODE, delta=0.01)


# bad input


def value_of(name: str, **arguments: Any) -> Any:
    return BOUNDS[name].value(**{"complexity_nats": 1.0, "delta": 0.05, **arguments})


@pytest.mark.parametrize(
    "call",
    [
        lambda: value_of("occam_kl", empirical_risk=1.2, n=10),
        lambda: value_of("occam_kl", empirical_risk=12, n=10),
        lambda: value_of("occam_kl", empirical_risk=3.0, n=10, lower=0.0, upper=2.0),
        lambda: value_of("occam_kl", empirical_risk=0.3, n=10, lower=1.0, upper=0.0),
        lambda: value_of("occam_kl", empirical_risk=[0.1, 0.2], n=[10, 10, 10]),
        lambda: value_of("occam_kl", empirical_risk=math.nan, n=10),
        lambda: value_of("seeger", empirical_risk=0.1, n=10.5),
        lambda: value_of("seeger", empirical_risk=0.1, n=10, complexity_nats=-0.1),
        lambda: value_of("occam_empirical_bernstein", empirical_risk=0.1, variance=-1.0, n=10),
        lambda: value_of("occam_empirical_bernstein", empirical_risk=0.1, variance=0.9, n=10),
        lambda: value_of("occam_empirical_bernstein", empirical_risk=0.1, variance=0.1, n=1),
        lambda: value_of("occam_unexpected_bernstein", empirical_risk=0.5, second_moment=0.1, n=10),
        lambda: value_of("occam_unexpected_bernstein", empirical_risk=0.5, second_moment=0.5, n=10, upper=0.0),
        lambda: value_of("occam_split_kl", mean_above=0.7, mean_below=0.1, center=0.5, n=10),
        lambda: value_of("occam_split_kl", mean_above=0.1, mean_below=0.1, center=1.5, n=10),
        lambda: value_of("occam_betting", losses=[0.1, 1.2]),
        lambda: value_of("occam_betting", losses=[]),
        lambda: value_of("occam_betting", losses=0.3),
        lambda: value_of("catoni_fixed", empirical_risk=0.1, n=10, lam=0.0),
        lambda: value_of("catoni_grid", empirical_risk=0.1, n=10, alpha=0.0),
        lambda: value_of("aghajanyan", empirical_risk=0.1, n=10, d=-1, bits_per_coordinate=3),
        lambda: value_of("arora", margin_errors=1, n=10, num_parameters=3, num_values=0),
        lambda: value_of("sample_compression", errors=0, n=10, num_kept=10),
        lambda: value_of("sample_compression", errors=8, n=10, num_kept=5),
        lambda: value_of("documents", subsample_risk=4.0, num_documents=10, num_subsampled=11, vocabulary=100, alpha=0.1),
        lambda: value_of("documents", subsample_risk=4.0, num_documents=10, num_subsampled=5, vocabulary=100, alpha=0.0),
        lambda: value_of("documents", subsample_risk=40.0, num_documents=10, num_subsampled=5, vocabulary=100, alpha=0.1),
        lambda: value_of("tokens", empirical_risk=-1.0, num_tokens=10, rms_range=1.0),
        lambda: gaussian_kl([0.0], sigma=0.0, prior_scale=1.0),
        lambda: gaussian_kl([math.inf], sigma=1.0, prior_scale=1.0),
        lambda: gaussian_kl([0.0], sigma=1.0, prior_scale=-1.0),
        lambda: monte_carlo_risk(0.1, num_draws=0, delta_mc=0.1),
        lambda: monte_carlo_risk(0.1, num_draws=10, delta_mc=1.0),
        lambda: PriorScaleGrid(ratio=1.0),
        lambda: LossEvidence(losses=(0.1, 1.2), split="train", examples_sha256=SHA),
        lambda: LossEvidence(losses=(), split="train", examples_sha256=SHA),
        lambda: GibbsEvidence(empirical_risk=87.0, n=10, examples_sha256=SHA),
        lambda: BOUNDS["vc_dimension"].value(empirical_risk=0.1, n=10, vc_dimension=0, delta=0.05),
        lambda: BOUNDS["occam_kl"].certify_risk(EVIDENCE["occam_kl"], CODE, delta=5),
    ],
)
def test_bad_input_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        call()


def test_the_contrast_bounds_are_vacuous_for_a_network() -> None:
    arguments = {"empirical_risk": 0.1, "n": 50_000, "delta": 0.05}
    assert float(BOUNDS["parameter_counting"].value(**arguments, num_weights=11_000_000)) == 1.0
    assert float(BOUNDS["vc_dimension"].value(**arguments, vc_dimension=10**9)) == 1.0
