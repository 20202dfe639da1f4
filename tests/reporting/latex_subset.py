"""A strict reader of the LaTeX that idbounds writes: what is not in this subset is an error, as it would be to a compiler.

It knows the table environment, booktabs rules, S columns of siunitx and a short list of macros. `compiles` runs a real TeX
where the machine has one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MACROS = {
    *("begin", "end", "centering", "caption", "label", "small", "setlength", "tabcolsep", "toprule", "midrule", "bottomrule"),
    *("cmidrule", "multicolumn", "bfseries", "textsuperscript", "par", "smallskip", "footnotesize", "quad", "ldots"),
    *("textbackslash", "textasciitilde", "textasciicircum", "dagger", "ddagger"),
    *("leq", "geq", "pm", "times", "infty", "delta", "theta", "lambda", "(", ")", "\\", *"{}&%$#_"),
}
_COLUMN = re.compile(r"l|S\[table-format=(\d+)\.(\d+)(?:,[^\[\]]*)?\]")
_NUMERIC = re.compile(r"(?:\\bfseries )?(?P<number>-?\d+(?:\.\d+)?)(?:\{\\textsuperscript\{.*\}\})?")


@dataclass(frozen=True)
class Tabular:
    columns: list[str]
    lines: list[list[str]]
    caption: str


def read(text: str) -> Tabular:
    """The table in a text. Fails an assertion for anything that a compiler would trip over."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    _check_braces(body)
    _check_macros(body)
    _check_environments(body)
    assert body.count(r"\(") == body.count(r"\)")
    words = re.sub(r"\\\(.*?\\\)|\\[{}&%$#_]", "", body)
    assert not re.search(r"[%$#~^_]", words), "a special character outside mathematics is not escaped"
    caption = _argument(body, r"\caption")
    assert re.fullmatch(r"tab:idbounds-[a-z0-9-]+", _argument(body, r"\label"))
    preamble = _argument(body, r"\begin{tabular}")
    columns = [match[0] for match in _COLUMN.finditer(_without_options(preamble))]
    assert "".join(columns) == _without_options(preamble)
    top, middle, bottom = (body.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert body.count(r"\midrule") <= 2
    assert top < middle < bottom < body.index(r"\end{tabular}")
    heads = _lines(body[top + len(r"\toprule") : middle])
    rows = _lines(body[middle + len(r"\midrule") : bottom].replace(r"\midrule", ""))
    for line in [*heads, *rows]:
        assert sum(_span(cell) for cell in line) == len(columns), line
    for row in rows:
        for cell, column in zip(row, columns, strict=True):
            _check_cell(cell, column)
    return Tabular(columns, rows, caption)


def compiles(folder: Path, *tables: str) -> subprocess.CompletedProcess[str] | None:
    """The outcome of a TeX with booktabs and siunitx on these tables; None where the machine has none."""
    engines = {"tectonic": [], "pdflatex": ["-interaction=nonstopmode", "-halt-on-error"]}
    engine = next((name for name in engines if shutil.which(name)), None)
    if engine is None:
        return None
    parts = [r"\documentclass{article}", r"\usepackage[a4paper,margin=2cm]{geometry}", r"\usepackage{booktabs,siunitx}"]
    document = [*parts, r"\begin{document}", *tables, r"\end{document}"]
    (folder / "tables.tex").write_text("\n".join(document), encoding="utf-8")
    command = [engine, *engines[engine], "tables.tex"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _check_braces(body: str) -> None:
    depth = 0
    for character in re.sub(r"\\[{}]", "", body):
        depth += (character == "{") - (character == "}")
        assert depth >= 0, "a brace is closed that was not opened"
    assert depth == 0, "a brace is not closed"


def _check_macros(body: str) -> None:
    used = set(re.findall(r"\\([A-Za-z]+|.)", body, flags=re.DOTALL))
    assert used <= MACROS, f"unknown macros: {sorted(used - MACROS)}"


def _check_environments(body: str) -> None:
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []


def _argument(body: str, macro: str) -> str:
    """What stands in the braces after a macro that occurs once."""
    assert body.count(macro + "{") == 1, macro
    start = body.index(macro + "{") + len(macro) + 1
    depth, at = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(body[at], 0) if body[at - 1] != "\\" else 0
        at += 1
    return body[start : at - 1]


def _without_options(preamble: str) -> str:
    """Column letters and number formats, without what else siunitx is told."""
    return re.sub(r"(S\[table-format=\d+\.\d+)[^\[\]]*\]", r"\1]", preamble)


def _lines(part: str) -> list[list[str]]:
    """The cells of each line; rules between lines are left out."""
    rules = re.compile(r"\\cmidrule\(lr\)\{\d+-\d+\}")
    lines = [line.strip() for line in rules.sub("", part).split(r"\\")]
    assert lines.pop() == "", "the last line is not ended"
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def _span(cell: str) -> int:
    match = re.match(r"\\multicolumn\{(\d+)\}\{c\}\{", cell)
    return int(match[1]) if match else 1


def _check_cell(cell: str, column: str) -> None:
    if cell.startswith("{"):
        assert cell.endswith("}")
        return
    number, size = _NUMERIC.fullmatch(cell), _COLUMN.fullmatch(column)
    assert size is not None
    assert column != "l", f"text without braces: {cell}"
    assert number is not None, f"neither a number nor braced: {cell}"
    whole, _, places = number["number"].partition(".")
    assert len(whole) <= int(size[1]), f"{cell} is too wide for {column}"
    assert len(places) <= int(size[2]), f"{cell} is too wide for {column}"
