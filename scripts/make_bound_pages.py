"""Write docs/theory: one page a bound, from its docstring, its sympy formula and its registry entry.

python scripts/make_bound_pages.py           write the pages
python scripts/make_bound_pages.py --check   exit with 1 if a page is not up to date
"""

from __future__ import annotations

from pathlib import Path

import sympy
from docstring_pages import example_block, sections, write_or_check

from idbounds.bounds import BOUNDS
from idbounds.bounds.base import Bound

FOLDER = Path(__file__).parents[1] / "docs" / "theory"
SECTIONS = ("Formula", "Symbols", "Holds", "Requires", "Rounding", "Source")


def imports_of(bound: Bound, example: str) -> list[str]:
    names = [f"from {type(bound).__module__} import {type(bound).__name__}"]
    return ["import numpy as np", *names] if "np." in example else names


def page(bound: Bound) -> str:
    """The page in Markdown."""
    what, found, example = sections(type(bound), SECTIONS)
    lines = [f"# {bound.title}", "", what, ""]
    if not bound.in_default_table:
        lines += [f"**Not in the default table, never certified:** {bound.not_certified}.", ""]
    lines += ["```math", sympy.latex(bound.formula), "```", ""]
    lines += [f"{found['Formula']}", ""]
    lines += [f"- **{name}.** {found[name]}" for name in SECTIONS[1:]]
    lines += ["", "## Assumptions", "", *(f"- {assumption}" for assumption in bound.assumptions), ""]
    evidence = ", ".join(f"`{kind.__name__}`" for kind in bound.accepts) or "none: call `value(...)` for a comparison"
    lines += [f"Registry name: `{bound.name}`. Evidence: {evidence}. Bibliography key: `{bound.source.key}`.", ""]
    lines += ["## Example", "", example_block(example, imports=imports_of(bound, example)), ""]
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
    lines += ["", "Which of them are never above which others, and why: [order.md](order.md).", ""]
    lines += ["The traps that these bounds guard against, each with its test: [traps.md](traps.md).", ""]
    lines += ["Derivations that are not in the papers in this form: [derivations.md](derivations.md).", ""]
    lines += ["```{toctree}", ":hidden:", "", "order", "derivations", "traps", *BOUNDS, "```", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name -> text."""
    return {"index.md": index(), **{f"{bound.name}.md": page(bound) for bound in BOUNDS.values()}}


if __name__ == "__main__":
    write_or_check(FOLDER, pages(), summary=__doc__.splitlines()[0])
