"""Language models: losses that are unbounded until the predictions are smoothed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds import symbolic
from idbounds.bounds.base import (
    FIXED,
    POINTWISE,
    PREFIX_FREE,
    Bound,
    Source,
    check_nats,
    check_sizes,
    outward,
    penalty_nats,
    same_shape,
)
from idbounds.bounds.evidence import DocumentEvidence, TokenEvidence
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray
from idbounds.core.records import Record

if TYPE_CHECKING:
    import sympy


def smoothing_range(*, vocabulary: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Δ = log2(1 + (1-α) V/α) bits, rounded up: the range of -log2 of (1-α) p + α/V.

    The loss is at least -log2(1 - α + α/V) and at most log2(V/α); Δ is their difference.

    Examples:
        >>> float(smoothing_range(vocabulary=50257, alpha=0.1).round(3))
        18.787
    """
    words, share = np.asarray(vocabulary, dtype=np.float64), np.asarray(alpha, dtype=np.float64)
    if not np.all(words >= 2):
        raise ConfigError(f"vocabulary must be at least 2, got {words}")
    if not np.all((share > 0) & (share < 1)):
        raise ConfigError(f"alpha must be in (0, 1), got {share}: without smoothing the loss has no upper end")
    return np.asarray(np.log2(1 + (1 - share) * words / share) * (1 + 2.0**-50))


def check_loss(name: str, value: ArrayLike) -> FloatArray:
    """A finite, non-negative loss as floats."""
    array = np.asarray(value, dtype=np.float64)
    if not np.all((array >= 0) & np.isfinite(array)):
        raise ConfigError(f"{name} must be non-negative and finite, got {array}")
    return array


