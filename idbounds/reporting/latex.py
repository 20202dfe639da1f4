r"""Tables for LaTeX: booktabs rules, and columns of numbers that siunitx aligns at the point.

The preamble needs ``\usepackage{booktabs,siunitx}``; a bold number in an S column needs version 3 of siunitx (2021) or later.
"""

from __future__ import annotations

import re

from idbounds.reporting.rounding import printable
from idbounds.reporting.table import Cell, Table

#: A table of more columns than these is set smaller and closer, or it would not fit on a page of 17 cm.
_WIDE = 8
_NUMBER = re.compile(r"-?\d+(\.\d+)?")

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
        "†": r"\(\dagger\)",
        "‡": r"\(\ddagger\)",
        "§": r"\S{}",
        "–": "--",
        "…": r"\ldots{}",
    }
)


def escape_latex(text: str) -> str:
    """Text for LaTeX. Letters that are not among our symbols stay, as UTF-8."""
    return printable(text).translate(_SYMBOLS)


def _with_symbols(text: str) -> str:
    """Heads and captions, where d90, and d and n that stand alone or before a number, are set as mathematics."""
    escaped = re.sub(r"\b([dn]) = (\d+)\b", r"\(\1 = \2\)", escape_latex(text))
    escaped = re.sub(r"^[dn]$", r"\(\g<0>\)", escaped)
    return re.sub(r"\bd90\b", r"\(d_{90}\)", escaped)


def to_latex(table: Table) -> str:
    r"""A booktabs table with siunitx S columns, for ``\usepackage{booktabs,siunitx}``. Notes are comments above it."""
    lines = [
        r"% \usepackage{booktabs,siunitx}",
        *(f"% {escape_latex(note)}" for note in table.notes),
        r"\begin{table}[tbp]",
        r"\centering",
        rf"\caption{{{_with_symbols(table.caption)}}}",
        rf"\label{{tab:idbounds-{table.name}}}",
        *([r"\small\setlength{\tabcolsep}{3pt}"] if len(table.heads) > _WIDE else []),
        rf"\begin{{tabular}}{{{''.join(_column_format(table, index) for index in range(len(table.heads)))}}}",
        r"\toprule",
        *_group_lines(table),
        _line([f"{{{_with_symbols(head)}}}" for head in table.heads]),
        r"\midrule",
        *_row_lines(table),
        r"\bottomrule",
        r"\end{tabular}",
        *_mark_lines(table),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _row_lines(table: Table) -> list[str]:
    lines = [_line([_cell(cell, numeric) for cell, numeric in zip(row, table.numeric, strict=True)]) for row in table.rows]
    return [*lines[:-1], r"\midrule", lines[-1]] if table.has_total else lines


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


def _mark_lines(table: Table) -> list[str]:
    """What the marks mean, under the table."""
    marks = r" \quad ".join(f"{_raised(sign)} {escape_latex(text)}" for sign, text in table.marks)
    return [rf"\par\smallskip{{\footnotesize {marks}\par}}"] if marks else []


def _raised(sign: str) -> str:
    return rf"\textsuperscript{{{escape_latex(sign)}}}"


def _cell(cell: Cell, numeric: bool) -> str:
    mark = _raised(cell.mark) if cell.mark else ""
    bold = r"\bfseries " if cell.best else ""
    if numeric and _NUMBER.fullmatch(cell.text):
        return f"{bold}{cell.text}" + (f"{{{mark}}}" if mark else "")
    return f"{{{bold}{escape_latex(cell.text)}{mark}}}"


def _column_format(table: Table, index: int) -> str:
    """S with as many places as the widest number takes, so that siunitx centres without warnings."""
    if not table.numeric[index]:
        return "l"
    cells = [row[index] for row in table.rows if _NUMBER.fullmatch(row[index].text)]
    whole = max((len(cell.text.partition(".")[0]) for cell in cells), default=1)
    places = max((len(cell.text.partition(".")[2]) for cell in cells), default=0)
    options = [f"table-format={whole}.{places}"]
    if any(cell.best for cell in cells):  # in text mode, where the digits take the weight of what stands around them
        options += ["mode=text", "reset-text-series=false"]
    marks = sorted({cell.mark for cell in cells if cell.mark})
    if marks:  # room after the digits, so that a marked number stays in line
        options.append(f"table-space-text-post={_raised(marks[-1])}")
    return f"S[{','.join(options)}]"
