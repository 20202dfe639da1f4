"""Compression theorems: what a code length, or a number of coordinates and bits each, is worth."""

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
    RiskBound,
    Source,
    check_nats,
    outward,
    penalty_nats,
    risk_upwards,
    same_shape,
)
from idbounds.bounds.catoni import CatoniGrid
from idbounds.bounds.evidence import MarginEvidence
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper
from idbounds.core.records import Record
from idbounds.core.units import bits_to_nats, nats_to_bits
from idbounds.core.values import Evidence

if TYPE_CHECKING:
    import sympy


def check_bits(name: str, bits: ArrayLike) -> FloatArray:
    """Bits as floats after checking that none is negative."""
    array = np.asarray(bits, dtype=np.float64)
    if not np.all((array >= 0) & np.isfinite(array)):
        raise ConfigError(f"{name} must be at least 0 and finite, got {array}")
    return array


def universal_code_nats(length_bits: ArrayLike) -> FloatArray:
    """Nats of a raw string of ℓ bits under the universal prior: ℓ ln 2 + 2 ln ℓ + ln(π²/6), rounded up.

    The weights 2^-ℓ ℓ^-2 over all strings sum to π²/6, so 0.718 bits are owed on top of ℓ + 2 log2 ℓ. ℓ < 1 counts as 1.
    """
    length = np.maximum(check_bits("length_bits", length_bits), 1.0)
    return np.asarray((bits_to_nats(length) + 2 * np.log(length) + math.log(math.pi**2 / 6)) * (1 + 2.0**-50))


