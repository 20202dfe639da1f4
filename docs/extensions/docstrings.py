"""Docstrings as they are written here, made into reStructuredText for autodoc."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

#: The sections that the suites of laws ask of a docstring, each `Name: text` with its continuation indented or below.
SECTIONS = (
    "Formula",
    "Symbols",
    "Shapes",
    "Scale",
    "Cost",
    "Randomness",
    "Holds",
    "Requires",
    "Rounding",
    "Options",
    "Error",
    "Loss",
    "Raises",
    "Source",
)
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): ")
#: Literals and doctests are left alone; elsewhere these characters are mathematics, not markup.
_LITERAL = re.compile(r"(``.+?``|`[^`]+`)")
_MARKUP = re.compile(r"([\\*|]|_(?=\W|$))")


def plain(line: str) -> str:
    """The line with its mathematics kept from being read as markup."""
    parts = _LITERAL.split(line)
    return "".join(part if number % 2 else _MARKUP.sub(r"\\\1", part) for number, part in enumerate(parts))


def rewrite(lines: list[str]) -> list[str]:
    """Sections as fields, mathematics as plain text."""
    found: list[str] = []
    in_field = False
    for line in lines:
        if line.lstrip().startswith((">>>", "...")):
            found.append(line)
            continue
        section = _SECTION.match(line)
        if section and not in_field and found and found[-1]:
            found.append("")
        in_field = bool(section) or (in_field and bool(line.strip()))
        text = plain(line)
        if section:
            text = f":{section[1]}: {text[section.end() :]}"
        elif in_field and not line.startswith(" "):
            text = f"    {text}"
        found.append(text)
    return found


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Autodoc's hook: changes the list in place."""
    lines[:] = rewrite(lines)


def without_fields(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Autodoc's hook: a record's fields are listed one by one, so that its signature would only repeat them."""
    return ("", None) if isinstance(obj, type) and issubclass(obj, BaseModel) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon, which reads the Google sections."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", without_fields)
    return {"parallel_read_safe": True}
