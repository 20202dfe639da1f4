"""d90 of runs: a row a run, a group of columns a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from idbounds.core.errors import DataError
from idbounds.reporting.kinds.signature import distinct, labels, measured_signature, percentages
from idbounds.reporting.rounding import percent
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import NO_CELL, Cell, Origin, Table, Value


def d90_table(runs: Sequence[RunRecords]) -> Table:
    """Task, model, what moves, full fine-tuning, and under each rule target, d90 and its interval.

    Values outside the grid are printed as such, "> 1000". Raises DataError for a run without d90.
    """
    for run in runs:
        if not run.dimensions:
            raise DataError(f"{run.folder} has no d90.*.json; `idbounds measure` writes them")
    rules = distinct(dimension.rule for run in runs for dimension in run.dimensions)
    first = ("task", "model", "parametrization", "projection", "weights", "seeds", "full (%)", "n")
    heads = (*first, *("target (%)", "d90", f"{percentages(levels_of(runs))} interval") * len(rules))
    return Table(
        name="d90",
        heads=heads,
        numeric=(False,) * 4 + (True,) * (len(first) - 4) + (True, True, False) * len(rules),
        rows=tuple((*names, *_cells(run, rules=rules)) for run, names in zip(runs, names_of(runs), strict=True)),
        caption=(
            "Intrinsic dimension d90: the smallest d whose test accuracy reaches the target, with bootstrap interval. "
            "< and > mark values outside the d that were measured. "
            f"Accuracies are on the test part, its size is n; full: full fine-tuning. {measured_signature(runs)}"
        ),
        groups=(("", len(first)), *((f"rule: {rule.replace('_', ' ')}", 3) for rule in rules)),
    )


def levels_of(runs: Sequence[RunRecords]) -> tuple[float, ...]:
    """The levels of the intervals of d90, each once."""
    return distinct(dimension.level for run in runs for dimension in run.dimensions)


def _cells(run: RunRecords, *, rules: Sequence[str]) -> tuple[Cell, ...]:
    spec, measured = run.specified, [run.measured(rule) for rule in rules]
    full = [record for record in measured if record is not None and record.value("baseline_accuracy") is not None]
    return (
        spec.cell("model.num_weights"),
        spec.derived(len(run.spec.menu.seeds), str(len(run.spec.menu.seeds)), paths=("menu.seeds",), how="count"),
        full[0].cell("baseline_accuracy", percent) if full else NO_CELL,
        spec.cell("task.test.n"),
        *(cell for record in measured for cell in ((NO_CELL,) * 3 if record is None else _rule_cells(record))),
    )


def names_of(runs: Sequence[RunRecords]) -> list[tuple[Cell, ...]]:
    """Task, model, parametrization and projection of each run; the task with the run's folder where all four repeat."""
    names = [_names(run) for run in runs]
    if len({tuple(cell.text for cell in row) for row in names}) == len(names):
        return names
    return [(replace(row[0], text=label), *row[1:]) for row, label in zip(names, labels(runs), strict=True)]


def _names(run: RunRecords) -> tuple[Cell, ...]:
    spec = run.specified
    return (
        spec.cell("task.name"),
        spec.cell("model.name"),
        spec.cell("parametrization", _words),
        spec.cell("projection", _words),
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rule_cells(record: Origin) -> tuple[Cell, ...]:
    return (record.cell("target_accuracy", percent), *_estimate_cells(record))


def censored(record: Origin) -> tuple[Value, Value, Value]:
    """d90 and both ends of its interval; one outside the grid is the text that says so, in the csv too."""
    numbers = record.value("value"), record.value("lower"), record.value("upper")
    value, lower, upper = (
        text if number is None else number for number, text in zip(numbers, record.value("printed")(), strict=True)
    )
    return value, lower, upper


def _estimate_cells(record: Origin) -> tuple[Cell, Cell]:
    """d90, and its interval in one cell."""
    (value, *ends), texts = censored(record), record.value("printed")()
    interval = record.derived(tuple(ends), f"[{texts[1]}, {texts[2]}]", paths=("lower", "upper"), how="interval")
    return Cell(value, texts[0], (record.source("value"),)), interval
