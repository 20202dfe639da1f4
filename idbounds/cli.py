"""The command `idbounds`. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from idbounds.core.errors import ConfigError, IdboundsError

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
    # Large pages for large tensors: a training step here spends a third of its time on page faults without it.
    "THP_MEM_ALLOC_ENABLE": "1",
}


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
def init(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("config.toml")) -> None:
    """Write a commented configuration."""
    from idbounds.config import EXAMPLE

    if path.exists():
        raise ConfigError(f"{path} exists; give another name")
    try:
        path.write_text(EXAMPLE, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    typer.echo(f"wrote {path}; edit it, then: idbounds run {path}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    config: Annotated[Path | None, typer.Option(help="Where model and data lie on this machine.")] = None,
) -> None:
    """Decode the message, count its errors again, recompute every number, and compare."""
    from idbounds.config import load_config
    from idbounds.console import ProgressBar, print_verification
    from idbounds.verification import verify as check

    console = Console()
    outcome = check(folder, config=None if config is None else load_config(config), reporter=ProgressBar(console))
    print_verification(console, outcome)
    outcome.require()


def _run(config: Config) -> None:
    from idbounds.console import ProgressBar, print_result
    from idbounds.pipeline import run as run_pipeline

    console = Console()
    try:
        with ProgressBar(console) as progress:
            result = run_pipeline(config, reporter=progress)
    except KeyboardInterrupt:
        console.print(f"stopped; every finished trial is kept in {config.output}, and the same command goes on from there")
        raise typer.Exit(130) from None
    print_result(console, result)


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
