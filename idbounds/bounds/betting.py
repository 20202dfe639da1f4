"""Betting against a mean: valid at every n at once, tight for small variance and for errors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import (
    FIXED,
    POINTWISE,
    PREFIX_FREE,
    SAMPLE,
    Bound,
    RiskBound,
    Source,
    check_sizes,
    penalty_nats,
    risk_upwards,
    same_shape,
)
from idbounds.bounds.bernstein import check_range
from idbounds.bounds.evidence import GibbsEvidence, LossEvidence
from idbounds.bounds.occam import scaled
from idbounds.bounds.pac_bayes import PRIOR
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy


_TABLE = np.concatenate(([1.0], np.cumprod([m / (m - 0.5) for m in range(1, 257)])))  # √π Γ(m+1)/Γ(m+½)


def regret(n: ArrayLike) -> FloatArray:
    """ln(√π Γ(n+1)/Γ(n+½)), rounded up: what the universal portfolio of two stocks loses to the best fixed bet.

    Up to n = 256 a product; beyond, √(πn) (1 + 1/8n + 1/128n² - 5/1024n³ - 21/32768n⁴ + …), where the terms left
    out are below 2e-3/n⁵ < 2e-15.
    """
    size = check_sizes(n)
    u = 1.0 / np.maximum(size, 256.0)
    series = np.log(np.pi * np.maximum(size, 256.0)) / 2
    series = series + np.log1p(u * (1 / 8 + u * (1 / 128 - u * (5 / 1024 + u * 21 / 32768))))
    exact = np.log(_TABLE[np.minimum(size, 256.0).astype(np.intp)])
    return np.asarray(np.where(size <= 256, exact, series) * (1 + 1e-14) + 1e-14)


class OccamBetting(Bound):
    """A gambler who bets that the mean is smaller gets rich if it is; the means that he cannot refute remain.

    Formula: R ≤ sup{μ : max over β of Σ ln(1 + β (z_i - μ)) ≤ C + ln(1/δ) + ln(√π Γ(n+1)/Γ(n+½))}, β in [-1/(1-μ), 1/μ].
    Symbols: z_i loss in [0, 1]; C = K ln 2 nats; n ≥ 1; δ in (0, 1). For errors the maximum is n kl(r̂‖μ).
    Holds: for all predictors of the code and all n at once, with probability at least 1 - δ.
    Requires: independent examples (or a constant conditional mean); a loss in [0, 1].
    Rounding: up; any β refutes validly, so the search for the best one cannot err downward.
    Source: Orabona & Jun (2024), IEEE Trans. IT 70, arXiv:2110.14099 (PRECiSE); regret of the Dirichlet(½) portfolio:
    Cover & Ordentlich (1996), and the code of Jang et al. (2023), which has the same constant.

    Examples:
        >>> losses = np.repeat([0.0, 0.1, 0.2], 300)
        >>> float(OccamBetting().value(losses=losses, complexity_nats=20.0, delta=0.05).round(4))
        0.1302
    """

    name = "occam_betting"
    title = "Occam bound, betting"
    source = Source("orabona2024tight", "confidence sequence from the Dirichlet(1/2) universal portfolio", "arXiv:2110.14099")
    assumptions = (SAMPLE, FIXED, PREFIX_FREE, POINTWISE, "the loss lies in [0, 1]")
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, LossEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """For errors: kl⁻¹(r̂, (L + regret)/n)."""
        s = symbolic.symbols()
        return symbolic.kl_inverse(s.rhat, symbolic.betting_penalty() / s.n)

    def value(
        self, *, losses: ArrayLike, complexity_nats: ArrayLike, delta: float, lower: float = 0.0, upper: float = 1.0
    ) -> FloatArray:
        """`losses` is (…, n); complexities broadcast against the leading axes."""
        z = check_range("losses", losses, lower=lower, upper=upper)
        if z.ndim == 0 or z.shape[-1] == 0:
            raise ValueError("losses must hold at least one number per row, got none")
        unit = z if (lower, upper) == (0.0, 1.0) else scaled(z, lower=lower, upper=upper)
        size = float(z.shape[-1])
        budget = (penalty_nats(complexity_nats, delta=delta) + regret(size)) * (1 + 1e-12)
        same_shape(losses=unit[..., 0], complexity_nats=budget)
        mean = unit.mean(axis=-1)
        low, _ = np.broadcast_arrays(np.minimum(mean * (1 + 1e-12), 1.0), budget)
        # By concavity the best bet gains at least n kl(mean‖μ), so kl⁻¹ is an upper end to start from.
        high = kl_inverse_upper(low, c=budget / size)
        for _ in range(60):
            middle = (low + high) / 2
            refuted = _log_wealth(unit, middle) > budget
            low, high = np.where(refuted, low, middle), np.where(refuted, middle, high)
        unit_value = np.minimum(high * (1 + 2.0**-50) + 2.0**-52, 1.0)
        return np.asarray(np.minimum(lower + (upper - lower) * unit_value + (abs(lower) + abs(upper)) * 2.0**-50, upper))

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """kl⁻¹ with the regret added."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        nats = (penalty_nats(complexity_nats, delta=delta) + regret(size)) * (1 + 2.0**-50)
        return kl_inverse_upper(risk, c=nats / size * (1 + 2.0**-51))

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """The losses and their range."""
        if not isinstance(evidence, LossEvidence):
            return super().arguments(evidence)
        return {"losses": evidence.losses, "lower": evidence.lower, "upper": evidence.upper}


