"""Certified bounds of runs beside what they are worth: a row a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from itertools import chain

from idbounds.reporting.kinds.d90 import names_of
from idbounds.reporting.kinds.signature import assumed, proved_signature
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import NO_CELL, Cell, Origin, Table, as_best

VACUOUS = ("‡", "vacuous: says nothing")
NO_BETTER = ("†", "not below the error of always guessing the most frequent class")
STOCHASTIC = (
    "§",
    "of a stochastic predictor: the upper end of an estimate from draws; bits are those of its divergence",
)


def bounds_table(runs: Sequence[RunRecords]) -> Table:
    """Errors, bits, the certified bound, the held-out bound and the majority-class error of each run.

    Where a run has bounds of its network before compression, of θ₀ alone or of a stochastic predictor too, they have columns. A
    run without a message is there with its stochastic predictor: the errors are estimates, with their margin.

    A bound that is vacuous or not below the majority-class error is marked. The smallest certified bound is bold among the
    runs that share the training examples and δ, if there are at least two. Raises DataError for a run without certificate.
    """
    first = ("task", "model", "parametrization", "projection", "δ", "d")
    training: tuple[str, ...] = ("errors", "n", "error (%)", "bits", "bound (%)")
    column = len(first) + training.index("bound (%)")
    beside = {head: column for head, column in _BESIDE.items() if any(column(run) is not NO_CELL for run in runs)}
    training += tuple(beside)
    held_out = ("error (%)", "n", "bound (%)")
    heads = (*first, *training, *held_out, "majority (%)")
    rows = [(*names, *_cells(run, beside=tuple(beside.values()))) for run, names in zip(runs, names_of(runs), strict=True)]
    rows = with_best(rows, column=column, keys=[comparable(run) for run in runs])
    marks = {cell.mark for cell in chain.from_iterable(rows)}
    return Table(
        name="bounds",
        heads=heads,
        numeric=(False,) * 4 + (True,) * (len(heads) - 4),
        rows=tuple(rows),
        caption=_caption(runs, has_best=any(row[column].best for row in rows)),
        notes=assumed(runs),
        marks=tuple(mark for mark in (VACUOUS, NO_BETTER, STOCHASTIC) if mark[0] in marks),
        groups=(("", len(first)), ("training set", len(training)), ("held-out set", len(held_out)), ("", 1)),
    )


def bound_cell(record: Origin, path: str, *, majority: float) -> Cell:
    """A bound rounded up, with the mark of one that says nothing or no more than guessing does."""
    cell = record.cell(path, percent_up)
    mark = VACUOUS if record.value(path) >= 1 else NO_BETTER if record.value(path) >= majority else ("", "")
    return replace(cell, mark=mark[0])


def _before_compression(run: RunRecords) -> Cell:
    return _bound_beside(run, run.before_compression, "certificate.value")


def _theta0_alone(run: RunRecords) -> Cell:
    file = run.certificate_file
    has_one = file is not None and file.without_message is not None
    return _bound_beside(run, run.certified if has_one else None, "without_message.value")


def _stochastic(run: RunRecords) -> Cell:
    return _bound_beside(run, None if run.certificate_file is None else run.drawn, "training.value")


def _bound_beside(run: RunRecords, record: Origin | None, path: str) -> Cell:
    return NO_CELL if record is None else bound_cell(record, path, majority=run.claimed.value("majority_error"))


#: Bounds of other predictors from the same training set: a column each, where a run has one.
_BESIDE: dict[str, Callable[[RunRecords], Cell]] = {
    "before compression (%)": _before_compression,
    "θ₀ alone (%)": _theta0_alone,
    "stochastic (%)": _stochastic,
}


def _cells(run: RunRecords, *, beside: Sequence[Callable[[RunRecords], Cell]]) -> tuple[Cell, ...]:
    claim, has_message = run.claimed, run.certificate_file is not None
    majority = claim.value("majority_error")
    d = NO_CELL if run.message is None else run.said.cell("d")
    return (
        claim.cell("training.delta", repr),
        d if has_message else claim.cell("d"),
        claim.cell("training.evidence.errors") if has_message else NO_CELL,
        claim.cell("training.evidence.n"),
        _risk(claim, "training", has_message=has_message),
        claim.cell("training.complexity.num_bits", bits_up),
        bound_cell(claim, "training.value", majority=majority),
        *(column(run) for column in beside),
        _risk(claim, "held_out", has_message=has_message),
        claim.cell("held_out.evidence.n"),
        bound_cell(claim, "held_out.value", majority=majority),
        claim.cell("majority_error", percent),
    )


def _risk(claim: Origin, part: str, *, has_message: bool) -> Cell:
    """Of a network as counted, of a law at most what its draws leave possible."""
    if has_message:
        return claim.cell(f"{part}.evidence.risk", percent)
    return replace(claim.cell(f"{part}.evidence.empirical_risk", percent_up), mark=STOCHASTIC[0])


def comparable(run: RunRecords) -> Hashable:
    """What two runs must share for their bounds to be ranked: the examples, hence n, and δ."""
    value = run.claimed.value
    examples = (value("training.evidence.examples_sha256"), value("training.evidence.n"))
    return run.spec.task.name, *examples, value("training.delta")


def with_best(rows: list[tuple[Cell, ...]], *, column: int, keys: Sequence[Hashable]) -> list[tuple[Cell, ...]]:
    """The rows with the smallest bound of each key in bold, unless its key is alone or the bound vacuous."""
    smallest: dict[Hashable, float] = {}
    for row, key in zip(rows, keys, strict=True):
        smallest[key] = min(smallest.get(key, 1.0), float(str(row[column].value)))
    shared = Counter(keys)
    return [
        tuple(as_best(cell) if index == column and cell.value == smallest[key] < 1 else cell for index, cell in enumerate(row))
        if shared[key] > 1
        else row
        for row, key in zip(rows, keys, strict=True)
    ]


def _caption(runs: Sequence[RunRecords], *, has_best: bool) -> str:
    best = (
        " Bold: the smallest bound of the runs that share training examples and δ; a claim that takes the smallest of m such "
        "bounds must pay log₂ m bits for the choice."
        if has_best
        else ""
    )
    return (
        "Certified bounds on the true risk of the decoded networks. errors: of the decoded network on its n training examples; "
        "bits: length of its message; majority: error of always guessing the most frequent class, on the held-out set."
        f"{best} {proved_signature(runs)}"
    )
