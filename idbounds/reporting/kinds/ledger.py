"""What the messages of runs consist of, in bits: a row a part, a column a run."""

from __future__ import annotations

from collections.abc import Sequence

from idbounds.reporting.kinds.signature import distinct, labels, proved_signature
from idbounds.reporting.rounding import bits_up
from idbounds.reporting.run_records import RunRecords
from idbounds.reporting.table import NO_CELL, Cell, Table, text_cell

#: A part's name, and how many parts of that name came before it in one ledger.
Part = tuple[str, int]
_LEDGER = "training.complexity.ledger"


def runs_ledger_table(runs: Sequence[RunRecords]) -> Table:
    """The itemised bits of one run, with what each part names, or of several side by side.

    Raises DataError for a run without certificate.
    """
    places = [_places(run) for run in runs]
    parts = distinct(part for found in places for part in found)
    rows = [
        (text_cell(part[0]), *(_bits(run, found.get(part)) for run, found in zip(runs, places, strict=True))) for part in parts
    ]
    rows.append((text_cell("total"), *(run.certified.cell("training.complexity.num_bits", bits_up) for run in runs)))
    heads = ("part", *(f"{label} (bits)" for label in labels(runs)))
    if len(runs) == 1:
        names = [runs[0].certified.cell(f"{_LEDGER}.{places[0][part]}.reason") for part in parts]
        rows = [(*row, name) for row, name in zip(rows, [*names, NO_CELL], strict=True)]
        heads = (*heads, "what it names")
    return Table(
        name="ledger",
        heads=heads,
        numeric=(False, *(True for _ in runs), *(False for _ in heads[len(runs) + 1 :])),
        rows=tuple(rows),
        caption=(
            "What the messages consist of: bits of each part, rounded up to a tenth. Their sum is what a bound pays for all "
            f"that was chosen after seeing the data. {proved_signature(runs)}"
        ),
        has_total=True,
    )


def _places(run: RunRecords) -> dict[Part, int]:
    """Where each part stands in a ledger."""
    found: dict[Part, int] = {}
    for place, item in enumerate(run.certified.value(_LEDGER)):
        before = sum(name == item.name for name, _ in found)
        found[item.name, before] = place
    return found


def _bits(run: RunRecords, place: int | None) -> Cell:
    return NO_CELL if place is None else run.certified.cell(f"{_LEDGER}.{place}.bits", bits_up)
