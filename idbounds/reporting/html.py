"""Tables as HTML that needs no script: a caption, heads with their scope, and the record of each cell."""

from __future__ import annotations

from html import escape

from idbounds.reporting.rounding import printable
from idbounds.reporting.table import Cell, Table

#: Enough to read it alone; a page that embeds the table has its own.
_STYLE = (
    "body{font-family:serif;margin:2em auto;max-width:60em;padding:0 1em}"
    "table{border-collapse:collapse;border-top:2px solid;border-bottom:2px solid}"
    "caption{text-align:left;padding-bottom:.6em}"
    "th,td{padding:.2em .7em;text-align:left;font-weight:normal}"
    "thead{border-bottom:1px solid}"
    "tbody+tbody,tfoot{border-top:1px solid}tfoot{font-size:smaller}"
    ".number{text-align:right;font-variant-numeric:tabular-nums}"
)


def to_html(table: Table) -> str:
    """The element `table` alone, for a page. The `title` of a cell names file, hash and field of its record."""
    width = len(table.heads)
    heads = "".join(_head(head, numeric) for head, numeric in zip(table.heads, table.numeric, strict=True))
    rows = [f"<tr>{_row(row, table.numeric)}</tr>\n" for row in table.rows]
    if table.has_total:  # a body of its own, above which a rule can be set
        rows.insert(-1, "</tbody>\n<tbody>\n")
    below = [f"<sup>{_safe(sign)}</sup> {_safe(text)}" for sign, text in table.marks] + [*map(_safe, table.notes)]
    notes = "".join(f'<tr><td colspan="{width}">{note}</td></tr>\n' for note in below)
    return (
        f'<table id="tab-idbounds-{_safe(table.name)}">\n'
        f"<caption>{_safe(table.caption)}</caption>\n"
        f"<thead>\n{_groups(table)}<tr>{heads}</tr>\n</thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody>\n" + (f"<tfoot>\n{notes}</tfoot>\n" if notes else "") + "</table>\n"
    )


def to_html_page(table: Table) -> str:
    """A page with nothing but the table."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>idbounds: {_safe(table.name)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{to_html(table)}</body>\n</html>\n"
    )


def _groups(table: Table) -> str:
    if not table.groups:
        return ""
    cells = (
        f'<th scope="colgroup" colspan="{span}">{_safe(text)}</th>' if text else f'<td colspan="{span}"></td>'
        for text, span in table.groups
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _head(text: str, numeric: bool) -> str:
    return f'<th scope="col"{_class(numeric)}>{_safe(text)}</th>'


def _row(row: tuple[Cell, ...], numeric: tuple[bool, ...]) -> str:
    """The first cell is the head of its row."""
    first, *others = zip(row, numeric, strict=True)
    head = f'<th scope="row"{_class(first[1])}{_title(first[0])}>{_text(first[0])}</th>'
    return head + "".join(f"<td{_class(number)}{_title(cell)}>{_text(cell)}</td>" for cell, number in others)


def _class(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _title(cell: Cell) -> str:
    return f' title="{_safe(cell.origin)}"' if cell.sources else ""


def _text(cell: Cell) -> str:
    text = f"<strong>{_safe(cell.text)}</strong>" if cell.best else _safe(cell.text)
    return text + (f"<sup>{_safe(cell.mark)}</sup>" if cell.mark else "")


def _safe(text: str) -> str:
    return escape(printable(text))
