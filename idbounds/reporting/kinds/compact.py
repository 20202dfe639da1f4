"""Narrower tables for print: what all rows share is said once, in a head or in the caption."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from idbounds.reporting.table import Table

#: Heads of columns that are said in the caption where all rows, at least two, share one text; the signature has δ already.
_SAID_ONCE = ("model", "parametrization", "projection", "δ")
_SIZE = "n"


def compact(table: Table) -> Table:
    """Move shared sample sizes into the head before them, and shared names into the caption.

    A column "n" belongs to the column on its left. Formats that machines read keep every column.
    """
    shared = [len({row[index].text for row in table.rows}) == 1 for index in range(len(table.heads))]
    several = len(table.rows) > 1
    sizes = [index for index, head in enumerate(table.heads) if head == _SIZE and shared[index]]
    names = [index for index, head in enumerate(table.heads) if head in _SAID_ONCE and shared[index] and several]
    kept = [index for index in range(len(table.heads)) if index not in {*sizes, *names}]
    heads = list(table.heads)
    for index in sizes:
        heads[index - 1] += f", n = {table.rows[0][index].text}"
    said = ", ".join(f"{table.heads[index]} {table.rows[0][index].text}" for index in names if table.heads[index] != "δ")
    ends = list(accumulate((span for _, span in table.groups), initial=0))
    groups = [
        (text, sum(start <= index < end for index in kept))
        for (text, _), start, end in zip(table.groups, ends, ends[1:], strict=False)
    ]
    return replace(
        table,
        heads=tuple(heads[index] for index in kept),
        numeric=tuple(table.numeric[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
        caption=table.caption + (f" All rows: {said}." if said else ""),
        groups=tuple(group for group in groups if group[1]),
    )
