r"""Tables for LaTeX: booktabs rules, and columns of numbers that siunitx aligns at the point.

The preamble needs ``\usepackage{booktabs,siunitx}``; a bold number in an S column needs version 3 of siunitx (2021) or later.
"""

from __future__ import annotations

import re

from idbounds.reporting.table import Cell, Table

NUMBER = re.compile(r"-?\d+(\.\d+)?")

_SYMBOLS = str.maketrans(
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
        "×": r"\(\times\)",
        "∞": r"\(\infty\)",
        "−": r"\(-\)",
        "δ": r"\(\delta\)",
        "θ": r"\(\theta\)",
        "λ": r"\(\lambda\)",
        "₀": r"\(_0\)",
        "₂": r"\(_2\)",
        "–": "--",
        "…": r"\ldots{}",
        "\n": " ",
    }
)


def escape_latex(text: str) -> str:
    """Text for LaTeX."""
    return text.translate(_SYMBOLS)


def to_latex(table: Table) -> str:
    r"""A booktabs table with siunitx S columns, for ``\usepackage{booktabs,siunitx}``. Notes are comments above it."""
    lines = [
        r"% \usepackage{booktabs,siunitx}",
        *(f"% {escape_latex(note)}" for note in table.notes),
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:idbounds-{table.name}}}",
        rf"\begin{{tabular}}{{{''.join(_column_format(table, index) for index in range(len(table.heads)))}}}",
        r"\toprule",
        *_group_lines(table),
        _line([f"{{{escape_latex(head)}}}" for head in table.heads]),
        r"\midrule",
        *(_line([_cell(cell, numeric) for cell, numeric in zip(row, table.numeric, strict=True)]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _group_lines(table: Table) -> list[str]:
    """The line above the heads, and a rule under each of its texts."""
    if not table.groups:
        return []
    cells, rules, start = [], [], 1
    for text, span in table.groups:
        cells.append(rf"\multicolumn{{{span}}}{{c}}{{{escape_latex(text)}}}" if text else " & ".join(["{}"] * span))
        rules += [rf"\cmidrule(lr){{{start}-{start + span - 1}}}"] if text else []
        start += span
    return [_line(cells), " ".join(rules)]


def _cell(cell: Cell, numeric: bool) -> str:
    mark = rf"\textsuperscript{{{cell.mark}}}" if cell.mark else ""
    bold = r"\bfseries " if cell.best else ""
    if numeric and NUMBER.fullmatch(cell.text):
        return f"{bold}{cell.text}" + (f"{{{mark}}}" if mark else "")
    return f"{{{bold}{escape_latex(cell.text)}{mark}}}"


def _column_format(table: Table, index: int) -> str:
    """S with as many places as the widest number takes, so that siunitx centres without warnings."""
    if not table.numeric[index]:
        return "l"
    cells = [row[index] for row in table.rows if NUMBER.fullmatch(row[index].text)]
    whole = max((len(cell.text.partition(".")[0]) for cell in cells), default=1)
    places = max((len(cell.text.partition(".")[2]) for cell in cells), default=0)
    options = [f"table-format={whole}.{places}"]
    if any(cell.best for cell in cells):  # in text mode, where the digits take the weight of what stands around them
        options += ["mode=text", "reset-text-series=false"]
    marks = sorted({cell.mark for cell in cells if cell.mark})
    if marks:  # room after the digits, so that a marked number stays in line
        options.append(rf"table-space-text-post=\textsuperscript{{{marks[-1]}}}")
    return f"S[{','.join(options)}]"
