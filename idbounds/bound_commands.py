"""What `idbounds bound` and `idbounds solve` do: from counts and bits to every bound, and back. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table as RichTable

from idbounds.bounds import bound_by_name, inverse
from idbounds.bounds.base import Bound
from idbounds.bounds.table import BoundTable, all_bounds_for, code_length
from idbounds.codes import decode_message
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.values import CertificateFile, RunSpec
from idbounds.reporting import round_up
from idbounds.reporting.latex import to_latex
from idbounds.reporting.table import Cell, Table, text_cell

#: Digits printed of a bound; always rounded up. JSON has all of them.
_DIGITS = 4


@dataclass(frozen=True)
class Case:
    """One set of counts, named."""

    name: str
    arguments: dict[str, Any]


def print_bounds(
    *,
    n: int | None,
    errors: int | None,
    d: str | None,
    bits_per_coordinate: float | None,
    bits: float | None,
    message: Path | None,
    csv: Path | None,
    delta: float,
    everything: bool,
    output: str,
) -> None:
    """Print all bounds of one case, or of each row of a table."""
    if csv is not None:
        cases = _cases_of_csv(csv)
    elif message is not None:
        cases = [_case_of_message(message, errors=errors, n=n)]
    else:
        cases = [_case_of_options(n=n, errors=errors, d=d, bits_per_coordinate=bits_per_coordinate, bits=bits)]
    _PRINTERS[output]({case.name: all_bounds_for(**case.arguments, delta=delta, everything=everything) for case in cases})


def print_solution(question: str, *, family: str, **given: float | None) -> None:
    """Print the answer of an inverse question."""
    answer = _QUESTIONS[question](bound_by_name(family), {name: value for name, value in given.items() if value is not None})
    typer.echo("none: the target is out of reach" if answer is None else repr(answer))


def _need(given: dict[str, Any], *names: str) -> dict[str, Any]:
    missing = [f"--{name.replace('_', '-')}" for name in names if name not in given]
    if missing:
        raise ConfigError(f"this question also needs {', '.join(missing)}")
    return {name: given[name] for name in (*names, "target", "delta")}


def _with_bits(given: dict[str, Any], *names: str) -> dict[str, Any]:
    length = code_length(num_bits=given.get("bits"), d=given.get("d"), bits_per_coordinate=given.get("bits_per_coordinate"))
    return {**_need(given, *names), "num_bits": length}


def _smallest_n(bound: Bound, given: dict[str, Any]) -> int | None:
    asked = _with_bits(given, "risk")
    return inverse.smallest_n(bound, empirical_risk=asked.pop("risk"), **asked)


def _break_even_n(bound: Bound, given: dict[str, Any]) -> int | None:
    asked = _with_bits(given, "risk")
    return inverse.break_even_n(bound, empirical_risk=asked.pop("risk"), majority_error=asked.pop("target"), **asked)


_QUESTIONS: dict[str, Callable[[Bound, dict[str, Any]], float | None]] = {
    "d": lambda bound, given: inverse.largest_d(bound, **_need(given, "errors", "n", "bits_per_coordinate")),
    "bits": lambda bound, given: inverse.largest_num_bits(bound, **_need(given, "errors", "n")),
    "bits-per-coordinate": lambda bound, given: inverse.bits_per_coordinate(bound, **_need(given, "errors", "n", "d")),
    "errors": lambda bound, given: inverse.largest_errors(bound, **_with_bits(given, "n")),
    "n": _smallest_n,
    "break-even-n": _break_even_n,
}


def _case_of_options(
    *, n: int | None, errors: int | None, d: str | None, bits_per_coordinate: float | None, bits: float | None
) -> Case:
    if n is None or errors is None:
        raise ConfigError("give --errors and --n, or --message, or --csv")
    sizes = {"num_bits": bits, "bits_per_coordinate": bits_per_coordinate, **_dimension(d)}
    return Case(f"{errors} errors of {n}", {"errors": errors, "n": n, **sizes})


def _dimension(text: str | None) -> dict[str, Any]:
    """d as a number or as LOW:HIGH."""
    if text is None:
        return {}
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ConfigError(f"--d must be a number or an interval LOW:HIGH, got {text!r}")
    return {"d": numbers[0]} if len(numbers) == 1 else {"d_interval": (numbers[0], numbers[1])}


def _case_of_message(path: Path, *, errors: int | None, n: int | None) -> Case:
    """Bits of a message, read with the spec.json beside it; counts from the certificate.json beside it unless given."""
    try:
        content = path.read_bytes()
    except OSError:
        raise DataError(f"no such file: {path}") from None
    decoded = decode_message(content, spec=RunSpec.read(path.parent / "spec.json"))
    if errors is None or n is None:
        counted = CertificateFile.read(path.parent / "certificate.json").training.evidence
        errors, n = counted.errors, counted.n
    return Case(str(path), {"errors": errors, "n": n, "num_bits": decoded.message.complexity.num_bits})


def _cases_of_csv(path: Path) -> list[Case]:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as csv: {str(error).splitlines()[0]}") from None
    for column in ("errors", "n"):
        if column not in table.columns:
            raise DataError(f"{path} has no column {column!r}; it has {', '.join(map(str, table.columns))}")
    known = {"errors": "errors", "n": "n", "bits": "num_bits", "d": "d", "bits_per_coordinate": "bits_per_coordinate"}
    cases = []
    for number, row in enumerate(table.to_dict("records"), start=1):
        arguments = {known[str(column)]: value for column, value in row.items() if column in known and not pd.isna(value)}
        cases.append(Case(str(row.get("name", f"row {number}")), arguments))
    return cases


def _print_text(tables: dict[str, BoundTable]) -> None:
    console = Console()
    for name, table in tables.items():
        shown = RichTable(title=f"{name}, {table.num_bits:g} bits, δ = {table.delta:g} for each row", title_justify="left")
        for head in ("bound", "true risk at most", "source"):
            shown.add_column(head, justify="right" if head.startswith("true") else "left")
        for row in table.rows:
            value = round_up(row.value, digits=_DIGITS)
            low = "" if row.lower_value is None else f"{round_up(row.lower_value, digits=_DIGITS)} to "
            shown.add_row(row.title, f"{low}{value}" + (" (vacuous)" if row.value >= 1 else ""), row.source)
        console.print(shown)
        console.print("Taking the smallest row is a choice: it costs ln(rows), see docs/theory.", highlight=False)
        for family, reason in table.not_applicable:
            console.print(f"  not {family}: {reason}", highlight=False, markup=False, soft_wrap=True)


def _print_json(tables: dict[str, BoundTable]) -> None:
    rows = [
        {"case": name, "num_bits": table.num_bits, "delta": table.delta, **asdict(row)}
        for name, table in tables.items()
        for row in table.rows
    ]
    typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))


def _print_latex(tables: dict[str, BoundTable]) -> None:
    rows = [_latex_row(name, row.title, row.value, row.source) for name, table in tables.items() for row in table.rows]
    deltas = sorted({table.delta for table in tables.values()})
    caption = f"Upper bounds on the true risk, rounded up; each row holds with probability {1 - deltas[0]:g}."
    heads = ("case", "bound", "true risk at most", "source")
    typer.echo(to_latex(Table("bounds", heads=heads, numeric=(False, False, True, False), rows=tuple(rows), caption=caption)))


def _latex_row(name: str, title: str, value: float, source: str) -> tuple[Cell, ...]:
    texts = (name, title, round_up(value, digits=_DIGITS), source)
    return tuple(text_cell(text) for text in texts)


_PRINTERS: dict[str, Callable[[dict[str, BoundTable]], None]] = {
    "text": _print_text,
    "json": _print_json,
    "latex": _print_latex,
}
