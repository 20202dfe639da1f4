"""Bounds that carry over: from a compressed network to the original, and from kept examples to those left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from idbounds.bounds import symbolic
from idbounds.bounds.base import FIXED, POINTWISE, PREFIX_FREE, SAMPLE, Bound, Source, check_delta, ln_delta_prime, same_shape
from idbounds.bounds.evidence import DisagreementEvidence, SampleCompressionEvidence
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray
from idbounds.core.records import Record
from idbounds.core.tails import binomial_inverse, counts

if TYPE_CHECKING:
    import sympy


class Disagreement(Bound):
    """Certifies the uncompressed network f through a compressed h that rarely disagrees with it.

    Formula: R(f) ≤ Bin⁻¹(k, n, (δ/2) e^-C) + Bin⁻¹(a, m, δ/2).
    Symbols: k errors of h on n training examples; a disagreements of f and h on m unlabelled examples; C nats of h's code.
    Holds: with probability at least 1 - δ (δ/2 for each part) over the sample and the unlabelled examples.
    Requires: f and h fixed before the unlabelled examples were looked at; both samples from the same inputs.
    Rounding: up.
    Source: Bazinet, Zantedeschi & Germain (2026), arXiv:2602.23128; theorem number not checked. The proof is one line: f errs
    only where h errs or where they disagree, and a union bound.

    Examples:
        >>> bound = Disagreement()
        >>> arguments = {"errors": 100, "n": 5000, "disagreements": 10, "num_unlabelled": 10000}
        >>> float(bound.value(**arguments, complexity_nats=200.0, delta=0.05).round(4))
        0.089
    """

    name = "disagreement"
    title = "Disagreement bound for the uncompressed network"
    source = Source("bazinet2026bound", "inverse-binomial bound through a surrogate", "arXiv:2602.23128")
    assumptions = (
        SAMPLE,
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "both networks were fixed before the unlabelled examples were looked at",
        "the unlabelled examples are fresh draws of the same inputs",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (DisagreementEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """Sum of two binomial inverses; `a` disagreements of m."""
        import sympy as sp

        s = symbolic.symbols()
        labelled = symbolic.binomial_inverse(s.k, s.n, symbolic.ln_delta_prime() - sp.log(2))
        return labelled + symbolic.binomial_inverse(s.a, s.m, sp.log(s.delta) - sp.log(2))

    def value(
        self,
        *,
        errors: ArrayLike,
        n: ArrayLike,
        disagreements: ArrayLike,
        num_unlabelled: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
    ) -> FloatArray:
        """Arrays broadcast."""
        same_shape(
            errors=errors, n=n, disagreements=disagreements, num_unlabelled=num_unlabelled, complexity_nats=complexity_nats
        )
        half = check_delta(delta) / 2
        first = binomial_inverse(errors, n=n, ln_delta=ln_delta_prime(complexity_nats, delta=half))
        second = binomial_inverse(disagreements, n=num_unlabelled, ln_delta=ln_delta_prime(0.0, delta=half))
        return np.asarray(np.minimum(np.nextafter(first + second, 2.0), 1.0))


def ln_binomial(n: FloatArray, k: FloatArray) -> FloatArray:
    """ln C(n, k), rounded up: -ln((n+1) B(n-k+1, k+1))."""
    nats = -special.betaln(n - k + 1, k + 1) - np.log(n + 1)
    # betaln is a sum of terms up to n ln n in size, each good to some units.
    slack = 2.0**-48 * (n + 2) * np.log(n + 2)
    return np.asarray(np.where((k == 0) | (k == n), 0.0, np.maximum(nats + slack, 0.0)))


class SampleCompression(Bound):
    """A predictor that some |i| of the training examples determine, judged on those left out.

    Formula: R ≤ Bin⁻¹(k, n - |i|, δ' ), δ' = δ e^-C · C(n, |i|)⁻¹ · 6 / (π² (|i|+1)²).
    Symbols: k errors on the n - |i| ≥ 1 examples left out; C nats of any extra message to the reconstruction function.
    Holds: for all subsets and messages at once, with probability at least 1 - δ.
    Requires: a reconstruction function fixed beforehand that sees only the kept examples and the message; 0-1 loss.
    Rounding: up.
    Source: Langford (2005), JMLR 6, sample compression bound; weights over |i| as in Laviolette, Marchand & Shah (2005).

    Examples:
        >>> float(SampleCompression().value(errors=3, n=1000, num_kept=5, complexity_nats=0.0, delta=0.05).round(4))
        0.0458
    """

    name = "sample_compression"
    title = "Sample-compression bound"
    source = Source("langford2005tutorial", "sample compression bound", "JMLR 6:273-306")
    assumptions = (
        SAMPLE,
        POINTWISE,
        "the reconstruction function was fixed beforehand and sees only the kept examples and the message",
        "0-1 loss; errors are counted on the examples left out",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (SampleCompressionEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """d is |i| here."""
        import sympy as sp

        s = symbolic.symbols()
        weight = sp.log(6 / (sp.pi**2 * (s.d + 1) ** 2)) - sp.log(sp.binomial(s.n, s.d))
        return symbolic.binomial_inverse(s.k, s.n - s.d, symbolic.ln_delta_prime() + weight)

    def value(
        self, *, errors: ArrayLike, n: ArrayLike, num_kept: ArrayLike, complexity_nats: ArrayLike, delta: float
    ) -> FloatArray:
        """Arrays broadcast; `n` counts all examples, `errors` those among the n - num_kept left out."""
        same_shape(errors=errors, n=n, num_kept=num_kept, complexity_nats=complexity_nats)
        kept, size = counts(num_kept, n)
        if np.any(kept >= size):
            raise ConfigError("num_kept must be below n: at least one example must be left out to count errors on")
        nats = ln_binomial(size, kept) + 2 * np.log1p(kept) + math.log(math.pi**2 / 6)
        level = ln_delta_prime(complexity_nats, delta=delta) - nats * (1 + 2.0**-50)
        return binomial_inverse(errors, n=size - kept, ln_delta=level)
