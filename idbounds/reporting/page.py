"""A report as one HTML file: no script, nothing loaded from anywhere, every text of a record escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from idbounds.reporting.extras import load
from idbounds.reporting.figures import Picture, render
from idbounds.reporting.html import to_html
from idbounds.reporting.inline_svg import inline_svg
from idbounds.reporting.rounding import printable
from idbounds.reporting.table import Table

_TEMPLATE, _STYLE = "report.html.j2", "report.css"


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order; what is empty is left out.

    Attributes:
        key: of the section in its run, for ids: letters and dashes.
        title: the heading.
        claim: one sentence that is set large.
        paragraphs: of text.
        facts: names and values.
        pictures: figures; their descriptions are the captions.
        tables: with their captions and notes.
        points: of a list.
        commands: lines of a shell.
        listing: text that is set as it is, such as BibTeX.
        missing: what is not there, and what would make it.
    """

    key: str
    title: str
    claim: str = ""
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    points: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    listing: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Story:
    """One run, told in sections; `key` is its own on the page, `summary` its outcome in a sentence."""

    key: str
    title: str
    summary: str
    sections: tuple[Section, ...]


def to_page(stories: Sequence[Story], *, title: str, version: str, overview: Section | None = None) -> str:
    """The page of one story or several; the same stories give the same text. `overview` compares several.

    Raises ConfigError where jinja2 or matplotlib is not installed.
    """
    jinja2, markupsafe = load("jinja2"), load("markupsafe")

    def plain(value: Any) -> Any:
        return value if isinstance(value, markupsafe.Markup) else printable(str(value))

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=plain
    )
    environment.globals |= {
        "svg": lambda picture, prefix: markupsafe.Markup(
            inline_svg(render(picture, suffix="svg"), prefix=prefix, title=f"{picture.title}. {picture.description}")
        ),
        # Under a name of its own on the page, which is its id.
        "table": lambda table, prefix: markupsafe.Markup(to_html(replace(table, name=f"{prefix}-{table.name}"))),
        "style": markupsafe.Markup(_read(_STYLE)),
        "lines": lambda text: [printable(line) for line in text.splitlines()],
    }
    template = environment.from_string(_read(_TEMPLATE))
    return str(template.render(stories=stories, title=title, version=version, overview=overview))


def _read(name: str) -> str:
    return (files("idbounds.reporting") / "templates" / name).read_text(encoding="utf-8")
