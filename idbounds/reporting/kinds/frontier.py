"""What the search for the smallest bound tried: the messages that no other beats in bits and errors both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from idbounds.reporting.kinds.bounds import VACUOUS
from idbounds.reporting.kinds.signature import labels, proved_signature
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import Cell, Table

CHOSEN = ("*", "chosen: what the message of the run holds")


def frontier_table(runs: Sequence[RunRecords]) -> Table:
    """The efficient points of each run by increasing bits, and the chosen one, which is marked.

    Every point was counted on the training set and its bits pay for the choice, so each bound alone holds with the δ of the
    run. Raises DataError for a run without frontier.json or certificate.
    """
    rows = [row for run, label in zip(runs, labels(runs), strict=True) for row in _rows(run, label)]
    vacuous = any(cell.mark == VACUOUS[0] for row in rows for cell in row)
    tried = sum(len(run.searched.value("points")) for run in runs)
    return Table(
        name="frontier",
        heads=("run", "tried as", "code", "d", "seed", "step", "bits", "errors", "n", "error (%)", "bound (%)"),
        numeric=(False, False, False, *(True,) * 8),
        rows=tuple(rows),
        caption=(
            f"Messages that were tried ({tried} in all): those that no other beats in bits and training errors both, and the "
            f"chosen ones. errors: of the decoded network on its n training examples. {proved_signature(runs)}"
        ),
        marks=(CHOSEN, *((VACUOUS,) if vacuous else ())),
    )


def _rows(run: RunRecords, label: str) -> list[tuple[Cell, ...]]:
    record = run.searched
    points, chosen = record.value("points"), record.value("chosen")
    efficient = record.value("efficient")()
    places = {next(place for place, one in enumerate(points) if one == point) for point in efficient}
    # Of equal points the chosen one may be another than the first; it is printed once.
    places = {place for place in places if points[place] != points[chosen]} | {chosen}
    return [_row(run, label, place, is_chosen=place == chosen) for place in sorted(places, key=lambda at: points[at].bits)]


def _row(run: RunRecords, label: str, place: int, *, is_chosen: bool) -> tuple[Cell, ...]:
    record, point = run.searched, f"points.{place}"
    tried_as, bound = record.cell(f"{point}.tried_as"), record.cell(f"{point}.bound", percent_up)
    counts = tuple(record.source(f"{point}.{field}") for field in ("errors", "n"))
    errors, n = record.value(f"{point}.errors"), record.value(f"{point}.n")
    return (
        run.specified.derived(label, label, paths=("task.name",), how="label"),
        replace(tried_as, mark=CHOSEN[0]) if is_chosen else tried_as,
        record.cell(f"{point}.code"),
        record.cell(f"{point}.d"),
        record.cell(f"{point}.seed"),
        record.cell(f"{point}.step", lambda step: f"{step:.4g}"),
        record.cell(f"{point}.bits", bits_up),
        record.cell(f"{point}.errors"),
        record.cell(f"{point}.n"),
        Cell(errors / n, percent(errors / n), counts, "errors / n"),
        replace(bound, mark=VACUOUS[0]) if record.value(f"{point}.bound") >= 1 else bound,
    )
