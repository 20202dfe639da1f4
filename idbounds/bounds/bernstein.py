"""Bounds that profit from a small variance or second moment of the loss: one predictor, or a posterior Q."""

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
    Source,
    check_sizes,
    outward,
    penalty_nats,
    risk_upwards,
    same_shape,
)
from idbounds.bounds.evidence import GibbsMomentEvidence, LossEvidence
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, x_minus_log1p
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy


def check_range(name: str, value: ArrayLike, *, lower: float, upper: float) -> FloatArray:
    """The value as floats after checking that all of it lies in [lower, upper]."""
    array = np.asarray(value, dtype=np.float64)
    wrong = ~((array >= lower) & (array <= upper))
    if np.any(wrong):
        raise ConfigError(f"{name} must be in [{lower}, {upper}], got {float(array[wrong].ravel()[0])}: check the loss's range")
    return array


class OccamEmpiricalBernstein(Bound):
    """The sample variance in place of the worst one.

    Formula: R ≤ r̂ + √(2 σ̂² ln(2/δ') / n) + 7 (b-a) ln(2/δ') / (3 (n-1)), ln(1/δ') = C + ln(1/δ).
    Symbols: r̂ mean loss in [a, b]; σ̂² = Σ (z - r̂)²/(n-1); C = K ln 2 nats; n ≥ 2; δ in (0, 1).
    Holds: for all predictors of the code at once, with probability at least 1 - δ.
    Requires: independent examples; a loss in [a, b] known beforehand.
    Rounding: up.
    Source: Maurer & Pontil (2009), Theorem 4, arXiv:0907.3740; checked against Theorem 2 of Wu & Seldin (2022).

    Examples:
        >>> bound = OccamEmpiricalBernstein()
        >>> float(bound.value(empirical_risk=0.1, variance=0.01, n=10000, complexity_nats=20.0, delta=0.05).round(4))
        0.1124
    """

    name = "occam_empirical_bernstein"
    title = "Occam bound, empirical Bernstein"
    source = Source("maurer2009empirical", "Theorem 4", "arXiv:0907.3740")
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "the loss lies in a range known beforehand",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, LossEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """With range 1."""
        import sympy as sp

        s = symbolic.symbols()
        nats = symbolic.penalty() + sp.log(2)
        return s.rhat + sp.sqrt(2 * s.var * nats / s.n) + 7 * nats / (3 * (s.n - 1))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        variance: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        lower: float = 0.0,
        upper: float = 1.0,
    ) -> FloatArray:
        """Arrays broadcast; `variance` is the unbiased sample variance."""
        same_shape(empirical_risk=empirical_risk, variance=variance, n=n, complexity_nats=complexity_nats)
        size = check_sizes(n, least=2)
        risk = check_range("empirical_risk", empirical_risk, lower=lower, upper=upper)
        # Σ(z-r̂)² ≤ n (b-a)²/4, and one rounding.
        largest = (upper - lower) ** 2 * float(np.max(size / (size - 1))) / 4 * (1 + 1e-12)
        spread = check_range("variance", variance, lower=0.0, upper=largest)
        nats = penalty_nats(complexity_nats, delta=delta) + np.log(2.0) * (1 + 2.0**-52)
        added = np.sqrt(2 * spread * nats / size) + 7 * (upper - lower) * nats / (3 * (size - 1))
        return outward(risk + outward(added, at_most=np.inf), at_most=upper)

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """The variance of k errors of n is k (n-k) / (n (n-1))."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        if np.any(size < 2):
            raise ConfigError("n must be at least 2 here, got 1: one example has no variance")
        k = np.asarray(errors, dtype=np.float64)
        variance = (k / size) * ((size - k) / (size - 1)) * (1 + 2.0**-50)
        return self.value(empirical_risk=risk, variance=variance, n=size, complexity_nats=complexity_nats, delta=delta)

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """Mean, sample variance, n and range of the losses."""
        if not isinstance(evidence, LossEvidence):
            return super().arguments(evidence)
        if evidence.n < 2:
            raise ConfigError("n must be at least 2 here, got 1: one example has no variance")
        variance = float(np.var(evidence.losses, ddof=1)) * (1 + 1e-12)
        return {
            "empirical_risk": evidence.mean, "variance": variance, "n": evidence.n,
            "lower": evidence.lower, "upper": evidence.upper,
        }  # fmt: skip


def gamma_grid_size(n: ArrayLike, *, delta: float) -> FloatArray:
    """Number of γ in {1/(2b), …, 1/(2^G b)}: G = max(1, ⌈log2(√(n / ln(1/δ)) / 2)⌉), fixed by n and δ alone."""
    size = check_sizes(n)
    return np.asarray(np.maximum(1.0, np.ceil(np.log2(np.sqrt(size / -np.log(delta)) / 2))))


def unexpected_bernstein(
    risk: FloatArray, second: FloatArray, size: FloatArray, nats: FloatArray, *, b: float, delta: float
) -> FloatArray:
    """min over the grid of r̂ + ψ(-γb)/(γb²) m̂₂ + (nats + ln G)/(γ n); one bound for all γ of the grid."""
    risk, second, size, nats = np.broadcast_arrays(risk, second, size, nats)
    grid = gamma_grid_size(size, delta=delta)
    paid = (nats + np.log(grid) * (1 + 2.0**-51)) / size
    best = np.full(risk.shape, np.inf)
    for j in range(1, int(grid.max()) + 1):
        u = 2.0**-j  # γ b
        added = float(x_minus_log1p(-u)) / (u * b) * second + paid * b / u
        best = np.where(j <= grid, np.minimum(best, added), best)
    return outward(risk + outward(best, at_most=np.inf), at_most=b)


class OccamUnexpectedBernstein(Bound):
    """The second moment in place of the variance; only an upper end of the loss is needed.

    Formula: R ≤ min over γ of r̂ + ψ(-γb)/(γb²) m̂₂ + (C + ln(G/δ)) / (γ n), ψ(u) = u - ln(1+u).
    Symbols: r̂ and m̂₂ mean and second moment of a loss Z ≤ b; γ in {1/(2b), …, 1/(2^G b)}; C = K ln 2 nats.
    Holds: for all predictors of the code and all γ of the grid at once, with probability at least 1 - δ.
    Requires: independent examples; Z ≤ b; the grid depends on n and δ only and its size G is paid for.
    Rounding: up.
    Source: Fan et al. (2015); Mhammedi et al. (2019); form and grid of Theorem 3 of Wu & Seldin (2022).

    Examples:
        >>> bound = OccamUnexpectedBernstein()
        >>> float(bound.value(empirical_risk=0.1, second_moment=0.02, n=10000, complexity_nats=20.0, delta=0.05).round(4))
        0.1126
    """

    name = "occam_unexpected_bernstein"
    title = "Occam bound, unexpected Bernstein"
    source = Source("mhammedi2019unexpected", "Theorem 3 of wu2022splitkl", "NeurIPS 2022; Lemma of Fan et al. 2015")
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "the loss has an upper end b known beforehand",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, LossEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """For b = 1 and one γ of the grid, G its size."""
        import sympy as sp

        s = symbolic.symbols()
        psi = -s.gamma - sp.log(1 - s.gamma)
        return s.rhat + psi / s.gamma * s.second + (symbolic.penalty() + sp.log(s.G)) / (s.gamma * s.n)

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        second_moment: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        upper: float = 1.0,
    ) -> FloatArray:
        """Arrays broadcast; `upper` is b > 0."""
        same_shape(empirical_risk=empirical_risk, second_moment=second_moment, n=n, complexity_nats=complexity_nats)
        if not upper > 0:
            raise ConfigError(f"upper must be positive, got {upper}: shift the loss")
        risk = check_range("empirical_risk", empirical_risk, lower=-np.inf, upper=upper)
        second = check_range("second_moment", second_moment, lower=0.0, upper=np.inf)
        if np.any(second * (1 + 1e-9) < risk * risk):
            raise ConfigError("second_moment must be at least empirical_risk squared: pass the mean of the squared losses")
        nats = penalty_nats(complexity_nats, delta=delta)
        return unexpected_bernstein(risk, second, check_sizes(n), nats, b=upper, delta=delta)

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Errors are 0 or 1, so the second moment is the risk."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        return self.value(empirical_risk=risk, second_moment=risk, n=size, complexity_nats=complexity_nats, delta=delta)

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """Mean, second moment, n and upper end of the losses."""
        if not isinstance(evidence, LossEvidence):
            return super().arguments(evidence)
        second = float(np.mean(np.square(evidence.losses))) * (1 + 1e-12)
        return {"empirical_risk": evidence.mean, "second_moment": second, "n": evidence.n, "upper": evidence.upper}


class PacBayesUnexpectedBernstein(OccamUnexpectedBernstein):
    """The unexpected Bernstein bound for a stochastic predictor Q, moments averaged over Q.

    Formula: R(Q) ≤ min over γ of r̂ + ψ(-γ)/γ m̂₂ + (KL(Q‖P) + ln(G/δ)) / (γ n), ψ(u) = u - ln(1+u), for b = 1.
    Symbols: r̂, m̂₂ means over Q and the sample; KL in nats; γ in {1/2, …, 1/2^G}; n ≥ 1; δ in (0, 1).
    Holds: for all Q and all γ of the grid at once, with probability at least 1 - δ.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Mhammedi et al. (2019), as Theorem 6 of Wu & Seldin (2022), grid included.

    Examples:
        >>> bound = PacBayesUnexpectedBernstein()
        >>> float(bound.value(empirical_risk=0.1, second_moment=0.02, n=10000, complexity_nats=20.0, delta=0.05).round(4))
        0.1126
    """

    name = "pac_bayes_unexpected_bernstein"
    title = "PAC-Bayes, unexpected Bernstein"
    source = Source("mhammedi2019unexpected", "Theorem 6 of wu2022splitkl", "NeurIPS 2022")
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        POINTWISE,
        "the prior P was fixed before the sample was seen; the loss lies in [0, 1]",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsMomentEvidence)

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """Mean and second moment under Q."""
        return {key: value for key, value in super().arguments(evidence).items() if key != "variance"}
