"""For contrast: bounds that grow with the number of weights D or with norms, which is why this project exists.

These are the only files of the package in which D may appear in a bound. None is in the default table.
"""

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
    check_nats,
    check_sizes,
    outward,
    penalty_nats,
    same_shape,
)
from idbounds.bounds.compression import check_bits
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array
from idbounds.core.records import Record
from idbounds.core.units import bits_to_nats

if TYPE_CHECKING:
    import sympy

_NEEDS_D = "it depends on the number of weights (or on norms), which evidence does not hold; call value(...) for a comparison"


class ParameterCounting(Bound):
    """Thirty-two bits for each weight: vacuous as soon as 22 D exceeds 2n. Depends on D.

    Formula: R ≤ r̂ + √((32 D ln 2 + ln(1/δ)) / 2n).
    Symbols: r̂ training error; D weights in float32; n ≥ 1; δ in (0, 1).
    Holds: for all float32 settings of the weights at once, with probability at least 1 - δ.
    Requires: an architecture fixed beforehand; a loss in [0, 1].
    Rounding: up.
    Source: Hoeffding (1963), Theorem 2, with a union over 2^(32 D) predictors.

    Examples:
        >>> float(ParameterCounting().value(empirical_risk=0.0, n=60000, num_weights=1000, delta=0.05).round(4))
        0.43
    """

    name = "parameter_counting"
    title = "Parameter counting"
    source = Source("hoeffding1963probability", "Theorem 2, union over 2^(32 D)", "JASA 58:13-30")
    assumptions = (SAMPLE, FIXED, POINTWISE, "the loss lies in [0, 1]")
    accepts: ClassVar[tuple[type[Record], ...]] = ()
    in_default_table = False
    not_certified = _NEEDS_D

    @property
    def formula(self) -> sympy.Expr:
        """With D."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt((32 * s.D * sp.log(2) + sp.log(1 / s.delta)) / (2 * s.n))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        delta: float,
        num_weights: ArrayLike = 0,
        complexity_nats: ArrayLike = 0.0,
    ) -> FloatArray:
        """Arrays broadcast."""
        same_shape(empirical_risk=empirical_risk, n=n, num_weights=num_weights, complexity_nats=complexity_nats)
        code = bits_to_nats(32 * check_bits("num_weights", num_weights))
        nats = penalty_nats(check_nats("complexity_nats", complexity_nats) + code, delta=delta)
        return outward(fraction_array("empirical_risk", empirical_risk) + np.sqrt(nats / (2 * check_sizes(n))))


class VcDimension(Bound):
    """Distribution-free, for the whole class; for networks the dimension grows like W L log W. Depends on D.

    Formula: R ≤ r̂ + √(2 v ln(e n/v) / n) + √(ln(1/δ) / 2n), v the VC dimension, n ≥ v.
    Symbols: r̂ training error; v ≥ 1; n ≥ 1; δ in (0, 1). For n < v the value is 1.
    Holds: for all binary classifiers of the class at once, with probability at least 1 - δ.
    Requires: binary labels and the 0-1 loss.
    Rounding: up.
    Source: Mohri, Rostamizadeh & Talwalkar (2018), Foundations of Machine Learning, Corollary 3.19 (number not
    checked). The dimension of ReLU networks, Θ(W L log W): Bartlett, Harvey, Liaw & Mehrabian (2019), JMLR 20; its
    constant is not used here.

    Examples:
        >>> float(VcDimension().value(empirical_risk=0.0, n=60000, vc_dimension=100, delta=0.05).round(4))
        0.162
    """

    name = "vc_dimension"
    title = "VC dimension"
    source = Source("mohri2018foundations", "Corollary 3.19", "2nd edition")
    assumptions = (SAMPLE, FIXED, POINTWISE, "binary labels, 0-1 loss")
    accepts: ClassVar[tuple[type[Record], ...]] = ()
    in_default_table = False
    not_certified = _NEEDS_D

    @property
    def formula(self) -> sympy.Expr:
        """D is the VC dimension here."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + sp.sqrt(2 * s.D * sp.log(sp.E * s.n / s.D) / s.n) + sp.sqrt(sp.log(1 / s.delta) / (2 * s.n))

    def value(self, *, empirical_risk: ArrayLike, n: ArrayLike, vc_dimension: ArrayLike, delta: float) -> FloatArray:
        """Arrays broadcast."""
        same_shape(empirical_risk=empirical_risk, n=n, vc_dimension=vc_dimension)
        v, size = check_sizes(vc_dimension), check_sizes(n)
        risk = fraction_array("empirical_risk", empirical_risk)
        inside = 2 * v * np.maximum(1 + np.log(size / v), 1.0) / size
        value = outward(risk + np.sqrt(inside) + np.sqrt(penalty_nats(0.0, delta=delta) / (2 * size)))
        return np.asarray(np.where(size < v, 1.0, value))


