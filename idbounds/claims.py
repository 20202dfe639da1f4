"""What follows from a message, its specification and counts, and whether a certificate says just that. Needs no torch.

`check` is everything that verification does but the counting, which it is handed as a function: so it can be tried on
hundreds of thousands of forged files without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from idbounds.bounds import BOUNDS, rigorous
from idbounds.codes import DecodedMessage, check_menu, decode_message
from idbounds.comparison import Comparison, compare, require_same_parents
from idbounds.core.errors import DataError, UnsupportedEvidenceError, VerificationError
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

#: Said further where a stochastic predictor is declared beside the message.
_DELTA_SHARED = (
    "; this training bound's δ is its share of {delta:g}, and it holds together with the stochastic predictor's training bound "
    "with probability at least 1 - {delta:g}"
)

#: Said further where a data prefix moved θ₀.
_DELTA_WITHOUT_MESSAGE = (
    "; the bound on θ₀ without a message, alone, with probability at most δ over the draw of the training part: its δ adds up"
)

#: A d that a message may name without a model of as many weights: an adapter may have more numbers than a small model, and
#: decoding so many takes seconds.
_ALWAYS_DECODED = 2**20


@dataclass(frozen=True)
class Counted:
    """Errors of one decoded network, and how they were counted; those of θ₀ on the training part, if a prefix moved it."""

    train: Score
    test: Score
    evaluation: Evaluation
    without_message: Score | None = None


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
    _require_message(spec)
    training = BOUNDS["occam_binomial"].certify(
        _evidence(spec, "train", counted.train), decoded.message.complexity, delta=spec.delta_of_each
    )
    held_out = BOUNDS["test_set"].certify(_evidence(spec, "test", counted.test), Complexity(ledger=()), delta=spec.delta)
    without_message = None
    if spec.prefix is not None and counted.without_message is not None:
        evidence = _evidence(spec, "train", counted.without_message)
        without_message = BOUNDS["occam_binomial"].certify(evidence, Complexity(ledger=()), delta=spec.delta)
    return CertificateFile(
        spec_sha256=spec.sha256,
        message_sha256=decoded.message.file_sha256,
        training=training.model_copy(update={"assumptions": (*training.assumptions, *assumptions_of(spec))}),
        held_out=held_out,
        majority_error=task.test.majority_errors / task.test.n,
        versions=dict(versions),
        delta_covers=_delta_covers(spec),
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
        without_message=without_message,
    )


def _delta_covers(spec: RunSpec) -> str:
    shared = _DELTA_SHARED.format(delta=spec.delta) if len(spec.predictors) > 1 else ""
    return _DELTA_COVERS + shared + (_DELTA_WITHOUT_MESSAGE if spec.prefix is not None else "")


def _require_message(spec: RunSpec) -> None:
    if "message" not in spec.predictors:
        raise UnsupportedEvidenceError(
            f"the specification declares predictors = {list(spec.predictors)}, so all of δ is spent on those and a message has "
            "no certificate; declare 'message' too"
        )


def _evidence(spec: RunSpec, part: Literal["train", "test"], score: Score) -> Evidence:
    return Evidence(errors=score.errors, n=score.n, split=part, examples_sha256=getattr(spec.task, part).sha256_of_examples)


def assumptions_of(spec: RunSpec, *, predictor: str = "the decoded network") -> tuple[str, ...]:
    """What the certificate rests on beside its theorem's assumptions, in words that a reader can check."""
    preparation, examples = ("its scaling of pixels", "images") if spec.model.images else ("its tokenizer", "texts")
    moved = ""
    if spec.prefix is not None:
        moved = (
            f", but that θ₀ was trained on {spec.prefix.setting.n} further examples of it (a data prefix), which are not among "
            f"the {spec.task.train.n} counted: nothing depends on those"
        )
    return (
        f"θ₀ ({spec.model.name}), {preparation}, the head's seed and the specification do not depend on the sample{moved}",
        f"the {len(spec.task.label_names)} class names were fixed beforehand, not read off the sample",
        f"overlap of the data with the model's pretraining: {spec.task.declared_overlap}",
        f"{spec.task.duplicates_removed} duplicate {examples} were removed before splitting; the n examples are distinct",
        f"the predictor is {predictor} in eval mode, a function of one input; a tie counts as an error",
    )


@dataclass(frozen=True)
class Verification:
    """All comparisons, and the certificate of the message that this machine supports: none where no message is declared.

    Without a certificate to compare there are no comparisons. `counts_alone`: the certificate follows from its own counts, and
    this machine counts otherwise.
    """

    comparisons: tuple[Comparison, ...]
    supported: CertificateFile | None
    claimed: CertificateFile | None = None
    counts_alone: bool = False

    @property
    def agrees(self) -> bool:
        """True if every number agrees."""
        return all(comparison.agrees for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """In words, with the bound that this machine supports."""
        supports = "no message is declared"
        if self.supported is not None:
            supports = f"this machine supports the bound {self.supported.training.value:.6f}"
        if not self.comparisons:
            return f"no certificate was given; {supports}"
        if self.agrees:
            return f"verified: every number agrees; {supports}"
        wrong = "; ".join(f"{c.what}: claimed {c.claimed}, recomputed {c.recomputed}" for c in self.comparisons if not c.agrees)
        if not self.counts_alone or self.claimed is None or self.supported is None:
            return f"the certificate does not agree: {wrong}; {supports}"
        there, here = self.claimed.evaluation, self.supported.evaluation
        return (
            f"this machine counts otherwise: {wrong}; all else follows from the counts. Other hardware rounds logits that "
            f"nearly tie otherwise (certificate: {_machine(there)}; here: {_machine(here)}); {supports}"
        )

    def with_further(self, further: tuple[Comparison, ...]) -> Verification:
        """With the numbers of another certificate of the same folder, which must agree too."""
        agree = all(comparison.agrees for comparison in further)
        return replace(self, comparisons=(*self.comparisons, *further), counts_alone=self.counts_alone and agree)

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
    said = {"train": claimed.training, "test": claimed.held_out, "without_message": claimed.without_message}
    scores = {name: Score(errors=one.evidence.errors, n=one.evidence.n) for name, one in said.items() if one is not None}
    here = {name: getattr(counted, name) for name in scores}
    if any(here[name] is None or here[name].n != score.n for name, score in scores.items()):
        return False
    own = Counted(**scores, evaluation=counted.evaluation)
    again = certificate_from(decoded, spec=spec, counted=own, versions={})
    return all(comparison.agrees for comparison in compare(claimed, again))
