"""Occam's razor for one decoded predictor: Hoeffding and kl."""

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
    RiskBound,
    Source,
    check_sizes,
    outward,
    penalty_nats,
    same_shape,
)
from idbounds.bounds.evidence import LossEvidence
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy


def scaled(mean: ArrayLike, *, lower: float, upper: float) -> FloatArray:
    """(mean - lower)/(upper - lower), rounded up: a loss in a range as a loss in [0, 1]."""
    if not lower < upper:
        raise ConfigError(f"lower must be below upper, got {lower} and {upper}")
    value = np.asarray(mean, dtype=np.float64)
    if not np.all((value >= lower) & (value <= upper)):
        raise ConfigError(f"the mean loss must be in [{lower}, {upper}], got {value}; clip the loss or widen the range")
    share = (value - lower) / (upper - lower)
    exact = (value == lower) | (value == upper)
    return np.asarray(np.where(exact, share, np.minimum(share * (1 + 2.0**-50) + 2.0**-53, 1.0)))


class _OccamRisk(RiskBound):
    """Shared by Hoeffding and kl: losses in a range are scaled to [0, 1] and the value is scaled back."""

    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, LossEvidence)
    assumptions = (
        SAMPLE,
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "the loss lies in a range known beforehand; the range is [0, 1] for errors",
    )

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        lower: float = 0.0,
        upper: float = 1.0,
    ) -> FloatArray:
        """Arrays broadcast; the risk and the value are in units of the loss, complexity in nats."""
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats)
        per_example = penalty_nats(complexity_nats, delta=delta) / check_sizes(n)
        unit = (lower, upper) == (0.0, 1.0)
        risk = fraction_array("empirical_risk", empirical_risk) if unit else scaled(empirical_risk, lower=lower, upper=upper)
        inside = self._unit(risk, per_example * (1 + 2.0**-50))
        return inside if unit else outward(lower + (upper - lower) * inside + abs(lower) * 2.0**-50, at_most=upper)

    def _unit(self, risk: FloatArray, per_example: FloatArray) -> FloatArray:
        raise NotImplementedError

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """Mean, n and range of the losses."""
        if not isinstance(evidence, LossEvidence):
            return super().arguments(evidence)
        return {"empirical_risk": evidence.mean, "n": evidence.n, "lower": evidence.lower, "upper": evidence.upper}


class OccamHoeffding(_OccamRisk):
    """The textbook bound: a square root of the code length over n, whatever the errors are.

    Formula: R ≤ r̂ + Δ √((C + ln(1/δ)) / 2n).
    Symbols: r̂ mean loss in [a, a+Δ]; C = K ln 2 nats; n ≥ 1; δ in (0, 1).
    Holds: for all predictors of the code at once, with probability at least 1 - δ.
    Requires: independent examples; a loss range Δ known beforehand.
    Rounding: up.
    Source: Hoeffding (1963), JASA 58, Theorem 2, with a union bound weighted by 2^-K.

    Examples:
        >>> float(OccamHoeffding().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3431
    """

    name = "occam_hoeffding"
    title = "Occam bound, Hoeffding"
    source = Source("hoeffding1963probability", "Theorem 2, union bound weighted by 2^-K", "JASA 58:13-30")

    @property
    def formula(self) -> sympy.Expr:
        """r̂ + √(L/2n), for range 1."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt(symbolic.penalty() / (2 * s.n))

    def _unit(self, risk: FloatArray, per_example: FloatArray) -> FloatArray:
        return outward(risk + np.sqrt(per_example / 2))


class OccamKl(_OccamRisk):
    """Chernoff's bound inverted: tight for small risks, and no 2√n.

    Formula: R ≤ kl⁻¹(r̂, (C + ln(1/δ)) / n).
    Symbols: r̂ mean loss in [0, 1] (other ranges are scaled); C = K ln 2 nats; n ≥ 1; δ in (0, 1).
    Holds: for all predictors of the code at once, with probability at least 1 - δ.
    Requires: independent examples; a bounded loss.
    Rounding: up.
    Source: Langford (2005), JMLR 6, relative entropy Chernoff bound (Lemma 3.6) in the Occam bound; without 2√n as in
    Theorem 1 of Wu & Seldin (2022), who credit Foong et al. (2021, 2022).

    Examples:
        >>> float(OccamKl().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3019
    """

    name = "occam_kl"
    title = "Occam bound, kl"
    source = Source(
        "wu2022splitkl", "Theorem 1 (kl inequality), union bound weighted by 2^-K", "NeurIPS 2022; after Langford 2005"
    )

    @property
    def formula(self) -> sympy.Expr:
        """kl⁻¹(r̂, L/n)."""
        s = symbolic.symbols()
        return symbolic.kl_inverse(s.rhat, symbolic.penalty() / s.n)

    def _unit(self, risk: FloatArray, per_example: FloatArray) -> FloatArray:
        return kl_inverse_upper(risk, c=per_example)
