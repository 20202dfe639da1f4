"""Write docs/theory: one page a bound, from its docstring, its sympy formula and its registry entry.

python scripts/make_bound_pages.py           write the pages
python scripts/make_bound_pages.py --check   exit with 1 if a page is not up to date
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

import sympy

from idbounds.bounds import BOUNDS
from idbounds.bounds.base import Bound

FOLDER = Path(__file__).parents[1] / "docs" / "theory"
SECTIONS = ("Formula", "Symbols", "Holds", "Requires", "Rounding", "Source")


def sections(bound: Bound) -> tuple[str, dict[str, str], str]:
    """(what it is, section texts, example lines) of the class's docstring."""
    text = inspect.getdoc(type(bound)) or ""
    text, _, example = text.partition("\nExamples:\n")
    parts = re.split(rf"^({'|'.join(SECTIONS)}): ", text, flags=re.MULTILINE)
    found = {name: " ".join(body.split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return " ".join(parts[0].split()), found, inspect.cleandoc(example)


def example_block(bound: Bound, example: str) -> str:
    """The doctest as a page can run it: with its imports in front."""
    names = [f"from {type(bound).__module__} import {type(bound).__name__}"]
    if "np." in example:
        names.insert(0, "import numpy as np")
    return "\n".join(["```pycon", *(f">>> {name}" for name in names), example, "```"])


def page(bound: Bound) -> str:
    """The page in Markdown."""
    what, found, example = sections(bound)
    lines = [f"# {bound.title}", "", what, ""]
    if not bound.in_default_table:
        lines += [f"**Not in the default table, never certified:** {bound.not_certified}.", ""]
    lines += ["```math", sympy.latex(bound.formula), "```", ""]
    lines += [f"{found['Formula']}", ""]
    lines += [f"- **{name}.** {found[name]}" for name in SECTIONS[1:]]
    lines += ["", "## Assumptions", "", *(f"- {assumption}" for assumption in bound.assumptions), ""]
    evidence = ", ".join(f"`{kind.__name__}`" for kind in bound.accepts) or "none: call `value(...)` for a comparison"
    lines += [f"Registry name: `{bound.name}`. Evidence: {evidence}. Bibliography key: `{bound.source.key}`.", ""]
    lines += ["## Example", "", example_block(bound, example), ""]
    lines += [
        "In the formula C is the complexity in nats: K ln 2 for a code of K bits, KL(Q‖P) for a stochastic predictor.",
        "",
    ]
    return "\n".join(lines)


def index() -> str:
    """The list of all pages."""
    lines = ["# Theory: every bound", "", "Made by `scripts/make_bound_pages.py` from the code; do not edit by hand.", ""]
    lines += ["| bound | evidence | source | default table |", "|---|---|---|---|"]
    for bound in BOUNDS.values():
        kinds = ", ".join(kind.__name__ for kind in bound.accepts) or "none"
        listed = "yes" if bound.in_default_table else "no"
        lines.append(f"| [{bound.title}]({bound.name}.md) | {kinds} | {bound.source} | {listed} |")
    lines += ["", "The traps that these bounds guard against, each with its test: [traps.md](traps.md).", ""]
    lines += ["Derivations that are not in the papers in this form: [derivations.md](derivations.md).", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name -> text."""
    return {"index.md": index(), **{f"{bound.name}.md": page(bound) for bound in BOUNDS.values()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    FOLDER.mkdir(parents=True, exist_ok=True)
    stale = [name for name, text in pages().items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text]
    if check:
        sys.exit(f"not up to date: {', '.join(stale)}; run python scripts/make_bound_pages.py" if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(pages()[name])
    print(f"{len(stale)} of {len(pages())} pages written to {FOLDER}")


if __name__ == "__main__":
    main()