class Documents(Bound):
    """Bits per dimension of a compressed language model, over documents, from a subsample of the training documents.

    Formula: R ≤ R̂_sub + Δ √((C - ln(rδ)) / 2m) + Δ √(-ln((1-r)δ) / 2 n_sub), r = n_sub/(n_sub+m), Δ = log2(1 + (1-α)V/α).
    Symbols: R̂_sub mean loss in bits on n_sub ≤ m documents drawn at random; C nats, the choice of α included; δ in (0, 1).
    Holds: for all models of the code at once, with probability at least 1 - δ over documents and subsample.
    Requires: independent documents; predictions smoothed by α; the subsample drawn uniformly, after training.
    Rounding: up; in bits, not capped at 1.
    Source: Lotfi, Finzi, Kuang, Rudner, Goldblum & Wilson (2023), Theorem 1, arXiv:2312.17173 (number not checked); constants
    checked in the published code (`llm_subsampling_bound`).

    Examples:
        >>> bound = Documents()
        >>> arguments = {"subsample_risk": 4.0, "num_documents": 8_000_000, "num_subsampled": 10_000}
        >>> float(bound.value(**arguments, vocabulary=50257, alpha=0.1, complexity_nats=300_000.0, delta=0.05).round(2))
        6.8
    """

    name = "documents"
    title = "Language models, documents"
    source = Source("lotfi2023nonvacuous", "Theorem 1 with subsampling", "arXiv:2312.17173")
    assumptions: ClassVar[tuple[str, ...]] = (
        "the documents are independent draws from one distribution, and the risk is over that distribution",
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "the subsample was drawn uniformly at random after training; the choice of alpha is in the code",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (DocumentEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """r̂ is the subsample's risk, q its number of documents."""
        import sympy as sp

        s = symbolic.symbols()
        share = s.q / (s.q + s.m)
        spread = sp.log(1 + (1 - s.alpha) * s.V / s.alpha) / sp.log(2)
        first = sp.sqrt((s.C - sp.log(share * s.delta)) / (2 * s.m))
        return s.rhat + spread * (first + sp.sqrt(-sp.log((1 - share) * s.delta) / (2 * s.q)))

    def value(
        self,
        *,
        subsample_risk: ArrayLike,
        num_documents: ArrayLike,
        num_subsampled: ArrayLike,
        vocabulary: ArrayLike,
        alpha: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
    ) -> FloatArray:
        """Arrays broadcast; in bits per dimension."""
        same_shape(subsample_risk=subsample_risk, num_documents=num_documents, complexity_nats=complexity_nats)
        m, sub = check_sizes(num_documents), check_sizes(num_subsampled)
        if np.any(sub > m):
            raise ConfigError("num_subsampled must be at most num_documents: a subsample is drawn without replacement")
        risk = check_loss("subsample_risk", subsample_risk)
        spread = smoothing_range(vocabulary=vocabulary, alpha=alpha)
        if np.any(risk > np.log2(np.asarray(vocabulary) / np.asarray(alpha)) * (1 + 1e-9)):
            raise ConfigError(
                "subsample_risk must be at most log2(vocabulary/alpha), the largest smoothed loss; is it in bits?"
            )
        first = penalty_nats(complexity_nats, delta=delta) + np.log((sub + m) / sub)
        second = penalty_nats(0.0, delta=delta) + np.log((sub + m) / m)
        return outward(risk + spread * (np.sqrt(first / (2 * m)) + np.sqrt(second / (2 * sub))), at_most=np.inf)


class Tokens(Bound):
    """Mean log-loss of the tokens, given the training contexts: a martingale bound over tokens, not documents.

    Formula: R ≤ R̂ + Δ √((C + ln(1/δ)) / 2m), Δ² = (1/m) Σ Δ_i², Δ_i = log2(1 + (1-α_i) V/α_i).
    Symbols: R̂ mean loss in bits on m training tokens; Δ root mean square of the per-token ranges; C nats; δ in (0, 1).
    Holds: for all models of the code at once, with probability at least 1 - δ. R is the mean over i of the expected loss
    at token i given the contexts that occurred: not the risk on new text.
    Requires: Δ_i known from the context before token i (so α_i may depend on it), and the same for every model of the
    code: a smoothing that is learned must be fixed beforehand or bounded by its largest Δ_i.
    Rounding: up; in bits, not capped at 1.
    Source: Lotfi, Kuang, Amos, Goldblum, Finzi & Wilson (2024), Theorem 3.1, arXiv:2407.18158 (number not checked);
    the constant is that of Azuma's inequality with ranges Δ_i.

    Examples:
        >>> bound = Tokens()
        >>> float(bound.value(empirical_risk=4.0, num_tokens=9e9, rms_range=18.787, complexity_nats=3e7, delta=0.05).round(3))
        4.767
    """

    name = "tokens"
    title = "Language models, tokens"
    source = Source("lotfi2024unlocking", "Theorem 3.1 (Azuma)", "arXiv:2407.18158")
    assumptions: ClassVar[tuple[str, ...]] = (
        FIXED,
        PREFIX_FREE,
        POINTWISE,
        "each token is drawn from a distribution that may depend on its context; the risk is given the training contexts",
        "the range of the loss at a token is known from its context",
    )
    accepts: ClassVar[tuple[type[Record], ...]] = (TokenEvidence,)

    @property
    def formula(self) -> sympy.Expr:
        """r̂ + Δ √(L/2m)."""
        import sympy as sp

        s = symbolic.symbols()
        return s.rhat + s.scale * sp.sqrt(symbolic.penalty() / (2 * s.m))

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        num_tokens: ArrayLike,
        rms_range: ArrayLike,
        complexity_nats: ArrayLike,
        delta: float,
    ) -> FloatArray:
        """Arrays broadcast; in the unit of `rms_range`."""
        same_shape(empirical_risk=empirical_risk, num_tokens=num_tokens, rms_range=rms_range, complexity_nats=complexity_nats)
        spread = check_loss("rms_range", rms_range)
        nats = penalty_nats(complexity_nats, delta=delta)
        risk = check_loss("empirical_risk", empirical_risk)
        return outward(risk + spread * np.sqrt(nats / (2 * check_sizes(num_tokens))), at_most=np.inf)


class Freedman(Bound):
    """The variance form for compute-optimal language models; constants unchecked, so it never certifies.

    Formula: R ≤ R̂ + C ln V + Σ √C + √(2C) + gap, C = (complexity + ln(|K|/δ)) / m.
    Symbols: R̂ mean loss in nats on m tokens; Σ² empirical variance term; V vocabulary; |K| size of the paper's grid; gap of
    quantisation in nats, measured on the sample.
    Holds: as the paper states, for all models of the code at once with probability at least 1 - δ; not verified here.
    Requires: as Tokens.
    Rounding: up; in nats, not capped.
    Source: Finzi, Kapoor, Granziol, Gu, De Sa, Kolter & Wilson (2025), ICLR, arXiv:2504.15208. The paper's text could not be
    consulted: the constants are as in the project's reference, marked unchecked there. Not in the default table, and
    `certify_risk` refuses.

    Examples:
        >>> bound = Freedman()
        >>> arguments = {"empirical_risk": 2.0, "variance_term": 1.0, "num_tokens": 1e10, "vocabulary": 50257}
        >>> float(bound.value(**arguments, grid_size=1000, complexity_nats=1e7, delta=0.05).round(3))
        2.087
    """

    name = "freedman_tokens"
    title = "Language models, Freedman form"
    source = Source("finzi2025compute", "main theorem, constants unchecked", "arXiv:2504.15208")
    assumptions = Tokens.assumptions
    accepts: ClassVar[tuple[type[Record], ...]] = (TokenEvidence,)
    in_default_table = False
    not_certified = "its constants could not be checked in the paper (arXiv:2504.15208); use tokens"

    @property
    def formula(self) -> sympy.Expr:
        """Without the quantisation gap; Σ is sigma, |K| is G."""
        import sympy as sp

        s = symbolic.symbols()
        c = (symbolic.penalty() + sp.log(s.G)) / s.m
        return s.rhat + c * sp.log(s.V) + s.sigma * sp.sqrt(c) + sp.sqrt(2 * c)

    def value(
        self,
        *,
        empirical_risk: ArrayLike,
        variance_term: ArrayLike,
        num_tokens: ArrayLike,
        vocabulary: ArrayLike,
        grid_size: int,
        complexity_nats: ArrayLike,
        delta: float,
        quantization_gap: ArrayLike = 0.0,
    ) -> FloatArray:
        """Arrays broadcast; in nats."""
        same_shape(empirical_risk=empirical_risk, variance_term=variance_term, num_tokens=num_tokens)
        if not grid_size >= 1:
            raise ConfigError(f"grid_size must be at least 1, got {grid_size}")
        nats = penalty_nats(check_nats("complexity_nats", complexity_nats), delta=delta) + math.log(grid_size)
        c = nats / check_sizes(num_tokens)
        spread = check_loss("variance_term", variance_term)
        gap = check_loss("quantization_gap", quantization_gap)
        size = np.log(check_sizes(vocabulary, least=2))
        risk = check_loss("empirical_risk", empirical_risk)
        return outward(risk + c * size + spread * np.sqrt(c) + np.sqrt(2 * c) + gap, at_most=np.inf)
