"""The report of runs: their records told in order, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import idbounds
from idbounds.core.errors import ConfigError
from idbounds.core.records import write_atomically
from idbounds.core.values import Trial
from idbounds.figures import KINDS, accuracy_of, name_of
from idbounds.report_claims import assumptions_section, certificate_section, meaning_section, verifying_section
from idbounds.reporting.bibliography import references
from idbounds.reporting.figures import Picture
from idbounds.reporting.kinds import bounds_table, compact, d90_table, frontier_table
from idbounds.reporting.page import Section, Story, to_page
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import Table
from idbounds.reporting.tables import accuracy_table, dimension_table, ledger_table
from idbounds.run_trials import trials_of

#: What captions end with: signatures are in the section on provenance.
_MEASURED, _PAID = "Measured, not proved: no δ.", "Their sum enters the bound."
_REMEDY = "`idbounds run CONFIG` writes message.idb and certificate.json."


def write_report(path: Path, runs: Sequence[RunRecords]) -> Path:
    """Write the report of one run or several; the same folders give the same bytes.

    What a folder lacks is said in its place. Raises ConfigError without a run, and where the extra `report` is not installed.
    """
    if not runs:
        raise ConfigError("no run to report; give at least one folder")
    stories = [_story(run, key=f"run{number}") for number, run in enumerate(runs, start=1)]
    title = stories[0].title if len(runs) == 1 else f"{len(runs)} runs"
    page = to_page(stories, title=title, version=idbounds.__version__, overview=_overview(runs) if len(runs) > 1 else None)
    return write_atomically(path, page.encode())


def _story(run: RunRecords, *, key: str) -> Story:
    trials = trials_of(run)
    sections = (
        _task(run),
        _measurement(run, trials),
        _d90(run),
        _message(run),
        certificate_section(run),
        meaning_section(run),
        assumptions_section(run),
        verifying_section(run),
        _provenance(run),
        _bibliography(run),
    )
    return Story(key, f"{run.spec.model.name} on {run.spec.task.name}", _summary(run), sections)


def _summary(run: RunRecords) -> str:
    """The outcome: d90 under the first rule, and the bound."""
    measured = f"Measured: {run.dimensions[0]} (rule {run.dimensions[0].rule.replace('_', ' ')})." if run.dimensions else ""
    file = run.certificate_file
    if file is None:
        return f"{measured} Nothing is proved about this run.".strip()
    bits, value = bits_up(file.training.complexity.num_bits), percent_up(file.training.value)
    return (
        f"{measured} Proved: true risk at most {value} %, from a message of {bits} bits (δ = {file.training.delta!r}).".strip()
    )


def _overview(runs: Sequence[RunRecords]) -> Section:
    """What several runs have in common: the figures that compare them."""
    pictures: list[Picture] = []
    tables: list[Table] = []
    if all(run.dimensions for run in runs):
        pictures.append(KINDS["d90-size"].make(runs, None))
        tables.append(compact(d90_table(runs)))
    if all(run.message is not None for run in runs):
        pictures.append(KINDS["ledger"].make(runs, None))
    if all(run.certificate_file is not None for run in runs):
        tables.append(replace(compact(bounds_table(runs)), notes=()))  # each run lists what it assumes
    return Section("overview", "The runs side by side", pictures=tuple(pictures), tables=tuple(tables))


def _task(run: RunRecords) -> Section:
    task, model, spec = run.spec.task, run.spec.model, run.spec
    majority = percent(task.test.majority_errors / task.test.n)
    return Section(
        "task",
        "Task",
        paragraphs=(
            f"{model.name} has {model.num_weights:,} weights. It is trained along d random directions only, θ = θ₀ + P w. "
            "How small may d be, and what follows from that for new examples?",
        ),
        facts=(
            ("task", f"{task.name}, {len(task.label_names)} classes: {', '.join(task.label_names)}"),
            ("data", f"{task.source}; licence: {task.licence}"),
            ("examples", f"{task.train.n} for training, {task.validation.n} for validation, {task.test.n} for testing"),
            ("duplicates removed", str(task.duplicates_removed)),
            ("always guessing one class", f"errs on {majority} % of the test examples"),
            ("model", f"{model.name}, {model.num_weights:,} weights, from {model.source}"),
            ("what moves", f"{spec.parametrization}, along {spec.projection} ({spec.allocation})"),
            (
                "declared beforehand",
                f"d one of {_listed(spec.menu.dims)}; seed one of {_listed(spec.menu.seeds)}; δ = {spec.delta!r}",
            ),
        ),
    )


def _listed(numbers: Sequence[int], *, most: int = 8) -> str:
    """All of a short list, the ends of a long one."""
    if len(numbers) <= most:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]}, {numbers[1]}, …, {numbers[-1]} ({len(numbers)} values)"


def _measurement(run: RunRecords, trials: Sequence[Trial]) -> Section:
    if not run.dimensions:
        return Section("measurement", "Measurement", missing="No accuracies here yet. `idbounds measure CONFIG` measures them.")
    picture = accuracy_of(run.spec, dimensions=run.dimensions, trials=trials)
    tables = (accuracy_table(run.spec, dimensions=run.dimensions, trials=trials, signature=_MEASURED),) if trials else ()
    missing = (
        "" if trials else "The single trials are not in this folder: the figure shows the fit at each d without seeds or band."
    )
    return Section("measurement", "Measurement", pictures=(picture,), tables=tables, missing=missing)


def _d90(run: RunRecords) -> Section:
    if not run.dimensions:
        return Section("d90", "Intrinsic dimension", missing="No d90 yet.")
    said = tuple(
        f"Under the rule {one.rule.replace('_', ' ')} ({one.target_definition or 'definition not recorded'}): {one}."
        for one in run.dimensions
    )
    table = dimension_table(run.spec, dimensions=run.dimensions, signature=_MEASURED)
    return Section("d90", "Intrinsic dimension", paragraphs=said, tables=(table,))


def _message(run: RunRecords) -> Section:
    if run.message is None or run.certificate_file is None:
        return Section("message", "Message", missing=f"No certified message here. {_REMEDY}")
    message = run.message
    said = (
        f"The trained numbers are written as one word of a prefix-free code: d = {message.d}, {message.code}, a file of "
        f"{message.num_bytes} bytes. Every choice that the decoder needs is a line of the account and is paid for."
    )
    pictures = [KINDS["ledger"].make([run], None)]
    tables = [ledger_table(message, certificate_file=run.certificate_file, signature=_PAID)]
    if run.frontier is not None:
        pictures.append(KINDS["frontier"].make([run], None))
        tables.append(replace(compact(frontier_table([run])), notes=()))
    return Section("message", "Message", paragraphs=(said,), pictures=tuple(pictures), tables=tuple(tables))


def _provenance(run: RunRecords) -> Section:
    spec, file = run.spec, run.certificate_file
    facts = [("run", name_of(run)), ("specification", spec.sha256), ("made for", f"idbounds {spec.idbounds_version}")]
    facts += [("θ₀", spec.model.theta0_sha256)]
    if run.message is not None:
        facts.append(("message", run.message.file_sha256))
    if file is not None:
        facts += [("certificate", file.sha256), *((name, value) for name, value in file.versions.items())]
    return Section(
        "provenance",
        "Provenance",
        paragraphs=("Hashes are SHA-256; they bind each record to its parents.",),
        facts=tuple(facts),
    )


def _bibliography(run: RunRecords) -> Section:
    known = references()
    listing = "\n\n".join(known[key] for key in run.keys if key in known)
    unknown = [key for key in run.keys if key not in known]
    missing = f"Cited and not known to idbounds: {', '.join(unknown)}." if unknown else ""
    return Section(
        "bibliography",
        "Works to cite",
        paragraphs=("Exactly the works that this run rests on.",),
        listing=listing,
        missing=missing,
    )
