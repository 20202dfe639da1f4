"""Split-kl: the part of the loss above a center and the part below it, each through kl."""

from __future__ import annotations

import math
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
    penalty_nats,
    risk_upwards,
    same_shape,
)
from idbounds.bounds.bernstein import check_range
from idbounds.bounds.evidence import GibbsSplitEvidence, LossEvidence
from idbounds.bounds.pac_bayes import PRIOR, ln_two_sqrt
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, kl_inverse_lower, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.units import bits_to_nats
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy


class OccamSplitKl(Bound):
    """As tight as kl for errors and as Bernstein for losses that are mostly near a center.

    Formula: R ≤ μ + (b-μ) kl⁻¹(p̂⁺/(b-μ), ln(2/δ')/n) - (μ-a) kl⁻¹_lower(p̂⁻/(μ-a), ln(2/δ')/n), ln(1/δ') = C + ln(1/δ).
    Symbols: p̂⁺, p̂⁻ means of max(0, z-μ) and max(0, μ-z) for a loss z in [a, b]; μ in [a, b]; C = K ln 2 nats; n ≥ 1.
    Holds: for all predictors of the code at once, with probability at least 1 - δ.
    Requires: a, b and μ fixed before the sample was seen; μ is the middle of the range unless given.
    Rounding: up.
    Source: Wu & Seldin (2022), Theorem 4, NeurIPS 2022, arXiv:2206.00706.

    Examples:
        >>> bound = OccamSplitKl()
        >>> arguments = {"mean_above": 0.02, "mean_below": 0.02, "center": 0.5, "n": 10000}
        >>> float(bound.value(**arguments, complexity_nats=20.0, delta=0.05).round(4))
        0.5135
    """

    name = "occam_split_kl"
    title = "Occam bound, split-kl"
    source = Source("wu2022splitkl", "Theorem 4", "arXiv:2206.00706")
    assumptions: ClassVar[tuple[str, ...]] = (
        SAMPLE,
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "the loss lies in a range known beforehand, and the center was fixed beforehand (the middle of the range)",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, LossEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """For the range [0, 1]; p̂⁺ = above, p̂⁻ = below."""
        import sympy as sp

        return self._split(symbolic.penalty() + sp.log(2))

    @staticmethod
    def _split(nats: sympy.Expr) -> sympy.Expr:
        s = symbolic.symbols()
        upper = symbolic.kl_inverse(s.above / (1 - s.mu), nats / s.n)
        lower = symbolic.kl_inverse_lower(s.below / s.mu, nats / s.n)
        return s.mu + (1 - s.mu) * upper - s.mu * lower

    def value(
        self,
        *,
        mean_above: ArrayLike,
        mean_below: ArrayLike,
        center: float,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        lower: float = 0.0,
        upper: float = 1.0,
    ) -> FloatArray:
        """Arrays broadcast; `center` is μ."""
        same_shape(mean_above=mean_above, mean_below=mean_below, n=n, complexity_nats=complexity_nats)
        if not lower < upper or not lower <= center <= upper:
            raise ConfigError(f"center must be in [lower, upper], got {center} and [{lower}, {upper}]")
        size = check_sizes(n)
        above, below = upper - center, center - lower
        high = check_range("mean_above", mean_above, lower=0.0, upper=above)
        low = check_range("mean_below", mean_below, lower=0.0, upper=below)
        per_example = self._nats(penalty_nats(complexity_nats, delta=delta), size) / size * (1 + 2.0**-49)
        value = np.full(np.broadcast(high, low, per_example).shape, center)
        if above > 0:
            value = value + above * kl_inverse_upper(np.minimum(high / above * (1 + 2.0**-51), 1.0), c=per_example)
        if below > 0:
            value = value - below * kl_inverse_lower(low / below * (1 - 2.0**-51), c=per_example)
        slack = 2.0**-48 * (abs(center) + above + below)
        return np.asarray(np.minimum(value + slack, upper))

    def _nats(self, nats: FloatArray, size: FloatArray) -> FloatArray:  # noqa: ARG002 - the posterior's version needs n
        return nats + bits_to_nats(1.0)

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Errors with center ½: the value is kl⁻¹ with the ln 2 of the union of two sides."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        correct = 1.0 - risk
        return self.value(
            mean_above=risk / 2, mean_below=correct / 2, center=0.5, n=size, complexity_nats=complexity_nats, delta=delta
        )

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """Excess over and shortfall below the middle of the range."""
        if not isinstance(evidence, LossEvidence):
            return super().arguments(evidence)
        center = (evidence.lower + evidence.upper) / 2
        losses = np.asarray(evidence.losses)
        above, below = evidence.upper - center, center - evidence.lower
        return {
            "mean_above": min(math.fsum(np.maximum(losses - center, 0.0)) / evidence.n * (1 + 1e-15), above),
            "mean_below": min(math.fsum(np.maximum(center - losses, 0.0)) / evidence.n * (1 - 1e-15), below),
            "center": center, "n": evidence.n, "lower": evidence.lower, "upper": evidence.upper,
        }  # fmt: skip


class PacBayesSplitKl(OccamSplitKl):
    """Split-kl for a stochastic predictor Q.

    Formula: as for one predictor with (KL(Q‖P) + ln(4√n/δ))/n in both inverses, and p̂⁺, p̂⁻ averaged over Q.
    Symbols: as there; KL in nats.
    Holds: for all Q at once, with probability at least 1 - δ over the sample.
    Requires: P, a, b and μ fixed before the sample.
    Rounding: up.
    Source: Wu & Seldin (2022), Theorem 7 (the constant 4√n checked there), arXiv:2206.00706.

    Examples:
        >>> bound = PacBayesSplitKl()
        >>> arguments = {"mean_above": 0.02, "mean_below": 0.02, "center": 0.5, "n": 10000}
        >>> float(bound.value(**arguments, complexity_nats=20.0, delta=0.05).round(4))
        0.515
    """

    name = "pac_bayes_split_kl"
    title = "PAC-Bayes, split-kl"
    source = Source("wu2022splitkl", "Theorem 7", "arXiv:2206.00706")
    assumptions = (SAMPLE, FIXED, POINTWISE, PRIOR, "the loss's range and the center were fixed beforehand")
    accepts = (Evidence, GibbsSplitEvidence)

    @property
    def formula(self) -> sympy.Expr:
        """For the range [0, 1]; p̂⁺ = above, p̂⁻ = below."""
        import sympy as sp

        return self._split(symbolic.maurer_penalty() + sp.log(2))

    def _nats(self, nats: FloatArray, size: FloatArray) -> FloatArray:
        return nats + bits_to_nats(1.0) + ln_two_sqrt(size)
