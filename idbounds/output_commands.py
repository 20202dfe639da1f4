"""The commands that make what goes into a paper from runs: `table` and `cite`. Nothing is trained or counted here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idbounds.core.errors import ConfigError

#: What may stand in a label of LaTeX and an id of HTML.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")

if TYPE_CHECKING:
    from idbounds.reporting.run_records import RunRecords
    from idbounds.reporting.table import Table

_Runs = Annotated[list[Path], typer.Argument(help="Folders of runs.")]


class TableKind(StrEnum):
    """What a table is about."""

    d90 = "d90"
    bounds = "bounds"
    ledger = "ledger"
    frontier = "frontier"
    comparison = "comparison"


class TableFormat(StrEnum):
    """How a table is written."""

    latex = "latex"
    md = "md"
    csv = "csv"
    html = "html"


def table(
    runs: _Runs,
    kind: Annotated[TableKind, typer.Option(help="What it is about.")] = TableKind.bounds,
    output_format: Annotated[TableFormat, typer.Option("--format", help="How it is written.")] = TableFormat.md,
    output: Annotated[Path | None, typer.Option(help="A file; with latex a .bib goes beside it.")] = None,
    trace: Annotated[Path | None, typer.Option(help="Also a csv: for each cell file, hash and field of its number.")] = None,
) -> None:
    """A table of one run or many, from their records: stored numbers, bounds rounded up."""
    from idbounds.core.records import write_atomically
    from idbounds.reporting.formats import FORMATS, trace_csv
    from idbounds.reporting.kinds import compact

    records = _read(runs)
    made = _kinds()[kind](records)
    if output is not None and _LABEL.fullmatch(output.stem):
        made = replace(made, name=output.stem)  # several tables of one kind in one paper have labels of their own
    ending = "tex" if output_format is TableFormat.latex else str(output_format)
    text = FORMATS[ending](made if output_format is TableFormat.csv else compact(made))
    if trace is not None:
        write_atomically(trace, trace_csv(made).encode())
    if output is None:
        typer.echo(text, nl=False)
        return
    write_atomically(output, text.encode())
    typer.echo(f"wrote {output}")
    if output_format is TableFormat.latex:
        from idbounds.reporting.run_records import bibliography_of

        write_atomically(output.with_suffix(".bib"), bibliography_of(records).encode())
        typer.echo(f"wrote {output.with_suffix('.bib')}")


def cite(runs: Annotated[list[Path] | None, typer.Argument(help="Folders of runs; none for idbounds itself.")] = None) -> None:
    """BibTeX of idbounds, and of exactly the works that runs rest on: data, models, methods, theorems."""
    from idbounds.reporting.run_records import bibliography_of

    typer.echo(bibliography_of(_read(runs or [])), nl=False)


def _read(folders: Sequence[Path]) -> list[RunRecords]:
    from idbounds.run_folder import read_run

    places = [folder.resolve() for folder in folders]
    twice = [folder for number, folder in enumerate(folders) if places[number] in places[:number]]
    if twice:
        raise ConfigError(f"{twice[0]} is given twice; name each run once")
    return [read_run(folder) for folder in folders]


def _kinds() -> dict[TableKind, Callable[[Sequence[RunRecords]], Table]]:
    from idbounds.reporting import kinds

    return {
        TableKind.d90: kinds.d90_table,
        TableKind.bounds: kinds.bounds_table,
        TableKind.ledger: kinds.runs_ledger_table,
        TableKind.frontier: kinds.frontier_table,
        TableKind.comparison: _comparison,
    }


def _comparison(runs: Sequence[RunRecords]) -> Table:
    from idbounds.reporting.kinds import comparison_table, require_comparable
    from idbounds.run_ratios import ratios_of

    require_comparable(runs)
    return comparison_table(runs, ratios=ratios_of(runs))
