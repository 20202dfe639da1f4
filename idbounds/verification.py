"""Check somebody's certificate: decode, rebuild, count again, recompute, compare number by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from idbounds.certification import CERTIFICATE_FILE, MESSAGE_FILE, certificate_of
from idbounds.config import Config, parse_config
from idbounds.core.errors import DataError, VerificationError
from idbounds.core.values import Certificate, CertificateFile, RunSpec, Split
from idbounds.measurement.progress import Reporter
from idbounds.preparation import CONFIG_FILE, SPEC_FILE, load


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


@dataclass(frozen=True)
class Verification:
    """All comparisons, and the bound that this machine supports."""

    comparisons: tuple[Comparison, ...]
    supported: CertificateFile

    @property
    def agrees(self) -> bool:
        """True if every number agrees."""
        return all(comparison.agrees for comparison in self.comparisons)

    def require(self) -> None:
        """Raise VerificationError naming every number that does not agree."""
        wrong = [f"{c.what}: claimed {c.claimed}, recomputed {c.recomputed}" for c in self.comparisons if not c.agrees]
        if wrong:
            raise VerificationError(
                f"the certificate does not agree: {'; '.join(wrong)}; "
                f"this machine supports the bound {self.supported.training.value:.6f}"
            )


def verify(folder: Path, *, config: Config | None = None, reporter: Reporter | None = None) -> Verification:
    """Recompute the certificate in a run's folder from its message, its specification, the model and the data.

    Args:
        folder: holds spec.json, message.idb, certificate.json and config.json.
        config: where model and data lie on this machine, if not where the run's own config.json says.

    Raises:
        CorruptMessageError: the message was altered or belongs to another specification.
        DataError: a file is missing, or the data or the model are not those of the certificate.
    """
    folder = Path(folder)
    claimed = CertificateFile.read(folder / CERTIFICATE_FILE)
    spec = RunSpec.read(folder / SPEC_FILE)
    try:
        content = (folder / MESSAGE_FILE).read_bytes()
    except OSError:
        raise DataError(f"no such file: {folder / MESSAGE_FILE}") from None
    if claimed.spec_sha256 != spec.sha256:
        raise DataError(
            f"the certificate was made for specification {claimed.spec_sha256[:12]}…, "
            f"{folder / SPEC_FILE} is {spec.sha256[:12]}…; restore the one it was made for"
        )
    run = load(config or _own_config(folder), reporter=reporter)
    _same_parents(claimed=spec, found=run.spec)
    supported = certificate_of(content, make_subspace=replace(run.make_subspace, spec=spec), data=run.data)
    return Verification(tuple(_compare(claimed, supported)), supported)


def _own_config(folder: Path) -> Config:
    path = folder / CONFIG_FILE
    try:
        config = parse_config(json.loads(path.read_bytes()), where=str(path))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}; give --config with the places of model and data") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not readable JSON: {error}") from None
    if config.model.architecture is not None:
        # A folder to be checked may be a stranger's, and must not choose what code is run here.
        raise DataError(f"the network is made by {config.model.architecture!r}; read that code, then name it by --config")
    return config


#: What this machine can recompute of a specification: everything in it that a certificate prints or that decides a
#: prediction. Names, licences and declared overlap are its author's words.
_RECOMPUTED = {
    "task": ("train", "validation", "test", "label_names", "duplicates_removed"),
    "model": (
        *("theta0_sha256", "tokenizer_sha256", "images", "head_seed", "max_length"),
        *("num_weights", "num_labels", "eval_batch_size"),
    ),
}


def _same_parents(*, claimed: RunSpec, found: RunSpec) -> None:
    """Refuse other data, another model or other settings before anything is counted."""
    for section, fields in _RECOMPUTED.items():
        for field in fields:
            wanted, here = getattr(getattr(claimed, section), field), getattr(getattr(found, section), field)
            if wanted != here:
                raise DataError(
                    f"{section}.{field} is {_brief(here)} here, the certificate was made with {_brief(wanted)}; "
                    "give the data, model and settings that it was made from"
                )


def _brief(value: object) -> str:
    """A value in a few words; of a split, its size and the hash of its examples."""
    if isinstance(value, Split):
        return (
            f"{value.n} examples with hash {value.sha256_of_examples[:12]}… ({value.majority_errors} not of the majority class)"
        )
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _compare(claimed: CertificateFile, found: CertificateFile) -> list[Comparison]:
    comparisons = [Comparison("SHA-256 of the message", claimed.message_sha256, found.message_sha256)]
    for label, one, two in (("training", claimed.training, found.training), ("held-out", claimed.held_out, found.held_out)):
        comparisons += [Comparison(f"{label} {what}", read(one), read(two)) for what, read in _CLAIMS.items()]
    return [*comparisons, Comparison("majority-class error", claimed.majority_error, found.majority_error)]


def _remainder(certificate: Certificate) -> str:
    return certificate.model_copy(update={"value": 0.0}).sha256


#: What a certificate claims, by name.
_CLAIMS: dict[str, Callable[[Certificate], object]] = {
    "errors": lambda certificate: certificate.evidence.errors,
    "n": lambda certificate: certificate.evidence.n,
    "bits": lambda certificate: certificate.complexity.num_bits,
    "delta": lambda certificate: certificate.delta,
    "bound": lambda certificate: certificate.value,
    "theorem, assumptions, hashes": _remainder,
}
