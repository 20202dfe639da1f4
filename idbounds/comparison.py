"""A certificate beside the one that was recomputed, number by number. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from idbounds.bounds import BOUNDS, rigorous
from idbounds.core.errors import DataError
from idbounds.core.values import Certificate, CertificateFile, Evaluation, RunSpec, Split

#: The first twelve raises of `rigorous.prove_binomial` together. What one machine proved by ball arithmetic may stand so
#: far above what another one, without it, computes.
_RAISED_BY_PROOF = 2.0**-40


@dataclass(frozen=True)
class Comparison:
    """One number of a certificate beside the recomputed one."""

    what: str
    claimed: object
    recomputed: object

    @property
    def agrees(self) -> bool:
        """Equal, in every bit."""
        return self.claimed == self.recomputed


#: What this machine can recompute of a specification: everything in it that a certificate prints or that decides a
#: prediction. Names, licences and declared overlap are its author's words.
_RECOMPUTED = {
    "task": ("train", "validation", "test", "label_names", "duplicates_removed"),
    "model": (
        *("theta0_sha256", "tokenizer_sha256", "images", "head_seed", "max_length"),
        *("num_weights", "num_labels", "eval_batch_size", "dtype", "head"),
    ),
}


def require_same_parents(*, claimed: RunSpec, found: RunSpec) -> None:
    """Refuse other data, another model or other settings before anything is counted."""
    pairs: dict[str, tuple[object, object]] = {"learning_task": (claimed.learning_task, found.learning_task)}
    theirs, ours = _prefix(claimed), _prefix(found)
    pairs |= {f"prefix.{field}": (theirs.get(field), ours.get(field)) for field in theirs | ours}
    for section, fields in _RECOMPUTED.items():
        one, two = getattr(claimed, section), getattr(found, section)
        pairs |= {f"{section}.{field}": (getattr(one, field), getattr(two, field)) for field in fields}
    for name, (wanted, here) in pairs.items():
        if wanted != here:
            raise DataError(
                f"{name} is {_brief(here)} here, the certificate was made with {_brief(wanted)}; "
                "give the data, model and settings that it was made from"
            )


def _prefix(spec: RunSpec) -> dict[str, object]:
    """Of a data prefix what decides θ₀; how it was trained is its author's word."""
    if spec.prefix is None:
        return {}
    fields = ("n", "examples_sha256", "pretrained_sha256", "subspace_sha256", "d", "seed")
    return {**{field: getattr(spec.prefix.setting, field) for field in fields}, "file_sha256": spec.prefix.file_sha256}


def _brief(value: object) -> str:
    """A value in a few words; of a split, its size and the hash of its examples."""
    if isinstance(value, Split):
        return (
            f"{value.n} examples with hash {value.sha256_of_examples[:12]}… ({value.majority_errors} not of the majority class)"
        )
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def compare(claimed: CertificateFile, found: CertificateFile) -> tuple[Comparison, ...]:
    """Every number and word that a certificate claims, beside what was found; versions and machine are left out."""
    comparisons = [Comparison("SHA-256 of the message", claimed.message_sha256, found.message_sha256)]
    proved_by = claimed.proved_by
    comparisons += _of_bound("training", claimed.training, found.training, proved_by=proved_by)
    comparisons += _of_bound("held-out", claimed.held_out, found.held_out, proved_by=proved_by)
    if claimed.without_message is not None:
        comparisons += _of_bound("without message", claimed.without_message, found.without_message, proved_by=proved_by)
    comparisons.append(Comparison("majority-class error", claimed.majority_error, found.majority_error))
    for what, read_more in _LATER_CLAIMS.items():
        said = read_more(claimed)
        if said:
            comparisons.append(Comparison(what, said, read_more(found)))
    return tuple(comparisons)


def _of_bound(label: str, one: Certificate, two: Certificate | None, *, proved_by: str) -> list[Comparison]:
    """Of one certificate in the file; None where the specification gives no such one."""
    if two is None:
        return [Comparison(f"{label} bound", one.value, None)]
    proven = one.value if same_bound(one, two, proved_by=proved_by) else two.value
    numbers = [Comparison(f"{label} {what}", read(one), read(two)) for what, read in _CLAIMS.items()]
    return [*numbers, Comparison(f"{label} bound", one.value, proven)]


def same_bound(claimed: Certificate, found: Certificate, *, proved_by: str) -> bool:
    """Equal in every bit; or equal but for the proof, which one of the two machines has no python-flint for."""
    if claimed.value == found.value:
        return True
    evidence, nats = found.evidence, found.complexity.nats
    family = BOUNDS[found.family]
    unproven = float(family.from_counts(errors=evidence.errors, n=evidence.n, complexity_nats=nats, delta=found.delta))
    if proved_by != "ball arithmetic" and claimed.value == unproven:
        return True
    raised = unproven <= claimed.value <= unproven * (1.0 + _RAISED_BY_PROOF)
    return proved_by != "outward rounding" and not rigorous.available() and raised


def _remainder(certificate: Certificate) -> str:
    counts = certificate.evidence.model_copy(update={"errors": 0})
    return certificate.model_copy(update={"value": 0.0, "evidence": counts}).sha256


#: What a certificate claims beside its bound, by name.
_CLAIMS: dict[str, Callable[[Certificate], object]] = {
    "errors": lambda certificate: certificate.evidence.errors,
    "n": lambda certificate: certificate.evidence.n,
    "bits": lambda certificate: certificate.complexity.num_bits,
    "delta": lambda certificate: certificate.delta,
    "theorem, assumptions, hashes": _remainder,
}

#: What certificates say since they have fields for it.
_LATER_CLAIMS: dict[str, Callable[[CertificateFile], object]] = {
    "what delta covers": lambda file: file.delta_covers,
    "duplicates removed": lambda file: "" if file.duplicates_removed is None else f"{file.duplicates_removed} removed",
    "hashes of the parents": lambda file: "" if file.parents is None else file.parents.sha256,
    "type and batch size": lambda file: _pinned(file.evaluation),
}


def _pinned(evaluation: Evaluation | None) -> str:
    return "" if evaluation is None else f"{evaluation.dtype}, batches of {evaluation.batch_size}"