class SpectralMargin(Bound):
    """Products of spectral norms over the margin: an order of magnitude, since the paper's Õ hides constants. Depends on norms.

    Formula: R ≤ L̂_γ + B Π s_i (Σ (b_i/s_i)^(2/3))^(3/2) ln(W) / (γ √n) + √(ln(1/δ)/n), constants of Õ set to 1.
    Symbols: L̂_γ margin loss; s_i spectral norms; b_i (2,1)-norms of the weights; B root mean square norm of the inputs;
    W largest width; γ > 0; n ≥ 1; δ in (0, 1).
    Holds: up to constants only, so it never certifies.
    Requires: 1-Lipschitz activations.
    Rounding: up.
    Source: Bartlett, Foster & Telgarsky (2017), Theorem 1.1, arXiv:1706.08498. The explicit constants of its appendix could
    not be checked.

    Examples:
        >>> arguments = {"spectral_norms": [2.0, 2.0], "two_one_norms": [4.0, 4.0], "input_norm": 1.0, "width": 100}
        >>> float(SpectralMargin().value(empirical_risk=0.1, n=10**6, margin=1.0, **arguments, delta=0.05).round(4))
        0.2059
    """

    name = "spectral_margin"
    title = "Spectral margin, order of magnitude"
    source = Source("bartlett2017spectrally", "Theorem 1.1 with the constants of Õ set to 1", "arXiv:1706.08498")
    assumptions = (SAMPLE, FIXED, POINTWISE, "1-Lipschitz activations")
    accepts: ClassVar[tuple[type[Record], ...]] = ()
    in_default_table = False
    not_certified = _NEEDS_D

    @property
    def formula(self) -> sympy.Expr:
        """R_A is written as scale."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + s.scale * sp.log(s.W) / (s.gamma * sp.sqrt(s.n)) + sp.sqrt(sp.log(1 / s.delta) / s.n)

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        n: ArrayLike,
        margin: ArrayLike,
        spectral_norms: ArrayLike,
        two_one_norms: ArrayLike,
        input_norm: float,
        width: int,
        delta: float,
    ) -> FloatArray:
        """Arrays broadcast, except that the norms are (layers,)."""
        same_shape(spectral_norms=spectral_norms, two_one_norms=two_one_norms)
        s, b = np.asarray(spectral_norms, dtype=np.float64), np.asarray(two_one_norms, dtype=np.float64)
        if not (np.all(s > 0) and np.all(b >= 0) and input_norm >= 0 and width >= 2 and np.all(np.asarray(margin) > 0)):
            raise ConfigError("norms must be positive, width at least 2 and margin positive")
        size = check_sizes(n)
        complexity = input_norm * np.prod(s) * np.sum((b / s) ** (2 / 3)) ** 1.5 * math.log(width)
        added = complexity / (np.asarray(margin, dtype=np.float64) * np.sqrt(size)) + np.sqrt(
            penalty_nats(0.0, delta=delta) / size
        )
        return outward(fraction_array("empirical_risk", empirical_risk) + added)
