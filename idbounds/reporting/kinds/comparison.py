"""Runs on one task side by side: d90 with its ratio to the first run's, and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from idbounds.core.errors import ConfigError
from idbounds.reporting.kinds.bounds import NO_BETTER, VACUOUS, bound_cell, comparable, with_best
from idbounds.reporting.kinds.d90 import censored, levels_of, names_of
from idbounds.reporting.kinds.signature import distinct, folder_names, measured_signature, percentages, proved_signature
from idbounds.reporting.rounding import bits_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import NO_CELL, Cell, Origin, Table, text_cell


class RatioOfD90(Protocol):
    """What `idbounds.estimation.ratio` gives; None is a value outside both grids, or an open end."""

    @property
    def value(self) -> float | None:
        """d90 of the run over d90 of the first."""

    @property
    def lower(self) -> float | None:
        """Of the interval."""

    @property
    def upper(self) -> float | None:
        """Of the interval."""

    @property
    def level(self) -> float:
        """Of the interval."""


#: By rule, the ratio of each run but the first to the first, or why there is none.
Ratios = Mapping[str, Sequence[RatioOfD90 | str]]


def require_comparable(runs: Sequence[RunRecords]) -> None:
    """Raise ConfigError, with the reason, for fewer than two runs or runs that were not tested on the same examples."""
    if len(runs) < 2:
        raise ConfigError(f"a comparison needs at least two runs, got {len(runs)}")
    first = runs[0].spec.task
    for run in runs[1:]:
        task = run.spec.task
        if task.test.sha256_of_examples != first.test.sha256_of_examples:
            raise ConfigError(
                f"{runs[0].folder} and {run.folder} cannot be compared: they are tested on other examples, {first.name} "
                f"({first.test.n}, hash {first.test.sha256_of_examples[:12]}…) and {task.name} ({task.test.n}, hash "
                f"{task.test.sha256_of_examples[:12]}…); the kinds d90 and bounds list them without ranking"
            )
        if task.name != first.name or run.spec.learning_task != runs[0].spec.learning_task:
            raise ConfigError(
                f"{runs[0].folder} and {run.folder} cannot be compared: {first.name} ({runs[0].spec.learning_task}) and "
                f"{task.name} ({run.spec.learning_task}) are two tasks on the same examples"
            )


def comparison_table(runs: Sequence[RunRecords], *, ratios: Ratios) -> Table:
    """A row a run: d90 under each rule that all runs have, its ratio to that of the first run, bits and bounds.

    Raises ConfigError as `require_comparable`.
    """
    require_comparable(runs)
    rules = list(ratios)
    first = ("run", "model", "parametrization", "projection", "δ")
    bounds = ("bits", "bound (%)", "held-out (%)")
    levels = distinct(one.level for rule in rules for one in ratios[rule] if not isinstance(one, str))
    ratio_head = f"ratio [{percentages(levels)}]" if levels else "ratio"
    heads = (*first, *(f"d90 [{percentages(levels_of(runs))}]", ratio_head) * len(rules), *bounds)
    named = zip(runs, folder_names(runs), strict=True)
    rows = [_row(run, number, name, ratios, first=runs[0]) for number, (run, name) in enumerate(named)]
    if all(run.certificate_file is not None for run in runs):
        rows = with_best(rows, column=len(heads) - 2, keys=[comparable(run) for run in runs])
    marks = {cell.mark for row in rows for cell in row}
    return Table(
        name="comparison",
        heads=heads,
        numeric=(False,) * 4 + (True,) + (False, False) * len(rules) + (True,) * 3,
        rows=tuple(rows),
        caption=_caption(runs),
        notes=tuple(_missing(runs, ratios)),
        marks=tuple(mark for mark in (VACUOUS, NO_BETTER) if mark[0] in marks),
        groups=(("", len(first)), *((f"rule: {rule.replace('_', ' ')}", 2) for rule in rules), ("certified", len(bounds))),
    )


def _caption(runs: Sequence[RunRecords]) -> str:
    task = runs[0].spec.task
    certified = any(run.certificate_file is not None for run in runs)
    signature = proved_signature(runs) if certified else measured_signature(runs)
    return (
        f"Runs on {task.name}, all tested on the same {task.test.n} examples. d90 is relative to each run's own full "
        "fine-tuning, with its bootstrap interval; ratio: d90 over that of the first row, both redrawn as if they were "
        "independent, so that its interval is rather too wide. Both are measured, not proved. bound, held-out: bounds on the "
        "true risk of the decoded network from its training and its held-out set. Bold: the smallest bound of those that share "
        f"training examples and δ; a claim that takes the smallest of m must pay log₂ m bits for the choice. {signature}"
    )


def _row(run: RunRecords, number: int, name: str, ratios: Ratios, *, first: RunRecords) -> tuple[Cell, ...]:
    cells: list[Cell] = [text_cell(name), *names_of([run])[0][1:]]
    certified = run.certificate_file is not None
    cells.append(run.certified.cell("training.delta", repr) if certified else run.specified.cell("delta", repr))
    for rule, found in ratios.items():
        record = run.measured(rule)
        cells.append(NO_CELL if record is None else _estimate_cell(record))
        cells.append(text_cell("1") if number == 0 else _ratio_cell(found[number - 1], record, first.measured(rule)))
    if not certified:
        return (*cells, NO_CELL, NO_CELL, NO_CELL)
    certificate = run.certified
    majority = certificate.value("majority_error")
    bounds = (bound_cell(certificate, f"{part}.value", majority=majority) for part in ("training", "held_out"))
    return (*cells, certificate.cell("training.complexity.num_bits", bits_up), *bounds)


def _estimate_cell(record: Origin) -> Cell:
    texts, fields = record.value("printed")(), ("value", "lower", "upper")
    stored = censored(record)
    return record.derived(stored, f"{texts[0]} [{texts[1]}, {texts[2]}]", paths=fields, how="with its interval")


def _ratio_cell(ratio: RatioOfD90 | str, record: Origin | None, first: Origin | None) -> Cell:
    if isinstance(ratio, str) or record is None or first is None:
        return NO_CELL
    low = "0" if ratio.lower is None else f"{ratio.lower:.2f}"
    high = "∞" if ratio.upper is None else f"{ratio.upper:.2f}"
    value, text = ("censored", "censored") if ratio.value is None else (ratio.value, f"{ratio.value:.2f}")
    sources = (record.source("trials"), first.source("trials"))
    return Cell((value, ratio.lower, ratio.upper), f"{text} [{low}, {high}]", sources, "ratio of d90, from the trials of both")


def _missing(runs: Sequence[RunRecords], ratios: Ratios) -> list[str]:
    """Why ratios are missing, each reason once."""
    reasons = [
        (run, one) for found in ratios.values() for run, one in zip(runs[1:], found, strict=True) if isinstance(one, str)
    ]
    return [f"No ratio for {folder}: {reason}" for folder, reason in distinct((run.folder, reason) for run, reason in reasons)]
