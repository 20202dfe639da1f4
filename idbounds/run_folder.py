"""A run's folder as records: read as a stranger's, and refused where its files do not fit together.

Nothing is counted here, `idbounds verify` does that; but a number that does not follow from the others in its folder is not
handed on. Needs no torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeVar

from idbounds.bounds import BOUNDS
from idbounds.bounds.evidence import DisagreementEvidence
from idbounds.claims import decode_bounded
from idbounds.comparison import same_bound
from idbounds.core.errors import DataError
from idbounds.core.frontier import Frontier
from idbounds.core.records import Record
from idbounds.core.run_files import (
    CERTIFICATE_FILE,
    FRONTIER_FILE,
    MESSAGE_FILE,
    SPEC_FILE,
    STOCHASTIC_FILE,
    UNCOMPRESSED_FILE,
    d90_file,
)
from idbounds.core.stochastic import StochasticCertificate
from idbounds.core.units import bits_to_nats
from idbounds.core.values import Certificate, CertificateFile, IntrinsicDimension, Message, RunSpec, UncompressedCertificate
from idbounds.folders import read_message
from idbounds.posterior_file import read_posterior
from idbounds.reporting.run_records import RunRecords
from idbounds.stochastic_claims import DrawCounts, certificate_of, compare_stochastic

#: As far as two machines' floating point may differ in a bound, and far less than any printed digit.
_LAST_DIGITS = 2.0**-30

R = TypeVar("R", bound=Record)


def read_run(folder: Path) -> RunRecords:
    """The records of a run's folder; of its files only spec.json must be there.

    Raises DataError for a folder that is none of a run, files of different runs, and a certificate whose bounds do not follow
    from its counts and bits; CorruptMessageError for a message that is none under the specification.
    """
    folder = Path(folder)
    if not (folder / SPEC_FILE).exists():
        raise DataError(f"{folder} is no run's folder: it has no {SPEC_FILE}; give the `output` of a run")
    spec = RunSpec.read(folder / SPEC_FILE)
    run = RunRecords(
        folder=str(folder),
        spec=spec,
        dimensions=_dimensions(folder),
        certificate_file=_optional(CertificateFile, folder / CERTIFICATE_FILE),
        message=_message(folder / MESSAGE_FILE, spec),
        uncompressed=_optional(UncompressedCertificate, folder / UNCOMPRESSED_FILE),
        frontier=_optional(Frontier, folder / FRONTIER_FILE),
        stochastic=_optional(StochasticCertificate, folder / STOCHASTIC_FILE),
    )
    _require_one_run(run)
    return run


def _optional(record: type[R], path: Path) -> R | None:
    return record.read(path) if path.exists() else None


def _dimensions(folder: Path) -> tuple[IntrinsicDimension, ...]:
    """Under every rule, the paper's first."""
    found = [IntrinsicDimension.read(path) for path in sorted(folder.glob("d90.*.json"))]
    for dimension, path in zip(found, sorted(folder.glob("d90.*.json")), strict=True):
        if path.name != d90_file(dimension.rule):
            raise DataError(f"{path} holds d90 under the rule {dimension.rule}; was it renamed?")
    return tuple(sorted(found, key=lambda dimension: (dimension.rule != "paper", dimension.rule)))


def _message(path: Path, spec: RunSpec) -> Message | None:
    return decode_bounded(read_message(path), spec=spec).message if path.exists() else None


def _require_one_run(run: RunRecords) -> None:
    """Raise DataError naming the first two things in the folder that contradict each other."""
    spec, file = run.spec, run.certificate_file
    pairs: list[tuple[str, object, object]] = [
        (f"{record} is for the specification", one.spec_sha256, spec.sha256)
        for record, one in ((CERTIFICATE_FILE, file), (UNCOMPRESSED_FILE, run.uncompressed), (FRONTIER_FILE, run.frontier))
        if one is not None
    ]
    test = spec.task.test
    for dimension in run.dimensions:
        name = d90_file(dimension.rule)
        pairs.append((f"{name} is of the parametrization", dimension.parametrization, spec.parametrization))
        pairs.append((f"{name} has the majority accuracy", dimension.majority_accuracy, 1 - test.majority_errors / test.n))
    if file is not None:
        pairs += _certificate_pairs(file, spec=spec)
    if file is not None and run.message is not None:
        pairs.append((f"{CERTIFICATE_FILE} is for the message", file.message_sha256, run.message.file_sha256))
        pairs.append((f"{CERTIFICATE_FILE} has the ledger", file.training.complexity, run.message.complexity))
    if run.uncompressed is not None and run.message is not None:
        pairs.append((f"{UNCOMPRESSED_FILE} is for the message", run.uncompressed.message_sha256, run.message.file_sha256))
        pairs.append((f"{UNCOMPRESSED_FILE} has the ledger", run.uncompressed.certificate.complexity, run.message.complexity))
    if run.frontier is not None and run.message is not None:
        chosen = run.frontier.points[run.frontier.chosen]
        pairs.append((f"{FRONTIER_FILE} chose a message of d =", chosen.d, run.message.d))
        pairs.append((f"{FRONTIER_FILE} chose a message of bits", chosen.bits, run.message.complexity.num_bits))
    for what, said, wanted in pairs:
        if said != wanted:
            raise DataError(
                f"{run.folder}: {what} {_brief(said)}, the folder's own is {_brief(wanted)}; these are not one run's"
            )
    if file is not None:
        _require_bound(file.training, run=run, proved_by=file.proved_by)
        _require_bound(file.held_out, run=run, proved_by=file.proved_by)
        if file.without_message is not None:
            _require_bound(file.without_message, run=run, proved_by=file.proved_by)
    if run.uncompressed is not None:
        _require_uncompressed(run.uncompressed, run=run)
    if run.frontier is not None:
        _require_frontier(run.frontier, run=run)
    if run.stochastic is not None:
        _require_stochastic(run.stochastic, run=run)


