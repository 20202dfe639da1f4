"""A table before it has a format, and its three formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from idbounds.reporting.extras import load

#: What is set where there is no number. In an S column of siunitx it needs braces.
NOTHING = "–"

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """The stored value (for CSV, exact) and how it is printed."""

    value: float | int | str | None
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under heads; `numeric` says which columns are aligned as numbers."""

    name: str
    heads: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> pd.DataFrame:
        """Printed cells."""
        return pd.DataFrame([[cell.text for cell in row] for row in self.rows], columns=list(self.heads))


def to_latex(table: Table) -> str:
    r"""A booktabs table with siunitx S columns, for ``\usepackage{booktabs,siunitx}``."""
    load("jinja2")  # what pandas' Styler is made with
    cells = pd.DataFrame(
        [[_latex_cell(cell.text, numeric) for cell, numeric in zip(row, table.numeric, strict=True)] for row in table.rows],
        columns=[escape_latex(head) for head in table.heads],
    )
    body = cells.style.hide(axis="index").to_latex(
        column_format="".join(_column_format(table, index) for index in range(len(table.heads))),
        position="tbp",
        position_float="centering",
        hrules=True,
        caption=escape_latex(table.caption),
        label=f"tab:idbounds-{table.name}",
        siunitx=True,
    )
    notes = "".join(f"% {escape_latex(note)}\n" for note in table.notes)
    return f"% \\usepackage{{booktabs,siunitx}}\n{notes}{body}"


def to_markdown(table: Table) -> str:
    """A pipe table, the caption below it in italics, the notes as a list."""
    load("tabulate")
    body = table.texts.to_markdown(
        index=False,
        disable_numparse=True,  # 27.50 stays 27.50
        colalign=["right" if numeric else "left" for numeric in table.numeric],
    )
    notes = "".join(f"\n- {note}" for note in table.notes)
    return f"{body}\n\n*{table.caption}*\n" + (f"{notes}\n" if notes else "")


def to_csv(table: Table) -> str:
    """The stored values at full precision (fractions, not percent); the caption in leading lines that start with #."""
    values = pd.DataFrame([[cell.value for cell in row] for row in table.rows], columns=list(_plain_heads(table)), dtype=object)
    comments = "".join(f"# {line}\n" for line in (table.caption, *table.notes))
    return comments + values.to_csv(index=False, lineterminator="\n")


FORMATS: dict[str, Callable[[Table], str]] = {"tex": to_latex, "md": to_markdown, "csv": to_csv}

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\(<\)",
        ">": r"\(>\)",
        "≤": r"\(\leq\)",
        "≥": r"\(\geq\)",
        "±": r"\(\pm\)",
        "δ": r"\(\delta\)",
        "θ": r"\(\theta\)",
        "λ": r"\(\lambda\)",
        "₀": r"\(_0\)",
        "–": "--",
        "…": r"\ldots{}",
        "\n": " ",
    }
)


def escape_latex(text: str) -> str:
    """Text for LaTeX. Styler escapes cells only, by a private function, and not the symbols that we print."""
    return text.translate(_LATEX)


def _latex_cell(text: str, numeric: bool) -> str:
    return text if numeric and _NUMBER.fullmatch(text) else f"{{{escape_latex(text)}}}"


def _column_format(table: Table, index: int) -> str:
    """S with as many places as the widest number takes, so that siunitx centres without warnings."""
    if not table.numeric[index]:
        return "l"
    numbers = [row[index].text for row in table.rows if _NUMBER.fullmatch(row[index].text)]
    whole = max((len(number.partition(".")[0]) for number in numbers), default=1)
    places = max((len(number.partition(".")[2]) for number in numbers), default=0)
    return f"S[table-format={whole}.{places}]"


def _plain_heads(table: Table) -> tuple[str, ...]:
    return tuple(head.removesuffix(" (%)") for head in table.heads)
