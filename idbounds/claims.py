"""What follows from a message, its specification and counts, and whether a certificate says just that. Needs no torch.

`check` is everything that verification does but the counting, which it is handed as a function: so it can be tried on
hundreds of thousands of forged files without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from idbounds.bounds import BOUNDS, rigorous
from idbounds.codes import DecodedMessage, check_menu, decode_message
from idbounds.comparison import Comparison, compare, require_same_parents
from idbounds.core.errors import DataError, VerificationError
from idbounds.core.values import (
    CertificateFile,
    Complexity,
    Evaluation,
    Evidence,
    Parents,
    RunSpec,
    Score,
)

#: "At most" is for one printed number: nothing is said of both at once at less than the sum.
_DELTA_COVERS = (
    "the training bound alone fails with probability at most δ over the draw of the training part, whatever was chosen that "
    "the message pays for; the held-out bound alone with probability at most δ over the draw of the test part; both hold "
    "together with probability at least 1 - 2 δ"
)

#: A d that a message may name without a model of as many weights: an adapter may have more numbers than a small model, and
#: decoding so many takes seconds.
_ALWAYS_DECODED = 2**20


@dataclass(frozen=True)
class Counted:
    """Errors of one decoded network, and how they were counted."""

    train: Score
    test: Score
    evaluation: Evaluation


#: Counts the errors of a decoded network on the data that the specification names.
Counter = Callable[[DecodedMessage], Counted]


def decode_bounded(content: bytes, *, spec: RunSpec) -> DecodedMessage:
    """Decode bytes of a stranger under a specification of a stranger: d is at most the number of weights of the model.

    Raises DataError for a menu with a larger d, ConfigError for masses that are none, CorruptMessageError.
    """
    largest, weights = max(spec.menu.dims), spec.model.num_weights
    if largest > max(weights, _ALWAYS_DECODED):
        raise DataError(f"the specification's menu has d = {largest}, its model {weights} weights; d is at most that")
    check_menu(spec)
    return decode_message(content, spec=spec)


def certificate_from(
    decoded: DecodedMessage, *, spec: RunSpec, counted: Counted, versions: Mapping[str, str]
) -> CertificateFile:
    """The certificate that a decoded message and the counts of its network support."""
    task = spec.task
    training = BOUNDS["occam_binomial"].certify(
        _evidence(spec, "train", counted.train), decoded.message.complexity, delta=spec.delta
    )
    held_out = BOUNDS["test_set"].certify(_evidence(spec, "test", counted.test), Complexity(ledger=()), delta=spec.delta)
    return CertificateFile(
        spec_sha256=spec.sha256,
        message_sha256=decoded.message.file_sha256,
        training=training.model_copy(update={"assumptions": (*training.assumptions, *assumptions_of(spec))}),
        held_out=held_out,
        majority_error=task.test.majority_errors / task.test.n,
        versions=dict(versions),
        delta_covers=_DELTA_COVERS,
        proved_by="ball arithmetic" if rigorous.available() else "outward rounding",
        duplicates_removed=task.duplicates_removed,
        parents=Parents(
            theta0=spec.model.theta0_sha256,
            tokenizer=spec.model.tokenizer_sha256,
            train=task.train.sha256_of_examples,
            validation=task.validation.sha256_of_examples,
            test=task.test.sha256_of_examples,
        ),
        evaluation=counted.evaluation,
    )


def _evidence(spec: RunSpec, part: Literal["train", "test"], score: Score) -> Evidence:
    return Evidence(errors=score.errors, n=score.n, split=part, examples_sha256=getattr(spec.task, part).sha256_of_examples)


def assumptions_of(spec: RunSpec) -> tuple[str, ...]:
    """What the certificate rests on beside its theorem's assumptions, in words that a reader can check."""
    preparation, examples = ("its scaling of pixels", "images") if spec.model.images else ("its tokenizer", "texts")
    return (
        f"θ₀ ({spec.model.name}), {preparation}, the head's seed and the specification do not depend on the sample",
        f"the {len(spec.task.label_names)} class names were fixed beforehand, not read off the sample",
        f"overlap of the data with the model's pretraining: {spec.task.declared_overlap}",
        f"{spec.task.duplicates_removed} duplicate {examples} were removed before splitting; the n examples are distinct",
        "the predictor is the decoded network in eval mode, a function of one input; a tie counts as an error",
    )


