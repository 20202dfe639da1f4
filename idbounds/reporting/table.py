"""A table before it has a format: cells that know how they are printed and which record they were read from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from idbounds.core.records import Record

#: What is set where there is no number. In an S column of siunitx it needs braces.
NOTHING = "–"

Value = float | int | str | None


@dataclass(frozen=True)
class Source:
    """Where a stored value is: a file of a run's folder, the hash of the record in it, and the way to the field.

    The hash is that of the record's canonical JSON; of ``message.idb``, that of the file.

    `field` is a path of attributes and positions in the record, as in ``training.complexity.ledger.0.bits``.
    """

    file: str
    sha256: str
    field: str

    def __str__(self) -> str:
        return f"{self.file} {self.sha256[:12]} {self.field}"


@dataclass(frozen=True)
class Cell:
    """The stored value (for CSV, exact) and how it is printed.

    An interval is a pair of values in one cell, a value with its interval a triple. `mark` is the sign of a note, `best` sets
    the cell in bold, `sources` name what the value was read from, or computed from where `derived` says how.
    """

    value: Value | tuple[Value, ...]
    text: str
    sources: tuple[Source, ...] = ()
    derived: str = ""
    mark: str = ""
    best: bool = False

    @property
    def origin(self) -> str:
        """The sources in one line."""
        return "; ".join(map(str, self.sources)) + (f" ({self.derived})" if self.sources and self.derived else "")


NO_CELL = Cell(None, NOTHING)


@dataclass(frozen=True)
class Table:
    """Rows of cells under heads; `numeric` says which columns are aligned as numbers.

    `notes` say what the table rests on; `marks` are (sign, text) of the marked cells. `groups` are (text, number of columns)
    above the heads from left to right, or empty; a group without text sets nothing. `has_total`: the last row is the sum.
    """

    name: str
    heads: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    notes: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    has_total: bool = False

    def __post_init__(self) -> None:
        widths = {len(self.numeric), *map(len, self.rows), *([sum(span for _, span in self.groups)] if self.groups else [])}
        if widths != {len(self.heads)}:
            raise ValueError(
                f"table {self.name!r} has {len(self.heads)} heads, and rows, groups or alignments of {sorted(widths)}"
            )
        if len(set(self.flat_heads)) < len(self.heads):
            raise ValueError(f"table {self.name!r} has two columns of one name: {self.flat_heads}")

    @property
    def flat_heads(self) -> tuple[str, ...]:
        """Heads with the group's text before them, for formats of one line of heads."""
        above = [text for text, span in self.groups for _ in range(span)] or [""] * len(self.heads)
        return tuple(f"{group}: {head}" if group else head for group, head in zip(above, self.heads, strict=True))

    def trace(self) -> Iterator[dict[str, Value]]:
        """For each cell that was read from a record, each of its sources: what is printed, what is stored, and where."""
        for number, row in enumerate(self.rows, start=1):
            for head, cell in zip(self.flat_heads, row, strict=True):
                for source in cell.sources:
                    stored = cell.value if not isinstance(cell.value, tuple) else ", ".join(map(str, cell.value))
                    yield {
                        "row": number,
                        "column": head,
                        "printed": cell.text,
                        "stored": stored,
                        "file": source.file,
                        "sha256": source.sha256,
                        "field": source.field,
                        "derived": cell.derived,
                    }


def text_cell(text: str) -> Cell:
    """Words that stand in no record."""
    return Cell(text, text)


def _within(found: Any, step: str) -> Any:
    if isinstance(found, Mapping):
        return found[step]
    return found[int(step)] if step.isdigit() else getattr(found, step)


@dataclass(frozen=True)
class Origin:
    """A record and the file that holds it: cells read through it name their source, so that no trace is written by hand."""

    file: str
    record: Record
    file_sha256: str = ""  # of a file that holds more than the record's JSON

    @cached_property
    def sha256(self) -> str:
        """Hash of the record, or of the file."""
        return self.file_sha256 or self.record.sha256

    def source(self, path: str) -> Source:
        """Of a field."""
        return Source(self.file, self.sha256, path)

    def value(self, path: str) -> Any:
        """The field at the end of a path of attributes, keys and positions; AttributeError, KeyError or IndexError if none."""
        found: Any = self.record
        for step in path.split("."):
            found = _within(found, step)
        return found

    def cell(self, path: str, render: Callable[[Any], str] = str) -> Cell:
        """The field, printed; nothing where it is None."""
        value = self.value(path)
        return Cell(value, NOTHING if value is None else render(value), (self.source(path),))

    def derived(self, value: Value | tuple[Value, ...], text: str, *, paths: tuple[str, ...], how: str) -> Cell:
        """A value computed from fields."""
        return Cell(value, text, tuple(self.source(path) for path in paths), how)


def as_best(cell: Cell) -> Cell:
    """The same, in bold."""
    return replace(cell, best=True)
