"""The tables of a run, built from its records: every cell is a stored number or says that there is none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

from idbounds.core.errors import ConfigError
from idbounds.core.records import write_atomically
from idbounds.core.run_files import CERTIFICATE_FILE, TRIALS_FILE, d90_file
from idbounds.core.values import CertificateFile, IntrinsicDimension, Message, RunSpec, Trial
from idbounds.reporting.bibliography import bibliography, used_keys
from idbounds.reporting.formats import FORMATS
from idbounds.reporting.kinds.d90 import censored
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.reporting.table import NO_CELL, Cell, Origin, Table, text_cell


def write_tables(
    folder: Path,
    *,
    certificate_file: CertificateFile,
    spec: RunSpec,
    message: Message,
    dimensions: Sequence[IntrinsicDimension],
    trials: Sequence[Trial],
    code: str,
) -> dict[str, Path]:
    """Write accuracy, d90, certificate and ledger tables as .tex, .md, .csv and .html, and references.bib, into `folder`.

    Args:
        folder: made if missing.
        certificate_file, spec, message: of one run.
        dimensions: one for each threshold rule.
        trials: at least those that the dimensions name by their hashes.
        code: name of the code that wrote the message.

    Returns the paths by file name. Percentages are rounded to nearest, bounds up. Raises ConfigError if a trial
    that a dimension names is missing, the records belong to different runs, or the extra `report` is not installed.
    """
    _check_one_run(certificate_file, spec=spec, message=message)
    measured = _measured(certificate_file, spec=spec)
    proved = _proved(certificate_file, spec=spec, message=message, code=code)
    tables = (
        accuracy_table(spec, dimensions=dimensions, trials=trials, signature=measured),
        dimension_table(spec, dimensions=dimensions, signature=measured),
        certificate_table(certificate_file, spec=spec, signature=proved),
        ledger_table(message, certificate_file=certificate_file, signature=proved),
    )
    rendered = {f"{table.name}.{suffix}": render(table) for table in tables for suffix, render in FORMATS.items()}
    keys = used_keys(spec, sources=(certificate_file.training.source, certificate_file.held_out.source))
    rendered["references.bib"] = bibliography(keys, versions=(spec.idbounds_version,))
    return {name: write_atomically(Path(folder) / name, text.encode()) for name, text in rendered.items()}


def chosen_trials(dimensions: Sequence[IntrinsicDimension], *, trials: Sequence[Trial]) -> dict[int, list[Trial]]:
    """The trials that the dimensions rest on, by d in increasing order (0 is full fine-tuning)."""
    known = {trial.sha256: trial for trial in trials}
    named = dict.fromkeys(sha256 for dimension in dimensions for sha256 in dimension.trials)
    missing = [sha256 for sha256 in named if sha256 not in known]
    if missing or not named:
        raise ConfigError(f"{len(missing)} of {len(named)} trials behind d90 are missing {missing[:1]}; pass every trial")
    ordered = sorted((known[sha256] for sha256 in named), key=lambda trial: (trial.key.d, trial.key.seed))
    return {d: list(group) for d, group in groupby(ordered, key=lambda trial: trial.key.d)}


def accuracies_of(trials: Sequence[Trial]) -> list[float]:
    """Test accuracy of each finished trial."""
    return [trial.test.accuracy for trial in trials if trial.test is not None]


def accuracy_table(
    spec: RunSpec, *, dimensions: Sequence[IntrinsicDimension], trials: Sequence[Trial], signature: str
) -> Table:
    """Test accuracy at each d, beside full fine-tuning and always guessing one class."""
    groups = chosen_trials(dimensions, trials=trials)
    rows = [_accuracy_row(d, group) for d, group in groups.items() if d]
    rows += [_accuracy_row(d, group) for d, group in groups.items() if not d]
    majority = Origin(d90_file(dimensions[0].rule), dimensions[0]).cell("majority_accuracy", percent)
    rows.append((text_cell("majority class"), NO_CELL, NO_CELL, majority, NO_CELL, NO_CELL))
    return Table(
        name="accuracy",
        heads=("d", "seeds", "learning rate", "test accuracy (%)", "lowest (%)", "highest (%)"),
        numeric=(True,) * 6,
        rows=tuple(rows),
        caption=(
            f"Test accuracy of {spec.model.name} on {spec.task.name} ({spec.task.test.n} test examples), mean and range "
            f"over seeds, in a subspace of dimension d ({spec.parametrization}, {spec.projection}, {spec.allocation}). "
            f"The learning rate was chosen on {spec.task.validation.n} validation examples; "
            "in a subspace it is divided by the square root of d "
            f"for each number. {signature}"
        ),
    )


def dimension_table(spec: RunSpec, *, dimensions: Sequence[IntrinsicDimension], signature: str) -> Table:
    """d90 under each rule, with what it is relative to."""
    return Table(
        name="d90",
        heads=("rule", "full (%)", "majority (%)", "target (%)", "d90", "lower", "upper"),
        numeric=(False, True, True, True, True, True, True),
        rows=tuple(_dimension_row(dimension) for dimension in dimensions),
        caption=(
            f"Intrinsic dimension of {spec.model.name} on {spec.task.name}: smallest d whose test accuracy reaches the "
            f"target, with {dimensions[0].level:.0%} bootstrap interval. < and > mark values outside the grid of "
            f"d = {dimensions[0].smallest_d} to {dimensions[0].largest_d}. {signature}"
        ),
    )


def certificate_table(certificate_file: CertificateFile, *, spec: RunSpec, signature: str) -> Table:
    """Both bounds on the true risk of the decoded network, and the error of always guessing one class."""
    record = Origin(CERTIFICATE_FILE, certificate_file)
    majority = record.cell("majority_error", percent)
    moved = certificate_file.without_message is not None
    alone = (_certificate_row("training set, θ₀ alone", record, "without_message"),) if moved else ()
    return Table(
        name="certificate",
        heads=("evidence", "bound", "errors", "n", "error (%)", "bits", "true risk at most (%)"),
        numeric=(False, False, True, True, True, True, True),
        rows=(
            _certificate_row("training set", record, "training"),
            *alone,
            _certificate_row("held-out set", record, "held_out"),
            (text_cell("majority class"), NO_CELL, NO_CELL, NO_CELL, majority, NO_CELL, NO_CELL),
        ),
        caption=(
            f"Certified risk of the decoded network, {spec.model.name} on {spec.task.name}. Bounds are rounded up. {signature}"
        ),
        notes=tuple(f"Assumed: {assumption}" for assumption in certificate_file.training.assumptions),
    )


def ledger_table(message: Message, *, certificate_file: CertificateFile, signature: str) -> Table:
    """The account of bits."""
    record = Origin(CERTIFICATE_FILE, certificate_file)
    rows = [
        _ledger_row(record, f"training.complexity.ledger.{line}")
        for line in range(len(certificate_file.training.complexity.ledger))
    ]
    total = record.cell("training.complexity.num_bits", bits_up)
    rows.append((text_cell("total"), total, text_cell(f"a file of {message.num_bytes} bytes")))
    return Table(
        name="ledger",
        heads=("part", "bits", "what it names"),
        numeric=(False, True, False),
        rows=tuple(rows),
        caption=f"What the message consists of, d = {message.d}. {signature}",
        has_total=True,
    )


def _ledger_row(record: Origin, item: str) -> tuple[Cell, ...]:
    return record.cell(f"{item}.name"), record.cell(f"{item}.bits", bits_up), record.cell(f"{item}.reason")


def _accuracy_row(d: int, trials: Sequence[Trial]) -> tuple[Cell, ...]:
    accuracies = accuracies_of(trials)
    sources = tuple(Origin(TRIALS_FILE, trial).source("test.accuracy") for trial in trials)
    summaries = {"mean": fmean(accuracies), "least": min(accuracies), "largest": max(accuracies)}
    return (
        Cell(d, str(d)) if d else text_cell("full"),
        Cell(len(accuracies), str(len(accuracies))),
        Origin(TRIALS_FILE, trials[0]).cell("key.learning_rate", repr),
        *(Cell(value, percent(value), sources, how) for how, value in summaries.items()),
    )


def _dimension_row(dimension: IntrinsicDimension) -> tuple[Cell, ...]:
    record = Origin(d90_file(dimension.rule), dimension)
    accuracies = ("baseline_accuracy", "majority_accuracy", "target_accuracy")
    return (
        text_cell(dimension.rule.replace("_", " ")),
        *(record.cell(accuracy, percent) for accuracy in accuracies),
        *_dimension_cells(record),
    )


def _dimension_cells(record: Origin) -> tuple[Cell, ...]:
    """d90 and both ends of its interval."""
    parts = zip(("value", "lower", "upper"), censored(record), record.value("printed")(), strict=True)
    return tuple(Cell(stored, text, (record.source(field),)) for field, stored, text in parts)


def _certificate_row(evidence: str, record: Origin, part: str) -> tuple[Cell, ...]:
    return (
        text_cell(evidence),
        record.cell(f"{part}.family", lambda family: family.replace("_", " ")),
        record.cell(f"{part}.evidence.errors"),
        record.cell(f"{part}.evidence.n"),
        record.cell(f"{part}.evidence.risk", percent),
        record.cell(f"{part}.complexity.num_bits", bits_up),
        record.cell(f"{part}.value", percent_up),
    )


def _measured(certificate_file: CertificateFile, *, spec: RunSpec) -> str:
    """Signature of a table that claims nothing."""
    return f"Measured, not proved: no δ. {_provenance(certificate_file, spec=spec)}"


def _proved(certificate_file: CertificateFile, *, spec: RunSpec, message: Message, code: str) -> str:
    """Signature of a table of bounds, and what its δ covers."""
    training, held_out = certificate_file.training, certificate_file.held_out
    return (
        f"Each bound alone holds with probability at least 1 – δ: δ = {training.delta!r} over the draw of the training set, "
        f"whatever d, seed, step and coefficients were chosen after seeing it; δ = {held_out.delta!r} over the draw of the "
        f"held-out set, which no choice has seen. Code {code}, message {message.file_sha256[:12]}. "
        f"{_provenance(certificate_file, spec=spec)}"
    )


def _provenance(certificate_file: CertificateFile, *, spec: RunSpec) -> str:
    seeds = ", ".join(str(seed) for seed in spec.menu.seeds)
    return (
        f"idbounds {spec.idbounds_version}, menu of seeds {seeds}, "
        f"spec {spec.sha256[:12]}, certificate {certificate_file.sha256[:12]}."
    )


def _check_one_run(certificate_file: CertificateFile, *, spec: RunSpec, message: Message) -> None:
    pairs = (
        ("certificate's spec", certificate_file.spec_sha256, spec.sha256),
        ("message's spec", message.spec_sha256, spec.sha256),
        ("certificate's message", certificate_file.message_sha256, message.file_sha256),
    )
    for what, named, given in pairs:
        if named != given:
            raise ConfigError(f"the {what} is {named[:12]}…, got {given[:12]}…; pass the records of one run")