class UniversalPrior(RiskBound):
    """For a message that is not prefix-free: its raw length plus the price of saying where it ends.

    Formula: R ≤ kl⁻¹(r̂, (C + 2 ln ℓ + ln(π²/6) + ln(1/δ)) / n), ℓ = C / ln 2.
    Symbols: r̂ error rate; ℓ ≥ 1 raw bits, given as complexity_nats C = ℓ ln 2; n ≥ 1; δ in (0, 1).
    Holds: for all strings at once, with probability at least 1 - δ.
    Requires: a decoder fixed beforehand; no prefix-freeness. A prefix-free code owes neither term: use occam_kl.
    Rounding: up.
    Source: Lotfi et al. (2022), section 3 (universal prior, K ≤ ℓ + 2 log2 ℓ, as in their published code),
    arXiv:2211.13609; the normaliser ln(π²/6), which they leave out, is added here.

    Examples:
        >>> float(UniversalPrior().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3057
    """

    name = "universal_prior"
    title = "Universal prior on raw strings, kl"
    source = Source("lotfi2022pac", "universal prior of section 3, with its normaliser", "arXiv:2211.13609")
    assumptions = (
        SAMPLE,
        FIXED,
        POINTWISE,
        "the decoder was fixed beforehand; the string need not be prefix-free",
        "the loss lies in [0, 1]",
    )

    @property
    def formula(self) -> sympy.Expr:
        """kl⁻¹(r̂, …/n)."""
        import sympy as sp

        s = symbolic.symbols()
        length = s.C / sp.log(2)
        return symbolic.kl_inverse(s.rhat, (symbolic.penalty() + 2 * sp.log(length) + sp.log(sp.pi**2 / 6)) / s.n)

    def value(self, *, empirical_risk: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast; `complexity_nats` is the raw length times ln 2."""
        same_shape(empirical_risk=empirical_risk, n=n, complexity_nats=complexity_nats)
        _, size = risk_upwards(0, n)
        nats = penalty_nats(universal_code_nats(nats_to_bits(check_nats("complexity_nats", complexity_nats))), delta=delta)
        return kl_inverse_upper(fraction_array("empirical_risk", empirical_risk), c=nats / size * (1 + 2.0**-50))


class Zhou(CatoniGrid):
    """A compressed network at ImageNet scale: a point mass, a pmf on lengths, and Catoni's bound on a grid.

    Formula: catoni_grid with KL ≤ ℓ ln 2 - ln m(ℓ), m(ℓ) = 1/(ℓ(ℓ+1)), ℓ = C / ln 2 rounded up to a whole number.
    Symbols: r̂ error rate; ℓ ≥ 1 raw bits, given as complexity_nats C = ℓ ln 2; n ≥ 1; δ in (0, 1).
    Holds: for all strings at once, with probability at least 1 - δ.
    Requires: a decoder, m and α fixed beforehand. m is free in the theorem; this one sums to 1 over ℓ ≥ 1.
    Rounding: up.
    Source: Zhou et al. (2019), Theorem 4.3 with Theorem 2.1 and no Gaussian noise, arXiv:1804.05862 (numbers of the theorems
    not checked; the price of λ is derived in docs/theory/derivations.md).

    Examples:
        >>> float(Zhou().value(empirical_risk=0.1, n=3668, complexity_nats=430.4, delta=0.05).round(4))
        0.3119
    """

    name = "zhou"
    title = "Compression bound of Zhou et al."
    source = Source("zhou2019nonvacuous", "Theorem 4.3 with Theorem 2.1", "arXiv:1804.05862")
    assumptions = (
        SAMPLE,
        FIXED,
        POINTWISE,
        "the decoder, the pmf 1/(l(l+1)) on lengths and α = 1e-4 were fixed beforehand",
        "the loss lies in [0, 1]",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence,)

    @property
    def formula(self) -> sympy.Expr:
        """catoni_grid with the longer code."""
        import sympy as sp

        s = symbolic.symbols()
        length = s.C / sp.log(2)
        return super().formula.subs(s.C, s.C + sp.log(length) + sp.log(length + 1))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
        alpha: float = 1e-4,
    ) -> FloatArray:
        """Arrays broadcast; `complexity_nats` is the raw length times ln 2."""
        given = check_nats("complexity_nats", complexity_nats) / math.log(2.0)
        if not np.all(np.isfinite(given)):
            raise ConfigError("complexity_nats must be finite: a string has a whole number of bits")
        # A whole number of bits comes back whole from nats, to rounding; anything between two counts as the larger.
        near = np.round(given)
        whole = np.where(np.abs(given - near) <= 1e-12 * np.maximum(near, 1.0), np.maximum(near, given), np.ceil(given))
        length = np.maximum(whole, 1.0)
        nats = (bits_to_nats(length) + np.log(length) + np.log1p(length)) * (1 + 2.0**-50)
        return super().value(empirical_risk=empirical_risk, n=n, complexity_nats=nats, delta=delta, alpha=alpha)


class Arora(Bound):
    """(γ, S)-compressibility: a bound on the compressed g_A by the margin errors of the original f.

    Formula: L₀(g_A) ≤ L̂_γ(f) + √((q ln r + ln(1/δ)) / 2n).
    Symbols: L̂_γ(f) share of training examples with margin below γ; q numbers of r values each; n ≥ 1; δ in (0, 1).
    Holds: for all A at once, with probability at least 1 - δ. It is g_A that is bounded, not f.
    Requires: |f(x) - g_A(x)| ≤ γ on the sample; the helper string S fixed beforehand (then it is free).
    Rounding: up.
    Source: Arora, Ge, Neyshabur & Zhang (2018), Theorem 2.1, arXiv:1802.05296 (number not checked); the O(·) made explicit by
    Hoeffding's inequality and a union over the r^q settings of A.

    Examples:
        >>> float(Arora().value(margin_errors=500, n=50000, num_parameters=300, num_values=256, delta=0.05).round(4))
        0.1391
    """

    name = "arora"
    title = "Compression framework of Arora et al."
    source = Source("arora2018stronger", "Theorem 2.1, Hoeffding made explicit", "arXiv:1802.05296")
    assumptions = (
        SAMPLE,
        FIXED,
        POINTWISE,
        "g_A follows f to within γ on the sample",
        "the helper string was fixed beforehand",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (MarginEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """r̂ is the margin loss."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt((s.q * sp.log(s.r) + sp.log(1 / s.delta)) / (2 * s.n))

    def value(
        self,
        *,
        margin_errors: ArrayLike,
        n: ArrayLike,
        delta: float,
        num_parameters: ArrayLike = 0,
        num_values: ArrayLike = 2,
        complexity_nats: ArrayLike = 0.0,
    ) -> FloatArray:
        """Arrays broadcast; the code length is q ln r plus `complexity_nats` for anything else that was chosen."""
        same_shape(margin_errors=margin_errors, n=n, num_parameters=num_parameters, num_values=num_values)
        risk, size = risk_upwards(margin_errors, n)
        if not np.all(np.asarray(num_values) >= 1):
            raise ConfigError(f"num_values must be at least 1, got {num_values!r}")
        code = check_bits("num_parameters", num_parameters) * np.log(np.asarray(num_values, dtype=np.float64)) * (1 + 2.0**-50)
        nats = penalty_nats(check_nats("complexity_nats", complexity_nats) + code, delta=delta)
        return outward(risk + np.sqrt(nats / (2 * size)))


class Aghajanyan(RiskBound):
    """Intrinsic dimension as a bound: d coordinates of b bits each.

    Formula: R ≤ r̂ + √((d b ln 2 + ln(1/δ)) / 2n).
    Symbols: r̂ training error of the predictor with quantised coordinates; d coordinates; b bits each; n ≥ 1; δ in (0, 1).
    Holds: for all settings of the d coordinates at once, with probability at least 1 - δ.
    Requires: θ₀, P and d fixed beforehand (a chosen d or seed is a ledger line: give it as complexity_nats).
    Rounding: up.
    Source: Aghajanyan, Zettlemoyer & Gupta (2020), Theorem 1, arXiv:2012.13255, whose O(√(d/m)) comes from Theorem 2.1 of
    Arora et al. (2018); the constant is Hoeffding's with 2^(d b) settings.

    Examples:
        >>> bound = Aghajanyan()
        >>> float(bound.value(empirical_risk=0.0, n=3668, d=207, bits_per_coordinate=16, delta=0.05).round(3))
        0.56
        >>> float(bound.value(empirical_risk=0.0, n=3668, d=207, bits_per_coordinate=3, delta=0.05).round(3))
        0.243
    """

    name = "aghajanyan"
    title = "Intrinsic-dimension bound of Aghajanyan et al."
    source = Source("aghajanyan2021intrinsic", "Theorem 1 with Hoeffding's constant", "arXiv:2012.13255")
    assumptions = (
        SAMPLE,
        FIXED,
        POINTWISE,
        "each of the d coordinates takes one of 2^b values fixed beforehand",
        "the loss lies in [0, 1]",
    )

    @property
    def formula(self) -> sympy.Expr:
        """r̂ + √((d b ln 2 + ln(1/δ))/2n)."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt((s.d * s.b * sp.log(2) + sp.log(1 / s.delta)) / (2 * s.n))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        delta: float,
        d: ArrayLike = 0,
        bits_per_coordinate: ArrayLike = 1,
        complexity_nats: ArrayLike = 0.0,
    ) -> FloatArray:
        """Arrays broadcast; the code length is d b ln 2 plus `complexity_nats` for anything else that was chosen."""
        same_shape(
            empirical_risk=empirical_risk, n=n, d=d, bits_per_coordinate=bits_per_coordinate, complexity_nats=complexity_nats
        )
        _, size = risk_upwards(0, n)
        code = bits_to_nats(check_bits("d", d) * check_bits("bits_per_coordinate", bits_per_coordinate))
        nats = penalty_nats(check_nats("complexity_nats", complexity_nats) + code, delta=delta)
        return outward(fraction_array("empirical_risk", empirical_risk) + np.sqrt(nats / (2 * size)))
