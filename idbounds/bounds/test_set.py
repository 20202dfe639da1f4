"""Test-set bounds: what a held-out set says about a predictor fixed before it was seen, deterministic or stochastic."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import (
    POINTWISE,
    SAMPLE,
    Bound,
    Source,
    check_delta,
    check_nats,
    check_sizes,
    ln_delta_prime,
    penalty_nats,
    same_shape,
)
from idbounds.bounds.evidence import GibbsEvidence, RiskCertificate
from idbounds.bounds.rigorous import prove_binomial
from idbounds.core.errors import UnsupportedEvidenceError
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.tails import binomial_inverse
from idbounds.core.values import Certificate, Complexity, Evidence

if TYPE_CHECKING:
    import sympy


#: Of every bound from a held-out set.
UNSEEN = "the predictor was fixed before the test set was looked at, and nothing was chosen with its help"


class TestSet(Bound):
    """One predictor, fixed before the test set was looked at, and its errors on that set.

    Formula: R ≤ sup{p : P[Bin(n, p) ≤ k] ≥ δ}, the upper end of Clopper and Pearson.
    Symbols: k errors of n ≥ 1 test examples; δ in (0, 1).
    Holds: for this predictor, with probability at least 1 - δ over the test set.
    Requires: 0-1 loss; no choice of any kind made with the help of the test set, so an empty ledger.
    Rounding: up; with python-flint installed `certify` proves the value in ball arithmetic.
    Source: Langford (2005), JMLR 6, Theorem 3.3 (Test Set Bound; number not checked); formula checked against Theorem 8 of
    Wu & Seldin (2022).

    Examples:
        >>> float(TestSet().value(errors=5, n=100, delta=0.05).round(4))
        0.1023
    """

    __test__ = False  # pytest would take the name for a test class

    name = "test_set"
    title = "Test-set bound (Clopper-Pearson)"
    source = Source("langford2005tutorial", "Theorem 3.3 (Test Set Bound)", "JMLR 6:273-306")
    assumptions = (
        SAMPLE,
        POINTWISE,
        UNSEEN,
        "0-1 loss; errors is a whole number of wrong examples",
    )

    @property
    def formula(self) -> sympy.Expr:
        """Bin⁻¹(k, n, δ)."""
        s = symbolic.symbols()
        return symbolic.function("BinInv", r"\mathrm{Bin}^{-1}", s.k, s.n, s.delta)

    def supports(self, evidence: object) -> str | None:
        """Counted errors on the test split."""
        if not isinstance(evidence, Evidence):
            return f"it needs counted errors (Evidence), got {type(evidence).__name__}"
        if evidence.split != "test":
            return "the errors were counted on the training split, which the predictor was fitted to; it needs a held-out set"
        return None

    def value(self, *, errors: ArrayLike, n: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast."""
        same_shape(errors=errors, n=n)
        return binomial_inverse(errors, n=n, ln_delta=ln_delta_prime(0.0, delta=check_delta(delta)))

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike = 0.0, delta: float) -> FloatArray:
        """The same as `value`; a complexity other than 0 means that something was chosen, which is refused."""
        if np.any(check_nats("complexity_nats", complexity_nats) > 0):
            raise UnsupportedEvidenceError(
                "test_set does not apply: something was chosen after seeing the set; use occam_binomial, which pays for choices"
            )
        return self.value(errors=errors, n=n, delta=delta)

    def certify(self, evidence: Evidence, complexity: Complexity, *, delta: float) -> Certificate:
        """As in the base; the ledger must be empty."""
        self.require(evidence)
        _require_empty(complexity, name=self.name)
        return super().certify(evidence, complexity, delta=delta)

    def proven(self, value: float, *, evidence: Evidence, complexity: Complexity, delta: float) -> float:  # noqa: ARG002
        """Raised until ball arithmetic proves it, where python-flint is installed."""
        return prove_binomial(value, errors=evidence.errors, n=evidence.n, complexity_nats=0.0, delta=delta)


class TestSetGibbs(Bound):
    """One stochastic predictor Q, fixed before the test set was looked at, and its mean error on that set.

    Formula: R(Q) ≤ kl⁻¹(r̂, ln(1/δ) / n).
    Symbols: r̂ mean loss of Q on n ≥ 1 test examples, in [0, 1]; δ in (0, 1).
    Holds: for this Q, with probability at least 1 - δ over the test set.
    Requires: no choice of any kind made with the help of the test set, so an empty ledger. The loss of an example is its mean
    under Q, a number between 0 and 1, so that errors are not binomial.
    Rounding: up.
    Source: Hoeffding (1963), JASA 58, Theorem 1 (the kl form of Chernoff's bound).

    Examples:
        >>> float(TestSetGibbs().value(empirical_risk=0.05, n=100, delta=0.05).round(4))
        0.1215
    """

    __test__ = False  # pytest would take the name for a test class

    name = "test_set_gibbs"
    title = "Test-set bound for a stochastic predictor"
    source = Source("hoeffding1963probability", "Theorem 1", "JASA 58:13-30")
    assumptions = (SAMPLE, POINTWISE, UNSEEN, "the loss lies in [0, 1]")
    accepts: ClassVar[tuple[type[Record], ...]] = (GibbsEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """kl⁻¹(r̂, ln(1/δ)/n)."""
        import sympy as sp

        s = symbolic.symbols()
        return symbolic.kl_inverse(s.rhat, sp.log(1 / s.delta) / s.n)

    def supports(self, evidence: object) -> str | None:
        """A stochastic predictor on the test split."""
        if not isinstance(evidence, GibbsEvidence):
            return f"{self.needs()}, got {type(evidence).__name__}"
        if evidence.split != "test":
            return "the errors were counted on the training split, which the predictor was fitted to; it needs a held-out set"
        return None

    def value(self, *, empirical_risk: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike = 0.0, delta: float) -> FloatArray:
        """Arrays broadcast; a complexity other than 0 is refused."""
        same_shape(empirical_risk=empirical_risk, n=n)
        if np.any(check_nats("complexity_nats", complexity_nats) > 0):
            raise UnsupportedEvidenceError(
                "test_set_gibbs does not apply: something was chosen after seeing the set; use seeger, which pays for choices"
            )
        budget = penalty_nats(0.0, delta=delta) / check_sizes(n) * (1 + 2.0**-50)
        return kl_inverse_upper(fraction_array("empirical_risk", empirical_risk), c=budget)

    def certify_risk(self, evidence: Record, complexity: Complexity, *, delta: float) -> RiskCertificate:
        """As in the base; the ledger must be empty."""
        self.require(evidence)
        _require_empty(complexity, name=self.name)
        return super().certify_risk(evidence, complexity, delta=delta)


def _require_empty(complexity: Complexity, *, name: str) -> None:
    if complexity.ledger:
        names = ", ".join(item.name for item in complexity.ledger)
        raise UnsupportedEvidenceError(
            f"{name} does not apply: the ledger charges {names}; a held-out bound owes no bits, so pass an empty ledger"
        )
