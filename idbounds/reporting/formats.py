"""The formats of a table by the ending of their files."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from idbounds.reporting.extras import load
from idbounds.reporting.html import to_html_page
from idbounds.reporting.latex import to_latex
from idbounds.reporting.rounding import printable
from idbounds.reporting.table import Cell, Table, Value

_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def to_markdown(table: Table) -> str:
    """A pipe table, the caption below it in italics, the notes as a list."""
    tabulate = load("tabulate").tabulate
    body = tabulate(
        [[_markdown_cell(cell) for cell in row] for row in table.rows],
        headers=[_markdown(head) for head in table.flat_heads],
        tablefmt="pipe",
        disable_numparse=True,  # 27.50 stays 27.50
        colalign=["right" if numeric else "left" for numeric in table.numeric],
    )
    notes = "".join(f"\n- {_markdown(note)}" for note in _below(table))
    return f"{body}\n\n*{_markdown(table.caption)}*\n" + (f"{notes}\n" if notes else "")


def _markdown_cell(cell: Cell) -> str:
    text = _markdown(f"{cell.text} {cell.mark}" if cell.mark else cell.text)
    return f"**{text}**" if cell.best else text


def _markdown(text: str) -> str:
    """Text that neither ends its cell nor begins a tag. Stars and underscores are left as they are, to be read as text too."""
    return _TAG.sub("&lt;", printable(text)).replace("|", "\\|")


def to_csv(table: Table) -> str:
    """The stored values at full precision (fractions, not percent); the caption in leading lines that start with #.

    An interval becomes two columns, a value with its interval three, the signs of marked cells one. Where cells know their
    records, a last column `source` names the files and hashes of each row.
    """
    columns: dict[str, list[Value]] = {}
    for index, head in enumerate(table.flat_heads):
        cells = [row[index] for row in table.rows]
        columns |= _columns(head.replace(" (%)", ""), cells)
    sources: list[Value] = [_records(row) for row in table.rows]
    if any(sources):
        columns["source"] = sources
    comments = "".join(f"# {printable(line)}\n" for line in (table.caption, *_below(table)))
    return comments + pd.DataFrame(columns, dtype=object).to_csv(index=False, lineterminator="\n")


def _below(table: Table) -> list[str]:
    return [*(f"{sign}: {text}" for sign, text in table.marks), *table.notes]


def _columns(head: str, cells: list[Cell]) -> dict[str, list[Value]]:
    """The columns of a csv that one column of a table becomes."""
    marks: dict[str, list[Value]] = {f"{head} mark": [cell.mark for cell in cells]} if any(cell.mark for cell in cells) else {}
    values = [cell.value if isinstance(cell.value, tuple) else (cell.value,) for cell in cells]
    width = max(map(len, values), default=1)
    names = {1: (head,), 2: (f"{head} lower", f"{head} upper"), 3: (head, f"{head} lower", f"{head} upper")}[width]
    padded = [(*value, *(None,) * (width - len(value))) for value in values]
    return {name: [value[place] for value in padded] for place, name in enumerate(names)} | marks


def _records(row: tuple[Cell, ...]) -> str:
    """The files and short hashes that a row was read from, each once."""
    named = dict.fromkeys(f"{source.file} {source.sha256[:12]}" for cell in row for source in cell.sources)
    return "; ".join(named)


def trace_csv(table: Table) -> str:
    """Where each cell was read: row, column, what is printed and stored, file, hash of its record, field."""
    return pd.DataFrame(list(table.trace()), dtype=object).to_csv(index=False, lineterminator="\n")


FORMATS: dict[str, Callable[[Table], str]] = {"tex": to_latex, "md": to_markdown, "csv": to_csv, "html": to_html_page}