@dataclass(frozen=True)
class Verification:
    """All comparisons, and the certificate that this machine supports.

    Without a certificate to compare there are no comparisons. `counts_alone`: the certificate follows from its own counts, and
    this machine counts otherwise.
    """

    comparisons: tuple[Comparison, ...]
    supported: CertificateFile
    claimed: CertificateFile | None = None
    counts_alone: bool = False

    @property
    def agrees(self) -> bool:
        """True if every number agrees."""
        return all(comparison.agrees for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """In words, with the bound that this machine supports."""
        supports = f"this machine supports the bound {self.supported.training.value:.6f}"
        if self.claimed is None:
            return f"no certificate was given; {supports}"
        if self.agrees:
            return f"verified: every number agrees; {supports}"
        wrong = "; ".join(f"{c.what}: claimed {c.claimed}, recomputed {c.recomputed}" for c in self.comparisons if not c.agrees)
        if not self.counts_alone:
            return f"the certificate does not agree: {wrong}; {supports}"
        there, here = self.claimed.evaluation, self.supported.evaluation
        return (
            f"this machine counts otherwise: {wrong}; all else follows from the counts. Other hardware rounds logits that "
            f"nearly tie otherwise (certificate: {_machine(there)}; here: {_machine(here)}); {supports}"
        )

    def require(self) -> None:
        """Raise VerificationError naming every number that does not agree."""
        if not self.agrees:
            raise VerificationError(self.verdict)


def _machine(evaluation: Evaluation | None) -> str:
    return "not recorded" if evaluation is None else f"{evaluation.device}, {evaluation.threads} threads"


def check(
    claimed: CertificateFile | None,
    *,
    spec: RunSpec,
    here: RunSpec,
    content: bytes,
    count: Counter,
    versions: Mapping[str, str],
) -> Verification:
    """Decode, count, recompute and compare.

    Args:
        claimed: the certificate; None to learn what the message supports.
        spec: the one that the certificate and the message were made for.
        here: a specification made from the model and the data on this machine.
        content: bytes of the message.
        count: of the decoded network's errors; not called before all files fit together.
        versions: of this machine, for the certificate that it supports.

    Raises:
        DataError: the files are not of one run, or model or data are others.
        CorruptMessageError, ConfigError: message or menu are not valid.
    """
    if claimed is not None and claimed.spec_sha256 != spec.sha256:
        raise DataError(
            f"the certificate was made for specification {claimed.spec_sha256[:12]}…, the one given is {spec.sha256[:12]}…; "
            "give the one it was made for"
        )
    require_same_parents(claimed=spec, found=here)
    decoded = decode_bounded(content, spec=spec)
    counted = count(decoded)
    supported = certificate_from(decoded, spec=spec, counted=counted, versions=versions)
    if claimed is None:
        return Verification((), supported)
    comparisons = compare(claimed, supported)
    agrees = all(comparison.agrees for comparison in comparisons)
    counts_alone = not agrees and _follows(claimed, decoded=decoded, spec=spec, counted=counted)
    return Verification(comparisons, supported, claimed, counts_alone)


def _follows(claimed: CertificateFile, *, decoded: DecodedMessage, spec: RunSpec, counted: Counted) -> bool:
    """Whether a certificate is that of its own error counts."""
    said = {"train": claimed.training.evidence, "test": claimed.held_out.evidence}
    if any(said[part].n != getattr(counted, part).n for part in said):
        return False
    own = Counted(**{part: Score(errors=one.errors, n=one.n) for part, one in said.items()}, evaluation=counted.evaluation)
    again = certificate_from(decoded, spec=spec, counted=own, versions={})
    return all(comparison.agrees for comparison in compare(claimed, again))
