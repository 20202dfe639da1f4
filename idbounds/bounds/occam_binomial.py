"""Occam's razor with the exact binomial tail: the tightest bound from counts and a code length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import (
    FIXED,
    POINTWISE,
    PREFIX_FREE,
    SAMPLE,
    Bound,
    Source,
    check_delta,
    ln_delta_prime,
    same_shape,
)
from idbounds.bounds.rigorous import prove_binomial
from idbounds.core.logmath import FloatArray
from idbounds.core.tails import binomial_inverse
from idbounds.core.values import Complexity, Evidence

if TYPE_CHECKING:
    import sympy


class OccamBinomial(Bound):
    """One decoded predictor, its 0-1 errors on the training set, and the length of its message.

    Formula: R ≤ sup{p : P[Bin(n, p) ≤ k] ≥ δ 2^-K}.
    Symbols: k errors of n ≥ 1 examples; K ≥ 0 bits, given as complexity_nats = K ln 2; δ in (0, 1).
    Holds: for all predictors of the code at once, with probability at least 1 - δ over the sample.
    Requires: 0-1 loss; a prefix-free code fixed before the sample was seen.
    Rounding: up; with python-flint installed `certify` proves the value in ball arithmetic.
    Source: Langford (2005), JMLR 6, Theorem 4.1 (Occam's Razor Bound; number not checked): the test-set bound, as Theorem 8
    of Wu & Seldin (2022) states it, at δ 2^-K for each predictor, and Kraft's inequality.

    Examples:
        >>> bound = OccamBinomial()
        >>> float(bound.value(errors=367, n=3668, complexity_nats=207 * 3 * 0.6931471805599453, delta=0.05).round(4))
        0.301
    """

    name = "occam_binomial"
    title = "Occam bound, binomial tail"
    source = Source("langford2005tutorial", "Theorem 4.1 (Occam's Razor Bound)", "JMLR 6:273-306")
    assumptions = (SAMPLE, FIXED, PREFIX_FREE, POINTWISE, "0-1 loss; errors is a whole number of wrong examples")

    @property
    def formula(self) -> sympy.Expr:
        """Bin⁻¹(k, n, δ e^-C)."""
        s = symbolic.symbols()
        return symbolic.binomial_inverse(s.k, s.n, symbolic.ln_delta_prime())

    def value(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast; complexity in nats."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        return binomial_inverse(errors, n=n, ln_delta=ln_delta_prime(complexity_nats, delta=check_delta(delta)))

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """The same as `value`."""
        return self.value(errors=errors, n=n, complexity_nats=complexity_nats, delta=delta)

    def proven(self, value: float, *, evidence: Evidence, complexity: Complexity, delta: float) -> float:
        """Raised until ball arithmetic proves it, where python-flint is installed."""
        return prove_binomial(value, errors=evidence.errors, n=evidence.n, complexity_nats=complexity.nats, delta=delta)
