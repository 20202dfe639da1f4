"""PAC-Bayes for a stochastic predictor Q against a prior P fixed beforehand: the family of Maurer's 2√n.

A single decoded predictor with a prefix-free code is the point mass Q with KL(Q‖P) = K ln 2, so each of these
also takes error counts and a code length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import FIXED, POINTWISE, SAMPLE, RiskBound, Source, check_sizes, outward, penalty_nats, same_shape
from idbounds.bounds.evidence import GibbsEvidence
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy

PRIOR = "the prior P was fixed before the sample was seen; for one decoded predictor it is 2^-length of a prefix-free code"


def ln_two_sqrt(n: FloatArray) -> FloatArray:
    """ln(2√n), rounded up: Maurer's bound on ln E exp(n kl(r̂‖R)).

    Maurer proves it for n ≥ 8; for n = 1 … 7 a test adds up the exact expectation and finds it below 2√n.
    """
    return np.asarray((np.log(2.0) + np.log(n) / 2) * (1 + 2.0**-50))


class _Gibbs(RiskBound):
    """Shared: the risk of Q, KL in nats, and A = KL + ln(2√n/δ)."""

    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence, GibbsEvidence)
    assumptions: ClassVar[tuple[str, ...]] = (SAMPLE, FIXED, POINTWISE, PRIOR, "the loss lies in [0, 1]")

    def value(self, *, empirical_risk: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast; `complexity_nats` is KL(Q‖P)."""
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats)
        size = check_sizes(n)
        nats = penalty_nats(complexity_nats, delta=delta) + ln_two_sqrt(size)
        return self._bound(fraction_array("empirical_risk", empirical_risk), size, nats * (1 + 2.0**-50))

    def _bound(self, risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        raise NotImplementedError


class McAllester(_Gibbs):
    """The square-root form: easy to read, loosest of the four.

    Formula: R(Q) ≤ r̂ + √((KL(Q‖P) + ln(2√n/δ)) / 2n).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; n ≥ 1; δ in (0, 1).
    Holds: for all Q at once, with probability at least 1 - δ over the sample.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: McAllester (1999), with the constant of Maurer (2004), Theorem 5, cs/0411099, through Pinsker.

    Examples:
        >>> float(McAllester().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3444
    """

    name = "mcallester"
    title = "PAC-Bayes, McAllester form"
    source = Source("maurer2004note", "Theorem 5 and Pinsker's inequality", "arXiv:cs/0411099")

    @property
    def formula(self) -> sympy.Expr:
        """r̂ + √(A/2n)."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt(symbolic.maurer_penalty() / (2 * s.n))

    def _bound(self, risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        return outward(risk + np.sqrt(nats / (2 * size)))


class Seeger(_Gibbs):
    """The kl form: the tightest that holds for every Q with one penalty.

    Formula: R(Q) ≤ kl⁻¹(r̂, (KL(Q‖P) + ln(2√n/δ)) / n).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; n ≥ 1; δ in (0, 1).
    Holds: for all Q at once, with probability at least 1 - δ over the sample.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Seeger (2002), JMLR 3; constant of Maurer (2004), Theorem 5; checked against Theorem 5 of Wu & Seldin (2022).

    Examples:
        >>> float(Seeger().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3033
    """

    name = "seeger"
    title = "PAC-Bayes, Seeger-Langford-Maurer"
    source = Source("seeger2002pac", "PAC-Bayes-kl with the constant of maurer2004note, Theorem 5", "arXiv:cs/0411099")

    @property
    def formula(self) -> sympy.Expr:
        """kl⁻¹(r̂, A/n)."""
        s = symbolic.symbols()
        return symbolic.kl_inverse(s.rhat, symbolic.maurer_penalty() / s.n)

    def _bound(self, risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        return kl_inverse_upper(risk, c=nats / size)


class Lambda(_Gibbs):
    """Convex in Q and in λ, and true for all λ in (0, 2) at once, so the best λ costs nothing.

    Formula: R(Q) ≤ r̂/(1 - λ/2) + A/(n λ (1 - λ/2)), A = KL(Q‖P) + ln(2√n/δ), at λ = 2/(√(2 n r̂/A + 1) + 1).
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; n ≥ 1; δ in (0, 1).
    Holds: for all Q and all λ in (0, 2) at once, with probability at least 1 - δ over the sample.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Thiemann, Igel, Wintenberger & Seldin (2017), Theorem 3 and eq. (8), arXiv:1608.05610 (numbers not
    checked; formula and λ as in public implementations that name the paper, and shown to equal the quadratic bound in tests).

    Examples:
        >>> float(Lambda().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.4148
    """

    name = "pac_bayes_lambda"
    title = "PAC-Bayes, λ bound"
    source = Source("thiemann2017strongly", "Theorem 3, λ of eq. (8)", "arXiv:1608.05610")

    @property
    def formula(self) -> sympy.Expr:
        """At any λ in (0, 2)."""
        s = symbolic.symbols()
        return s.rhat / (1 - s.lam / 2) + symbolic.maurer_penalty() / (s.n * s.lam * (1 - s.lam / 2))

    @staticmethod
    def best_lambda(risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        """The minimiser; any λ in (0, 2) is valid, so its rounding is harmless."""
        return np.asarray(2.0 / (np.sqrt(2 * size * risk / nats + 1) + 1))

    def _bound(self, risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        lam = self.best_lambda(risk, size, nats)
        return outward(risk / (1 - lam / 2) + nats / (size * lam * (1 - lam / 2)))


class Quadratic(_Gibbs):
    """The closed form of the λ bound's minimum, used to train stochastic networks.

    Formula: R(Q) ≤ (√(r̂ + κ) + √κ)², κ = (KL(Q‖P) + ln(2√n/δ)) / 2n.
    Symbols: r̂ mean loss of Q in [0, 1]; KL in nats; n ≥ 1; δ in (0, 1).
    Holds: for all Q at once, with probability at least 1 - δ over the sample.
    Requires: P fixed before the sample; a loss in [0, 1].
    Rounding: up.
    Source: Rivasplata et al. (2019), arXiv:1908.07380; Pérez-Ortiz et al. (2021), JMLR 22, eq. (PAC-Bayes-quadratic).

    Examples:
        >>> float(Quadratic().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.4148
    """

    name = "pac_bayes_quadratic"
    title = "PAC-Bayes, quadratic"
    source = Source("perezortiz2021tighter", "PAC-Bayes-quadratic bound", "JMLR 22(227), after arXiv:1908.07380")

    @property
    def formula(self) -> sympy.Expr:
        """(√(r̂ + κ) + √κ)²."""
        import sympy as sp

        s = symbolic.symbols()
        kappa = symbolic.maurer_penalty() / (2 * s.n)
        return (sp.sqrt(s.rhat + kappa) + sp.sqrt(kappa)) ** 2

    def _bound(self, risk: FloatArray, size: FloatArray, nats: FloatArray) -> FloatArray:
        kappa = nats / (2 * size)
        return outward((np.sqrt(risk + kappa) + np.sqrt(kappa)) ** 2)
