"""How often the bounds fail, on distributions whose risk is known: at most δ, by exact sums and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idbounds.bounds import BOUNDS
from idbounds.bounds.betting import OccamBetting
from idbounds.bounds.compose import best_of
from idbounds.core.values import Complexity, Evidence

COUNT_BOUNDS = [name for name, bound in BOUNDS.items() if Evidence in bound.accepts]
DELTA = 0.1


@pytest.mark.parametrize("name", COUNT_BOUNDS)
def test_exact_probability_of_failure_for_errors(name: str) -> None:
    """P[bound(k) < p] summed over all k, for k ~ Bin(n, p): no sampling error, so it must be at most δ outright."""
    for n in (2, 5, 30, 200):
        k = np.arange(n + 1)
        value = BOUNDS[name].from_counts(errors=k, n=n, complexity_nats=np.zeros(n + 1), delta=DELTA)
        for p in (0.001, 0.01, 0.05, 0.2, 0.3, 0.5, 0.7, 0.95, 0.999):
            assert stats.binom.pmf(k, n, p)[value < p].sum() <= DELTA * (1 + 1e-9)


def test_the_binomial_bounds_fail_almost_delta_often() -> None:
    """They are not loose either: at the worst p the exact probability comes close to δ."""
    n, k = 200, np.arange(201)
    value = BOUNDS["test_set"].value(errors=k, n=n, delta=DELTA)
    failures = [stats.binom.pmf(k, n, p)[value < p].sum() for p in np.linspace(0.01, 0.5, 300)]
    assert max(failures) > 0.95 * DELTA


def violations_over_a_class(name: str, draws: int, *, seed: int) -> int:
    """Choose the best of 64 predictors on the sample, pay ln 64, and see how often the bound is below its risk."""
    generator = np.random.default_rng(seed)
    risks = generator.uniform(0.2, 0.3, size=64)
    errors = generator.binomial(100, risks, size=(draws, 64))
    chosen = errors.argmin(axis=1)
    value = BOUNDS[name].from_counts(
        errors=errors[np.arange(draws), chosen], n=100, complexity_nats=np.full(draws, math.log(64)), delta=DELTA
    )
    return int((value < risks[chosen]).sum())


def violations_over_posteriors(name: str, draws: int, *, seed: int) -> int:
    """A Gibbs posterior over 16 predictors, KL against the uniform prior."""
    generator = np.random.default_rng(seed)
    risks = generator.uniform(0.1, 0.4, size=16)
    empirical = generator.binomial(100, risks, size=(draws, 16)) / 100
    weights = np.exp(-100 * empirical + 100 * empirical.min(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    kl_nats = np.maximum((weights * np.log(np.maximum(weights * 16, 1e-300))).sum(axis=1), 0.0)
    mean = (weights * empirical).sum(axis=1)
    bound, size = BOUNDS[name], 100
    if name in ("tolstikhin_seldin", "pac_bayes_unexpected_bernstein"):
        spread = (weights * empirical * (1 - empirical)).sum(axis=1) * size / (size - 1)
        moment = {"variance": spread} if name == "tolstikhin_seldin" else {"second_moment": mean}
        value = bound.value(empirical_risk=mean, n=size, complexity_nats=kl_nats, delta=DELTA, **moment)
    elif name == "pac_bayes_split_kl":
        value = bound.value(
            mean_above=mean / 2, mean_below=(1 - mean) / 2, center=0.5, n=size, complexity_nats=kl_nats, delta=DELTA
        )
    else:
        value = bound.value(empirical_risk=mean, n=size, complexity_nats=kl_nats, delta=DELTA)
    return int((value < (weights * risks).sum(axis=1)).sum())


def violations_of_losses(name: str, draws: int, *, seed: int, n: int = 60) -> int:
    """Losses with values inside the range: beta draws, and three points."""
    generator = np.random.default_rng(seed)
    beta = generator.random(draws) < 0.5
    three = generator.choice([0.0, 0.5, 1.0], p=[0.1, 0.85, 0.05], size=(draws, n))
    losses = np.where(beta[:, None], generator.beta(0.5, 4.0, size=(draws, n)), three)
    truth = np.where(beta, 0.5 / 4.5, 0.475)
    mean, zero = np.minimum(losses.mean(axis=1), 1.0), np.zeros(draws)
    common = {"complexity_nats": zero, "delta": DELTA}
    arguments = {
        "occam_hoeffding": {"empirical_risk": mean, "n": n},
        "occam_kl": {"empirical_risk": mean, "n": n},
        "occam_empirical_bernstein": {"empirical_risk": mean, "variance": losses.var(axis=1, ddof=1), "n": n},
        "occam_unexpected_bernstein": {"empirical_risk": mean, "second_moment": (losses**2).mean(axis=1), "n": n},
        "occam_split_kl": {
            "mean_above": np.maximum(losses - 0.5, 0).mean(axis=1),
            "mean_below": np.maximum(0.5 - losses, 0).mean(axis=1),
            "center": 0.5,
            "n": n,
        },
        "occam_betting": {"losses": losses},
    }
    value = BOUNDS[name].value(**arguments[name], **common)
    return int((value < truth).sum())


LOSS_BOUNDS = [
    "occam_hoeffding",
    "occam_kl",
    "occam_empirical_bernstein",
    "occam_unexpected_bernstein",
    "occam_split_kl",
    "occam_betting",
]
POSTERIOR_BOUNDS = [
    "mcallester",
    "seeger",
    "catoni_fixed",
    "catoni_grid",
    "pac_bayes_lambda",
    "pac_bayes_quadratic",
    "tolstikhin_seldin",
    "pac_bayes_unexpected_bernstein",
    "pac_bayes_split_kl",
    "pac_bayes_betting",
]
SIMULATIONS = (
    [(violations_over_a_class, name) for name in COUNT_BOUNDS if name != "test_set"]
    + [(violations_over_posteriors, name) for name in POSTERIOR_BOUNDS]
    + [(violations_of_losses, name) for name in LOSS_BOUNDS]
)


def consistent_with_delta(violations: int, draws: int) -> bool:
    """Exact binomial test: this many failures or more are not too unlikely if each has probability δ."""
    return bool(stats.binomtest(violations, draws, DELTA, alternative="greater").pvalue > 1e-6)


@pytest.mark.parametrize(("simulate", "name"), SIMULATIONS)
def test_simulated_coverage(simulate: object, name: str) -> None:
    draws = 400 if name == "occam_betting" else 2000
    assert consistent_with_delta(simulate(name, draws, seed=3), draws)


@pytest.mark.slow
@pytest.mark.parametrize(("simulate", "name"), SIMULATIONS)
def test_simulated_coverage_with_many_draws(simulate: object, name: str) -> None:
    draws = 100_000
    chunk = 2000
    assert consistent_with_delta(sum(simulate(name, chunk, seed=1000 + i) for i in range(draws // chunk)), draws)


def test_the_test_has_power() -> None:
    """Forgetting the union over the 64 predictors is found out."""
    generator = np.random.default_rng(3)
    errors = generator.binomial(100, 0.3, size=(2000, 64)).min(axis=1)
    value = BOUNDS["occam_binomial"].from_counts(errors=errors, n=100, complexity_nats=0.0, delta=DELTA)
    assert not consistent_with_delta(int((value < 0.3).sum()), 2000)


def test_betting_holds_at_every_n_at_once() -> None:
    """A gambler may stop when he likes: the fraction of paths on which the bound is ever below the mean is at most δ."""
    generator = np.random.default_rng(5)
    bound, ever = OccamBetting(), 0
    for _ in range(300):
        hits = (generator.random(300) < 0.3).cumsum()
        value = bound.from_counts(errors=hits, n=np.arange(1, 301), complexity_nats=0.0, delta=DELTA)
        ever += bool(np.any(value < 0.3))
    assert stats.binomtest(ever, 300, DELTA, alternative="greater").pvalue > 1e-6


def test_best_of_several_bounds_is_covered() -> None:
    """The smallest of three, with its ledger line, on all k: exact."""
    bounds = [BOUNDS[name] for name in ("occam_binomial", "occam_betting", "occam_unexpected_bernstein")]
    n, p = 40, 0.2
    failing = 0.0
    for k in range(n + 1):
        evidence = Evidence.checked(errors=k, n=n, split="train", examples_sha256="0" * 64)
        if best_of(bounds, evidence, Complexity(ledger=()), delta=DELTA).value < p:
            failing += stats.binom.pmf(k, n, p)
    assert failing <= DELTA
