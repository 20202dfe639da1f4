"""What a certificate is made of: what was counted, what each choice cost in bits, and the bound that follows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from idbounds.core.fields import Count, Fraction, Probability, Sha256, Size
from idbounds.core.records import Record
from idbounds.core.units import bits_to_nats

#: How the value of a bound was made sure of; "" in the first certificates, which did not say.
Proof = Literal["", "ball arithmetic", "outward rounding"]


class Counts(Record):
    """k errors of n."""

    errors: Count
    n: Size

    @model_validator(mode="after")
    def _errors_fit(self) -> Self:
        if self.errors > self.n:
            raise ValueError(f"errors must be at most n = {self.n}, got {self.errors}")
        return self

    @property
    def risk(self) -> float:
        """errors / n."""
        return self.errors / self.n


class LedgerItem(Record):
    """One line of the account of bits."""

    name: str
    bits: float = Field(ge=0)
    reason: str


class Complexity(Record):
    """The code length of everything that was chosen after seeing the data, line by line."""

    ledger: tuple[LedgerItem, ...]

    @property
    def num_bits(self) -> float:
        """Sum of the ledger."""
        return sum(item.bits for item in self.ledger)

    @property
    def nats(self) -> float:
        """The same in nats, rounded up."""
        return bits_to_nats(self.num_bits)


class Evidence(Counts):
    """What was counted: integer errors of one fixed predictor on n distinct examples, under the 0-1 loss."""

    split: Literal["train", "test"]
    examples_sha256: Sha256

    @property
    def empirical_risk(self) -> float:
        """errors / n, in the papers' words."""
        return self.risk


class Certificate(Record):
    """With probability at least 1 - delta over the sample, the true risk of the predictor is at most `value`."""

    family: str
    value: Fraction
    evidence: Evidence
    complexity: Complexity
    delta: Probability
    theorem: str
    source: str
    assumptions: tuple[str, ...]


class RiskCertificate(Record):
    """Like `Certificate`, for evidence other than error counts; `value` is in the unit of the loss."""

    family: str
    value: float
    evidence: dict[str, Any]
    complexity: Complexity
    delta: Probability
    theorem: str
    source: str
    assumptions: tuple[str, ...]


class Evaluation(Record):
    """How the errors were counted. Device and threads are the machine's; dtype and batch size the specification pins."""

    device: str
    dtype: str
    batch_size: Size
    threads: Size


class Parents(Record):
    """SHA-256 of what the certificate rests on beside specification and message: θ₀, tokenizer, the examples of each part."""

    theta0: Sha256
    tokenizer: Sha256 | None
    train: Sha256
    validation: Sha256
    test: Sha256


class CertificateFile(Record):
    """`certificate.json`: the certificate, what stands beside it, and the hashes that bind it to its parents.

    Certificates from before a field existed have its default, which claims nothing.
    """

    spec_sha256: Sha256
    message_sha256: Sha256
    training: Certificate
    held_out: Certificate
    majority_error: Fraction
    versions: dict[str, str]
    delta_covers: str = ""
    proved_by: Proof = ""
    duplicates_removed: Count | None = None
    parents: Parents | None = None
    evaluation: Evaluation | None = None
    without_message: Certificate | None = None  # of θ₀ itself, where a data prefix moved it

    later_fields: ClassVar[tuple[str, ...]] = (
        "delta_covers",
        "proved_by",
        "duplicates_removed",
        "parents",
        "evaluation",
        "without_message",
    )


class UncompressedCertificate(Record):
    """`uncompressed.json`: a bound on the network before compression, from how rarely the decoded one differs from it.

    `vector_sha256` names the d numbers of the uncompressed network, `unlabelled` and `unlabelled_sha256` the inputs on which
    both were run; `duplicates_removed` inputs were left out because they occur twice or among the examples trained on.
    """

    spec_sha256: Sha256
    message_sha256: Sha256
    vector_sha256: Sha256
    unlabelled: str
    unlabelled_sha256: Sha256
    duplicates_removed: Count
    certificate: RiskCertificate
    delta_covers: str
