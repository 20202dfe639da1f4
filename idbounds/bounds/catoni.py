"""Catoni's bound: at one λ fixed beforehand, and at any λ > 1 for the price of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import FIXED, POINTWISE, SAMPLE, RiskBound, Source, check_sizes, outward, penalty_nats, same_shape
from idbounds.bounds.evidence import GibbsEvidence
from idbounds.bounds.pac_bayes import PRIOR
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy

_GOLDEN = (np.sqrt(5.0) - 1) / 2


def phi_inverse(rate: FloatArray, x: FloatArray) -> FloatArray:
    """(1 - exp(-rate x)) / (1 - exp(-rate)), Catoni's Φ⁻¹; expm1, because rate may be 1e-12."""
    return np.asarray(np.expm1(-rate * x) / np.expm1(-rate))


class CatoniFixed(RiskBound):
    """One λ, chosen before the sample was seen.

    Formula: R(Q) ≤ (1 - exp(-λ r̂/n - (KL(Q‖P) + ln(1/δ))/n)) / (1 - exp(-λ/n)).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; λ > 0, here n unless given; n ≥ 1; δ in (0, 1).
    Holds: for all Q at once, with probability at least 1 - δ over the sample.
    Requires: P and λ fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Catoni (2007), Theorem 1.2.6, arXiv:0712.0248. The number is as Zhou et al. (2019) cite it and could not be
    checked in the book; the bound itself follows from E exp(-β Σ z) ≤ (1 - R (1 - e^-β))^n, Markov's inequality
    and the change of measure, with β = λ/n.

    Examples:
        >>> bound = CatoniFixed()
        >>> float(bound.value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05, lam=4000.0).round(4))
        0.3061
    """

    name = "catoni_fixed"
    title = "PAC-Bayes, Catoni, λ fixed"
    source = Source("catoni2007pac", "Theorem 1.2.6", "arXiv:0712.0248")
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsEvidence)
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        POINTWISE,
        PRIOR,
        "the loss lies in [0, 1]",
        "λ was fixed beforehand; unless given it is n",
    )

    @property
    def formula(self) -> sympy.Expr:
        """At λ."""
        import sympy as sp

        s = symbolic.symbols()
        return (1 - sp.exp(-s.lam * s.rhat / s.n - symbolic.penalty() / s.n)) / (1 - sp.exp(-s.lam / s.n))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        lam: ArrayLike | None = None,
    ) -> FloatArray:
        """Arrays broadcast; `lam` defaults to n."""
        size = check_sizes(n)
        rate = (size if lam is None else np.asarray(lam, dtype=np.float64)) / size
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats, lam=rate)
        if not np.all((rate > 0) & np.isfinite(rate)):
            raise ConfigError("lam must be positive and finite, fixed before the sample was seen")
        risk = fraction_array("empirical_risk", empirical_risk)
        nats = penalty_nats(complexity_nats, delta=delta)
        return outward(phi_inverse(rate, outward(risk + nats / (size * rate), at_most=np.inf)))


class CatoniGrid(RiskBound):
    """Any λ > 1, even chosen on the data: λ lies near a point of a geometric grid whose weights sum to 1.

    Formula: R(Q) ≤ min over λ > 1 of Φ⁻¹(λ/n, r̂ + (1+α)/λ · (KL(Q‖P) - ln δ + 2 ln(2 + ln λ / ln(1+α)))),
    Φ⁻¹(γ, x) = (1 - e^{-γ x}) / (1 - e^{-γ}).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; α > 0 fixed beforehand, 1e-4 as in Lotfi et al.; n ≥ 1; δ in (0, 1).
    Holds: for all Q and all λ > 1 at once, with probability at least 1 - δ over the sample.
    Requires: P and α fixed before the sample; a loss in [0, 1].
    Rounding: up; whatever λ the search ends at, the value is valid.
    Source: Zhou et al. (2019), Theorem 2.1, arXiv:1804.05862 (number not checked); formula and α as in the published code of
    Lotfi et al. (2022), arXiv:2211.13609 (`pac_bayes_bound_opt`).
    Proof of the price: weights 1/((k+1)(k+2)) on λ_k = (1+α)^k; λ_k ≤ λ < (1+α) λ_k, and (k+1)(k+2) ≤ (2 + ln λ/ln(1+α))².

    Examples:
        >>> float(CatoniGrid().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3083
    """

    name = "catoni_grid"
    title = "PAC-Bayes, Catoni, λ on a grid"
    source = Source("zhou2019nonvacuous", "Theorem 2.1", "arXiv:1804.05862; code of lotfi2022pac")
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsEvidence)
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        POINTWISE,
        PRIOR,
        "the loss lies in [0, 1]",
        "α = 1e-4 was fixed beforehand",
    )

    @property
    def formula(self) -> sympy.Expr:
        """At any λ > 1."""
        import sympy as sp

        s = symbolic.symbols()
        price = symbolic.penalty() + 2 * sp.log(2 + sp.log(s.lam) / sp.log(1 + s.alpha))
        x = s.rhat + (1 + s.alpha) / s.lam * price
        return (1 - sp.exp(-s.lam / s.n * x)) / (1 - sp.exp(-s.lam / s.n))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        alpha: float = 1e-4,
    ) -> FloatArray:
        """Arrays broadcast."""
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats)
        if not 0 < alpha < np.inf:
            raise ConfigError(f"alpha must be positive and fixed beforehand, got {alpha}")
        risk, size, nats = np.broadcast_arrays(
            fraction_array("empirical_risk", empirical_risk), check_sizes(n), penalty_nats(complexity_nats, delta=delta)
        )
        return _minimum_over_lambda(risk, size, nats, alpha)


def _minimum_over_lambda(risk: FloatArray, size: FloatArray, nats: FloatArray, alpha: float) -> FloatArray:
    """Golden section over ln λ, started from the best of 64 points between ln λ = 0 and ln n + 8."""

    def bound(log_lam: FloatArray) -> FloatArray:
        lam = np.exp(log_lam)
        price = nats + 2 * np.log(2 + log_lam / np.log1p(alpha))
        return phi_inverse(lam / size, outward(risk + (1 + alpha) / lam * price, at_most=np.inf))

    width = (np.log(size) + 8.0) / 63
    trials = np.stack([bound(np.maximum(width * i, 1e-9)) for i in range(64)])
    middle = np.maximum(width * np.argmin(trials, axis=0), 1e-9)
    low, high = np.maximum(middle - width, 1e-9), middle + width
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = bound(left), bound(right)
    for _ in range(45):
        shrink = at_left < at_right
        low, high = np.where(shrink, low, left), np.where(shrink, right, high)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = bound(left), bound(right)
    return outward(np.minimum(np.minimum(at_left, at_right), trials.min(axis=0)))