def _log_wealth(z: FloatArray, mu: FloatArray) -> FloatArray:
    """A lower end of max over β in [-1/(1-μ), 0] of Σ ln(1 + β (z - μ)): ternary search, then one careful evaluation."""
    gap = z - mu[..., None]
    with np.errstate(divide="ignore"):
        left, right = -1.0 / (1.0 - mu), np.zeros_like(mu)
    left = np.where(np.isfinite(left), left * (1 - 1e-12), 0.0)
    for _ in range(50):
        a, b = left + (right - left) / 3, right - (right - left) / 3
        rising = _gains(a, gap).sum(axis=-1) < _gains(b, gap).sum(axis=-1)
        left, right = np.where(rising, a, left), np.where(rising, right, b)
    x = np.maximum(left[..., None] * gap, -1 + 1e-15)
    terms = np.log1p(x)
    # Rounding of x, conditioned by the logarithm, and of the pairwise sum; the rounding of z - μ is a move of μ.
    error = 2.0**-50 * (np.abs(x) / (1 + x)).sum(axis=-1) + 2.0**-46 * np.abs(terms).sum(axis=-1)
    return np.asarray(np.maximum(terms.sum(axis=-1) - error, 0.0))


def _gains(beta: FloatArray, gap: FloatArray) -> FloatArray:
    return np.asarray(np.log1p(np.maximum(beta[..., None] * gap, -1 + 1e-15)))


class PacBayesBetting(RiskBound):
    """The betting bound for a stochastic predictor Q: tighter than Seeger's, since √(πn) < 2√n.

    Formula: R(Q) ≤ kl⁻¹(r̂, (KL(Q‖P) + ln(1/δ) + ln(√π Γ(n+1)/Γ(n+½))) / n).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; n ≥ 1; δ in (0, 1).
    Holds: for all Q and all n at once, with probability at least 1 - δ.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Jang, Jun, Kuzborskij & Orabona (2023), COLT, Theorem 1, arXiv:2302.05829 (constant checked in its published
    code). The kl form is its relaxation: for each h the best bet gains at least n kl(r̂_h‖R_h), as ln is concave, and kl
    is jointly convex, so the average over Q is at least n kl(r̂‖R).

    Examples:
        >>> float(PacBayesBetting().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3032
    """

    name = "pac_bayes_betting"
    title = "PAC-Bayes, coin betting (kl form)"
    source = Source("jang2023tighter", "Theorem 1, relaxed to kl", "arXiv:2302.05829")
    assumptions = (SAMPLE, FIXED, POINTWISE, PRIOR, "the loss lies in [0, 1]")
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """kl⁻¹(r̂, (L + regret)/n)."""
        s = symbolic.symbols()
        return symbolic.kl_inverse(s.rhat, symbolic.betting_penalty() / s.n)

    def value(self, *, empirical_risk: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast; `complexity_nats` is KL(Q‖P)."""
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats)
        size = check_sizes(n)
        nats = (penalty_nats(complexity_nats, delta=delta) + regret(size)) * (1 + 2.0**-50)
        return kl_inverse_upper(fraction_array("empirical_risk", empirical_risk), c=nats / size * (1 + 2.0**-51))
