"""Write docs/projections: one page a family, from its docstring, its options and its bibliography entries.

python scripts/make_projection_pages.py           write the pages
python scripts/make_projection_pages.py --check   exit with 1 if a page is not up to date
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from docstring_pages import example_block, sections, write_or_check

from idbounds.projections import FAULTY, PROJECTIONS, Projection
from idbounds.reporting import bibliography

FOLDER = Path(__file__).parents[1] / "docs" / "projections"
SECTIONS = ("Formula", "Shapes", "Scale", "Cost", "Randomness", "Source")


def options_of(family: type[Projection]) -> list[str]:
    """What the options do stands in the formula."""
    if not family.default_options:
        return ["None."]
    return ["| option | default |", "|---|---|", *(f"| `{name}` | {value} |" for name, value in family.default_options.items())]


def accented(letter: str, mark: str) -> str:
    """LaTeX's acute accent or diaeresis as one character."""
    return unicodedata.normalize("NFC", letter + {"'": "\u0301", '"': "\u0308"}[mark])


def reference(key: str) -> str:
    """One line for an entry of references.bib."""
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", bibliography.references()[key], flags=re.MULTILINE))
    authors = ", ".join(name.partition(",")[0] for name in fields["author"].split(" and "))
    text = f"{authors}: {fields['title']}, {fields['year']}".replace("--", "–")
    plain = re.sub(r"[{}]", "", re.sub(r"\\(['\"])\\?([a-z])", lambda found: accented(found[2], found[1]), text))
    return f"- `{key}`: {plain}"


def imports_of(family: type[Projection], example: str) -> list[str]:
    return [f"from idbounds.projections import {family.__name__}"] if f"{family.__name__}." in example else []


def page(family: type[Projection]) -> str:
    """The page in Markdown."""
    what, found, example = sections(family, SECTIONS)
    others = "no" if family.independent_tensors else "yes"
    lines = [f"# {family.family}", "", what, ""]
    lines += [line for name in SECTIONS for line in (f"**{name}:** {found[name]}", "")]
    lines += [f"**Do a tensor's rows depend on the other tensors, beside the scale:** {others}.", ""]
    lines += ["## Options", "", *options_of(family), ""]
    lines += ["## Example", "", example_block(example, imports=imports_of(family, example)), ""]
    lines += ["## References", "", *(reference(key) for key in bibliography.PROJECTIONS[family.family]), ""]
    lines += [f"Registry name `{family.family}`, version {family.version}. Class `{family.__module__}.{family.__name__}`.", ""]
    return "\n".join(
        [*lines, "Made by `scripts/make_projection_pages.py` from the code. [All families](../projections.md).", ""]
    )


def pages() -> dict[str, str]:
    """File name -> text."""
    return {f"{name}.md": page(family) for name, family in {**PROJECTIONS, **FAULTY}.items()}


if __name__ == "__main__":
    write_or_check(FOLDER, pages(), summary=__doc__.splitlines()[0])
