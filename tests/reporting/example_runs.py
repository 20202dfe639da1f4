"""Runs made up for tables of several, and the tables of each kind."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO

from example_run import example_run

from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.reporting.formats import to_csv
from idbounds.reporting.kinds import bounds_table, comparison_table, d90_table, frontier_table, runs_ledger_table
from idbounds.reporting.run_records import RunRecords

SMALL, LARGE = 0.27401, 0.41


def records(folder="one", *, bound=SMALL, n=None, delta=0.05, task=None) -> RunRecords:
    run = example_run(training_bound=bound)
    file = run.certificate_file
    evidence = file.training.evidence.model_copy(update={} if n is None else {"n": n})
    training = file.training.model_copy(update={"delta": delta, "evidence": evidence})
    spec = run.spec
    if task is not None:
        spec = spec.model_copy(update={"task": spec.task.model_copy(update={"name": task})})
    return RunRecords(
        folder=folder,
        spec=spec,
        dimensions=tuple(run.dimensions),
        certificate_file=file.model_copy(update={"training": training}),
        message=run.message,
        frontier=Frontier(spec_sha256=spec.sha256, points=POINTS, chosen=3),
    )


def point(bits, errors, bound):
    return FrontierPoint(
        d=10, seed=0, step=0.25, code="ternary", tried_as="trained on", bits=bits, errors=errors, n=1500, bound=bound
    )


#: The second is beaten by the first, the fourth by the third.
POINTS = (point(100, 300, 0.3), point(120, 300, 0.31), point(433, 180, 0.27401), point(440, 181, 0.28), point(9000, 0, 1.0))


def compared(runs):
    """With made-up ratios: each kind of them that there is."""
    made = (Made(1.5, 0.9, 2.5), Made(None, None, None), "its trials are gone")
    return comparison_table(runs, ratios={"paper": made[: len(runs) - 1], "chance_corrected": made[: len(runs) - 1]})


@dataclass(frozen=True)
class Made:
    value: float | None
    lower: float | None
    upper: float | None
    level: float = 0.9


#: Every kind by its name.
TABLES = {
    "d90": d90_table,
    "bounds": bounds_table,
    "ledger": runs_ledger_table,
    "frontier": frontier_table,
    "comparison": compared,
}


def csv_of(table):
    return list(csv.DictReader(line for line in StringIO(to_csv(table)) if not line.startswith("#")))
