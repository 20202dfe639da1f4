"""The command `idbounds`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from idbounds.certificate_commands import certify, verify
from idbounds.compress_commands import compress
from idbounds.core.errors import ConfigError, IdboundsError
from idbounds.output_commands import cite, table
from idbounds.plot_commands import plot, report

if TYPE_CHECKING:
    from idbounds.config import Config

app = typer.Typer(
    name="idbounds",
    help="Intrinsic dimension of fine-tuning, measured; compression bounds on the true risk, certified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Read by the libraries when they are first imported; what the user has set stays.
_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Large pages for large tensors: each training step allocates new weights, and pays a page fault for every 4 KiB else.
    "THP_MEM_ALLOC_ENABLE": "1",
    # OpenMP threads that wait should sleep: while they spin they hold a core that a second process wants.
    "OMP_WAIT_POLICY": "PASSIVE",
}


class Format(StrEnum):
    """How the bounds are printed."""

    text = "text"
    json = "json"
    latex = "latex"


class Question(StrEnum):
    """What `solve` can look for."""

    d = "d"
    bits = "bits"
    n = "n"
    errors = "errors"
    bits_per_coordinate = "bits-per-coordinate"
    break_even_n = "break-even-n"


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    os.environ["IDBOUNDS_DEBUG"] = "1" if debug else os.environ.get("IDBOUNDS_DEBUG", "")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("idbounds-quickstart"),
) -> None:
    """The whole path on a real model and a real task, both from PyPI; then verify it in a fresh process."""
    from idbounds.quickstart import quickstart_config

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    _run(quickstart_config(output))
    command = [sys.executable, "-m", "idbounds", "verify", str(output)]
    typer.echo(f"\n$ idbounds verify {output}")
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def run(config: Annotated[Path, typer.Argument(help="A TOML file; `idbounds init` writes one.")]) -> None:
    """Measure d90, write a message, certify it, write the tables. A second run resumes."""
    from idbounds.config import load_config

    loaded = load_config(config)
    _run(loaded)
    typer.echo(f"\nto check it: idbounds verify {loaded.output}")


@app.command()
def measure(config: Annotated[Path, typer.Argument(help="A TOML file; `idbounds init` writes one.")]) -> None:
    """Trials and d90 alone: no message, no certificate. A second call resumes; `idbounds run` goes on from there."""
    from idbounds.config import load_config
    from idbounds.console import print_measurement
    from idbounds.live_table import LiveTable
    from idbounds.measuring import estimate, measure
    from idbounds.preparation import prepare

    loaded, console = load_config(config), Console()
    with _kept_when_stopped(loaded, console), LiveTable(console, folder=Path(loaded.output)) as progress:
        prepared = prepare(loaded, reporter=progress)
        trials = measure(prepared)
        dimensions = estimate(prepared, trials=trials)
    print_measurement(console, spec=prepared.spec, trials=trials, dimensions=dimensions)


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A run's folder.")]) -> None:
    """How far a run is: trials done, running and failed, accuracy at each d, d90 so far. Reads only, at any time."""
    from idbounds.status import status_of

    for line in status_of(folder).lines():
        typer.echo(line)


@app.command()
def estimate(config: Annotated[Path, typer.Argument(help="A TOML file; `idbounds init` writes one.")]) -> None:
    """Memory and time of a run before it is run, from a few real steps of each kind of trial."""
    from idbounds.config import load_config
    from idbounds.console import print_forecast
    from idbounds.forecast import forecast

    print_forecast(Console(), forecast(load_config(config)))


@app.command()
def init(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("config.toml")) -> None:
    """Write a commented configuration."""
    from idbounds.example_config import EXAMPLE

    if path.exists():
        raise ConfigError(f"{path} exists; give another name")
    try:
        path.write_text(EXAMPLE, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    typer.echo(f"wrote {path}; edit it, then: idbounds run {path}")


app.command()(compress)
app.command()(certify)
app.command()(verify)
app.command()(table)
app.command()(cite)
app.command()(plot)
app.command()(report)


@app.command()
def bound(
    n: Annotated[int | None, typer.Option(help="Training examples, all distinct.")] = None,
    errors: Annotated[int | None, typer.Option(help="How many of them are wrong, a whole number.")] = None,
    d: Annotated[str | None, typer.Option(help="Dimension, or an interval LOW:HIGH.")] = None,
    bits_per_coordinate: Annotated[float | None, typer.Option(help="Bits for each of the d numbers.")] = None,
    bits: Annotated[float | None, typer.Option(help="Code length, instead of d and bits per coordinate.")] = None,
    message: Annotated[Path | None, typer.Option(help="A run's message.idb: its own bits, errors and n.")] = None,
    csv: Annotated[Path | None, typer.Option(help="A table: errors, n, and bits or d and bits_per_coordinate.")] = None,
    delta: Annotated[float, typer.Option(help="Each bound may fail with this probability.")] = 0.05,
    everything: Annotated[bool, typer.Option("--everything", help="Also bounds with unchecked constants.")] = False,
    output: Annotated[Format, typer.Option("--format", help="text, json or latex.")] = Format.text,
) -> None:
    """Every bound that error counts and a code length support, smallest first, and why the others do not apply."""
    from idbounds.bound_commands import print_bounds

    print_bounds(
        n=n,
        errors=errors,
        d=d,
        bits_per_coordinate=bits_per_coordinate,
        bits=bits,
        message=message,
        csv=csv,
        delta=delta,
        everything=everything,
        output=output,
    )


@app.command()
def solve(
    question: Annotated[Question, typer.Argument(help="The unknown.")],
    target: Annotated[float, typer.Option(help="The bound wanted; for break-even-n, the majority-class error.")],
    n: Annotated[int | None, typer.Option(help="Training examples.")] = None,
    errors: Annotated[int | None, typer.Option(help="Training errors.")] = None,
    risk: Annotated[float | None, typer.Option(help="Training error as a fraction, where n is the unknown.")] = None,
    d: Annotated[int | None, typer.Option(help="Dimension.")] = None,
    bits_per_coordinate: Annotated[float | None, typer.Option(help="Bits for each of the d numbers.")] = None,
    bits: Annotated[float | None, typer.Option(help="Code length.")] = None,
    delta: Annotated[float, typer.Option(help="The bound may fail with this probability.")] = 0.05,
    family: Annotated[str, typer.Option(help="Which bound.")] = "occam_binomial",
) -> None:
    """The largest d, bits or errors, or the smallest n, with which a bound still meets a target."""
    from idbounds.bound_commands import print_solution

    print_solution(
        question,
        family=family,
        target=target,
        n=n,
        errors=errors,
        risk=risk,
        d=d,
        bits_per_coordinate=bits_per_coordinate,
        bits=bits,
        delta=delta,
    )


def _run(config: Config) -> None:
    from idbounds.console import print_result
    from idbounds.live_table import LiveTable
    from idbounds.pipeline import run as run_pipeline

    console = Console()
    with _kept_when_stopped(config, console), LiveTable(console, folder=Path(config.output)) as progress:
        result = run_pipeline(config, reporter=progress)
    print_result(console, result)


@contextmanager
def _kept_when_stopped(config: Config, console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        where = config.store or config.output
        console.print(f"stopped; every finished trial is kept in {where}, and the same command goes on from there")
        raise typer.Exit(130) from None


def main() -> None:
    """Entry point: errors that idbounds raises on purpose become one line and exit code 2."""
    try:
        app()
    except IdboundsError as error:
        if os.environ.get("IDBOUNDS_DEBUG"):
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("IDBOUNDS_DEBUG"):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(f"unexpected error: {what}; run again as `idbounds --debug …` and report what it prints", file=sys.stderr)
        sys.exit(1)