def _certificate_pairs(file: CertificateFile, *, spec: RunSpec) -> list[tuple[str, object, object]]:
    pairs: list[tuple[str, object, object]] = [
        (f"{CERTIFICATE_FILE} has the majority error", file.majority_error, spec.task.test.majority_errors / spec.task.test.n)
    ]
    claims = [(file.training, spec.task.train, spec.delta_of_each), (file.held_out, spec.task.test, spec.delta)]
    if file.without_message is not None:
        claims.append((file.without_message, spec.task.train, spec.delta))
    for one, split, delta in claims:
        pairs.append((f"{CERTIFICATE_FILE} counts on n =", one.evidence.n, split.n))
        pairs.append((f"{CERTIFICATE_FILE} counts on the examples", one.evidence.examples_sha256, split.sha256_of_examples))
        pairs.append((f"{CERTIFICATE_FILE} has δ =", one.delta, delta))
    return pairs


def _require_bound(claimed: Certificate, *, run: RunRecords, proved_by: str) -> None:
    bound = BOUNDS.get(claimed.family)
    if bound is None:
        raise DataError(f"{run.folder}: the bound {claimed.family!r} is not known to this idbounds")
    again = bound.certify(claimed.evidence, claimed.complexity, delta=claimed.delta)
    if not same_bound(claimed, again, proved_by=proved_by):
        raise _does_not_follow(
            run, what=f"the bound from the {claimed.evidence.split} part", claimed=claimed.value, found=again.value
        )


def _require_uncompressed(file: UncompressedCertificate, *, run: RunRecords) -> None:
    claimed = file.certificate
    evidence = DisagreementEvidence.from_dict(claimed.evidence)
    again = BOUNDS["disagreement"].certify_risk(evidence, claimed.complexity, delta=claimed.delta)
    if claimed.value != again.value:
        raise _does_not_follow(run, what="the bound before compression", claimed=claimed.value, found=again.value)


def _require_stochastic(claimed: StochasticCertificate, *, run: RunRecords) -> None:
    posterior = read_posterior(Path(run.folder), claimed=claimed, spec=run.spec)
    counts = DrawCounts(train=claimed.train_draws.errors, test=claimed.test_draws.errors)
    again = certificate_of(posterior, spec=run.spec, counts=counts, versions=claimed.versions)
    for one in compare_stochastic(claimed, again):
        if not one.agrees:
            raise DataError(
                f"{run.folder}: {one.what} is {_brief(one.claimed)}, the folder's files give {_brief(one.recomputed)}; "
                f"`idbounds verify {run.folder}` says more"
            )


def _require_frontier(frontier: Frontier, *, run: RunRecords) -> None:
    """Its bounds are floating point's, unproved; another machine may find another last digit."""
    spec, bound = run.spec, BOUNDS["occam_binomial"]
    for point in frontier.points:
        if point.n != spec.task.train.n:
            raise DataError(f"{run.folder}: {FRONTIER_FILE} counts on n = {point.n}, the training part has {spec.task.train.n}")
        nats = bits_to_nats(point.bits)
        found = float(bound.from_counts(errors=point.errors, n=point.n, complexity_nats=nats, delta=spec.delta_of_each))
        if not math.isclose(point.bound, found, rel_tol=_LAST_DIGITS):
            raise _does_not_follow(run, what=f"a bound in {FRONTIER_FILE}", claimed=point.bound, found=found)


def _does_not_follow(run: RunRecords, *, what: str, claimed: float, found: float) -> DataError:
    return DataError(
        f"{run.folder}: {what} is {claimed!r}, its counts and bits give {found!r}; `idbounds verify {run.folder}` says more"
    )


def _brief(value: object) -> str:
    text = value.sha256 if isinstance(value, Record) else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
