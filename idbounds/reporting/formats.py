"""The formats of a table by the ending of their files."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from idbounds.reporting.extras import load
from idbounds.reporting.html import to_html_page
from idbounds.reporting.latex import to_latex
from idbounds.reporting.table import Cell, Table, Value, printed


def to_markdown(table: Table) -> str:
    """A pipe table, the caption below it in italics, the notes as a list."""
    tabulate = load("tabulate").tabulate
    body = tabulate(
        [[f"**{printed(cell)}**" if cell.best else printed(cell) for cell in row] for row in table.rows],
        headers=list(table.flat_heads),
        tablefmt="pipe",
        disable_numparse=True,  # 27.50 stays 27.50
        colalign=["right" if numeric else "left" for numeric in table.numeric],
    )
    notes = "".join(f"\n- {note}" for note in _below(table))
    return f"{body}\n\n*{table.caption}*\n" + (f"{notes}\n" if notes else "")


def to_csv(table: Table) -> str:
    """The stored values at full precision (fractions, not percent); the caption in leading lines that start with #.

    An interval becomes two columns, the signs of marked cells one. Where cells know their records, a last column
    `source` names the files and hashes of each row.
    """
    columns: dict[str, list[Value]] = {}
    for index, head in enumerate(table.flat_heads):
        cells = [row[index] for row in table.rows]
        columns |= _columns(head.replace(" (%)", ""), cells)
    sources: list[Value] = [_records(row) for row in table.rows]
    if any(sources):
        columns["source"] = sources
    comments = "".join(f"# {line}\n" for line in (table.caption, *_below(table)))
    return comments + pd.DataFrame(columns, dtype=object).to_csv(index=False, lineterminator="\n")


def _below(table: Table) -> list[str]:
    return [*(f"{sign}: {text}" for sign, text in table.marks), *table.notes]


def _columns(head: str, cells: list[Cell]) -> dict[str, list[Value]]:
    values = [cell.value for cell in cells]
    marks: dict[str, list[Value]] = {f"{head} mark": [cell.mark for cell in cells]} if any(cell.mark for cell in cells) else {}
    if not any(isinstance(value, tuple) for value in values):
        return {head: [value for value in values if not isinstance(value, tuple)], **marks}
    pairs = [value if isinstance(value, tuple) else (value, value) for value in values]
    return {f"{head} lower": [low for low, _ in pairs], f"{head} upper": [high for _, high in pairs], **marks}


def _records(row: tuple[Cell, ...]) -> str:
    """The files and short hashes that a row was read from, each once."""
    named = dict.fromkeys(f"{source.file} {source.sha256[:12]}" for cell in row for source in cell.sources)
    return "; ".join(named)


def trace_csv(table: Table) -> str:
    """Where each cell was read: row, column, what is printed and stored, file, hash of its record, field."""
    return pd.DataFrame(list(table.trace()), dtype=object).to_csv(index=False, lineterminator="\n")


FORMATS: dict[str, Callable[[Table], str]] = {"tex": to_latex, "md": to_markdown, "csv": to_csv, "html": to_html_page}
