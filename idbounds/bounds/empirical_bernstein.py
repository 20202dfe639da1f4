"""Tolstikhin and Seldin's PAC-Bayes empirical Bernstein bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import (
    FIXED,
    POINTWISE,
    SAMPLE,
    Bound,
    Source,
    check_delta,
    check_nats,
    check_sizes,
    outward,
    risk_upwards,
    same_shape,
)
from idbounds.bounds.bernstein import check_range
from idbounds.bounds.evidence import GibbsMomentEvidence
from idbounds.bounds.pac_bayes import PRIOR
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy

_RATIO = 1.15  # c₁ = c₂ of the paper's experiments, fixed beforehand


class TolstikhinSeldin(Bound):
    """The empirical variance of Q's loss, itself bounded by PAC-Bayes, in a PAC-Bayes Bernstein bound.

    Formula: R(Q) ≤ r̂ + (1+c₁) √((e-2) V̄ A₁/n), or r̂ + 2 A₁/n where (e-2) V̄ < A₁/n;
    V̄ = min(¼, v̂ + (1+c₂) √(v̂ A₂ / 2(n-1)) + 2 c₂ A₂/(n-1)); A_i = KL(Q‖P) + ln(2ν_i/δ);
    ν₁ = max(1, ⌈ln √((e-2) n / 4 ln(2/δ)) / ln c₁⌉ + 1), ν₂ = ⌈ln(½ √((n-1)/ln(2/δ) + 1) + ½) / ln c₂⌉.
    Symbols: r̂ mean and v̂ unbiased variance of a loss in [0, 1], averaged over Q; c₁ = c₂ = 1.15; n ≥ 2; δ in (0, 1).
    Holds: for all Q at once, with probability at least 1 - δ (δ/2 for each part).
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Tolstikhin & Seldin (2013), Theorems 3 and 4, NeurIPS 26. The constants were re-derived: both grids cover the
    minimisers of (e-2) λ V + A/(nλ), λ ≤ 1, and of (v̂ + A/(λ(n-1)))/(1 - λ/2); docs/theory has the steps.

    Examples:
        >>> bound = TolstikhinSeldin()
        >>> arguments = {"empirical_risk": 0.1, "variance": 0.01, "n": 10000}
        >>> float(bound.value(**arguments, complexity_nats=20.0, delta=0.05).round(4))
        0.1147
    """

    name = "tolstikhin_seldin"
    title = "PAC-Bayes, empirical Bernstein"
    source = Source("tolstikhin2013pac", "Theorems 3 and 4", "NeurIPS 26")
    assumptions = (SAMPLE, FIXED, POINTWISE, PRIOR, "the loss lies in [0, 1]", "c₁ = c₂ = 1.15 were fixed beforehand")
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsMomentEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """The square-root branch; V is V̄ and G is ν₁."""
        import sympy as sp

        s = symbolic.symbols()
        nats = symbolic.penalty() + sp.log(2 * s.G)
        return s.rhat + sp.Rational(215, 100) * sp.sqrt((sp.E - 2) * s.V * nats / s.n)

    def value(
        self, *, empirical_risk: ArrayLike, variance: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float
    ) -> FloatArray:
        """Arrays broadcast; `variance` is the unbiased sample variance averaged over Q."""
        same_shape(empirical_risk=empirical_risk, variance=variance, n=n, complexity_nats=complexity_nats)
        size = check_sizes(n, least=2)
        risk = fraction_array("empirical_risk", empirical_risk)
        spread = check_range("variance", variance, lower=0.0, upper=0.5)
        kl_nats = check_nats("complexity_nats", complexity_nats)
        half = -math.log(check_delta(delta) / 2)
        first = np.ceil(np.log(np.sqrt((math.e - 2) * size / (4 * half))) / math.log(_RATIO)) + 1
        second = np.ceil(np.log(np.sqrt((size - 1) / half + 1) / 2 + 0.5) / math.log(_RATIO))
        a1 = kl_nats + half + np.log(np.maximum(first, 1.0))
        a2 = (kl_nats + half + np.log(np.maximum(second, 1.0))) / (size - 1)
        true_variance = np.minimum(spread + (1 + _RATIO) * np.sqrt(spread * a2 / 2) + 2 * _RATIO * a2, 0.25)
        per_example = a1 / size
        scale = (math.e - 2) * true_variance
        added = np.where(scale < per_example, 2 * per_example, (1 + _RATIO) * np.sqrt(scale * per_example))
        return outward(risk + outward(added, at_most=np.inf))

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """The variance of k errors of n is k (n-k) / (n (n-1))."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        if np.any(size < 2):
            raise ConfigError("n must be at least 2 here, got 1: one example has no variance")
        k = np.asarray(errors, dtype=np.float64)
        variance = np.minimum((k / size) * ((size - k) / (size - 1)) * (1 + 2.0**-50), 0.5)
        return self.value(empirical_risk=risk, variance=variance, n=size, complexity_nats=complexity_nats, delta=delta)

    def arguments(self, evidence: Record) -> dict[str, object]:
        """Mean and variance under Q."""
        return {key: value for key, value in super().arguments(evidence).items() if key != "second_moment"}
