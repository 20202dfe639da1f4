"""Evidence beyond error counts: losses in a range, stochastic predictors, unlabelled examples, documents, tokens."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from idbounds.core.certificate import RiskCertificate as RiskCertificate  # what these are evidence for
from idbounds.core.fields import Count, Fraction, Probability, Sha256, Size
from idbounds.core.records import Record

NonNegative = Annotated[float, Field(ge=0.0)]


class LossEvidence(Record):
    """Losses of one fixed predictor on n distinct examples, all inside a range known beforehand."""

    losses: tuple[float, ...] = Field(min_length=1)
    lower: float = 0.0
    upper: float = 1.0
    split: Literal["train", "test"]
    examples_sha256: Sha256

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")
        outside = [loss for loss in self.losses if not self.lower <= loss <= self.upper]
        if outside:
            raise ValueError(
                f"losses must be in [{self.lower}, {self.upper}], got {outside[0]}; clip the loss or widen the range"
            )
        return self

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.losses)

    @property
    def mean(self) -> float:
        """Average loss, rounded up."""
        return min(math.nextafter(math.fsum(self.losses) / self.n, math.inf), self.upper)


class GibbsEvidence(Record):
    """Mean loss of a stochastic predictor Q on n distinct examples: exact, or an upper end from `monte_carlo_risk`.

    An upper end holds only with probability 1 - δ_mc: give it as `monte_carlo_delta`, and `certify_risk` spends
    it out of the certificate's δ.
    """

    empirical_risk: Fraction
    n: Size
    monte_carlo_delta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    split: Literal["train", "test"] = "train"
    examples_sha256: Sha256


class GibbsMomentEvidence(Record):
    """Mean and second moment (or variance) of the loss in [0, 1] under Q, averaged over Q, on n examples."""

    empirical_risk: Fraction
    second_moment: Fraction
    variance: Fraction
    n: Size
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class GibbsSplitEvidence(Record):
    """Under Q: the mean excess of the loss over `center` and its mean shortfall below it."""

    mean_above: NonNegative
    mean_below: NonNegative
    center: float
    lower: float = 0.0
    upper: float = 1.0
    n: Size
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class MarginEvidence(Record):
    """Training errors of f at margin γ, where the compressed g_A follows f to within γ on the sample (Arora et al.)."""

    margin_errors: Count
    n: Size
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class DisagreementEvidence(Record):
    """Errors of the compressed h on n labelled training examples; disagreements of f and h on m fresh unlabelled ones."""

    errors: Count
    n: Size
    disagreements: Count
    num_unlabelled: Size
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class SampleCompressionEvidence(Record):
    """Errors on the n - |i| examples left out, of the predictor that the |i| kept ones determine."""

    errors: Count
    n: Size
    num_kept: Count
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class DocumentEvidence(Record):
    """Bits per dimension of documents, smoothed by α, on a random subsample of the training documents."""

    subsample_risk: NonNegative
    num_documents: Size
    num_subsampled: Size
    vocabulary: Size
    alpha: Probability
    split: Literal["train"] = "train"
    examples_sha256: Sha256


class TokenEvidence(Record):
    """Mean negative log-likelihood of the training tokens and the root mean square of the per-token ranges."""

    empirical_risk: NonNegative
    num_tokens: Size
    rms_range: Annotated[float, Field(gt=0.0)]
    split: Literal["train"] = "train"
    examples_sha256: Sha256
