"""The commands `plot` and `report`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idbounds.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from idbounds.figures import Size

_Runs = Annotated[list[Path], typer.Argument(help="Folders of runs.")]


class FigureKind(StrEnum):
    """What `plot` draws: the names of `idbounds.figures.KINDS`, which a test compares."""

    accuracy = "accuracy"
    bound = "bound"
    bound_n = "bound-n"
    frontier = "frontier"
    ledger = "ledger"
    d90_size = "d90-size"


class FigureFormat(StrEnum):
    """Vector formats."""

    svg = "svg"
    pdf = "pdf"


def plot(
    runs: _Runs,
    kind: Annotated[
        FigureKind, typer.Option(help="What to draw; ledger and d90-size take several runs.")
    ] = FigureKind.accuracy,
    output_format: Annotated[FigureFormat | None, typer.Option("--format", help="svg, or that of the output's ending.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; KIND.svg here if not given.")] = None,
    x: Annotated[
        Path | None, typer.Option(help="For d90-size: a csv of run and number, its head the name of the axis.")
    ] = None,
) -> None:
    """A figure of finished runs, sized for a column: SVG or PDF, the same bytes for the same numbers."""
    from idbounds.figures import picture_of
    from idbounds.reporting.figures import write_picture
    from idbounds.run_folder import read_run

    suffix = _suffix(output_format, output)
    size = None if x is None else _read_size(x)
    picture = picture_of([read_run(folder) for folder in runs], kind=kind.value, size=size)
    path = write_picture(output or Path(f"{kind.value}.{suffix}"), picture, suffix=suffix)
    typer.echo(f"wrote {path}\n{picture.description}")


def report(
    runs: _Runs,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("report.html"),
) -> None:
    """One HTML file that tells what runs measured and proved: no script, nothing loaded, ready to print."""
    from idbounds.report import write_report
    from idbounds.run_folder import read_run

    typer.echo(f"wrote {write_report(output, [read_run(folder) for folder in runs])}")


def _suffix(output_format: FigureFormat | None, output: Path | None) -> str:
    ending = "" if output is None else output.suffix.removeprefix(".").lower()
    if output_format is None:
        if ending not in ("", *FigureFormat):
            raise ConfigError(f"--output {output} ends in .{ending}; figures are svg or pdf")
        return ending or FigureFormat.svg.value
    if ending not in ("", output_format.value):
        raise ConfigError(f"--format {output_format.value} and --output {output} name two formats; leave out one")
    return output_format.value


def _read_size(path: Path) -> Size:
    """A csv with a column `run` and one of numbers."""
    import pandas as pd

    from idbounds.figures import Size

    try:
        table = pd.read_csv(path, dtype={"run": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as csv: {str(error).splitlines()[0]}") from None
    others = [str(column) for column in table.columns if column != "run"]
    if "run" not in table.columns or len(others) != 1:
        raise DataError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; give `run` and one of numbers, named by its head"
        )
    try:
        numbers = [float(number) for number in table[others[0]]]
    except ValueError as error:
        raise DataError(f"{path}, column {others[0]!r}: {error}") from None
    names = table["run"].tolist()
    if len(set(names)) < len(names):
        raise DataError(f"{path} names a run twice")
    return Size(others[0], dict(zip(names, numbers, strict=True)))
