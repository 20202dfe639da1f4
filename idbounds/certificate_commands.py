"""The commands `certify` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from idbounds.core.errors import ConfigError

if TYPE_CHECKING:
    from idbounds.config import Config

_Config = Annotated[Path | None, typer.Option(help="Where model and data lie on this machine.")]
_Unlabelled = Annotated[Path | None, typer.Option(help="A table of texts without labels, instead of the test inputs.")]


def certify(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    message: Annotated[Path | None, typer.Option(help="Another message under the run's specification.")] = None,
    config: _Config = None,
    uncompressed: Annotated[
        bool, typer.Option("--uncompressed", help="Also bound the network before compression (uncompressed.json).")
    ] = False,
    unlabelled: _Unlabelled = None,
    stochastic: Annotated[
        bool,
        typer.Option("--stochastic", help="Train and certify the declared stochastic predictor instead (stochastic.json)."),
    ] = False,
) -> None:
    """Count a message's errors and write its certificate anew; trains nothing but with --stochastic."""
    from idbounds.certification import certify_file, opened
    from idbounds.console import ProgressBar, print_certificate, print_stochastic, print_uncompressed
    from idbounds.stochastic import certify_stochastic
    from idbounds.uncompressed import certify_uncompressed

    if stochastic and (message is not None or uncompressed):
        raise ConfigError("--stochastic is about a posterior of the run, not about a message; call certify once for each")

    if unlabelled is not None and not uncompressed:
        raise ConfigError(f"--unlabelled {unlabelled} is for the bound on the uncompressed network; add --uncompressed")
    if message is not None and uncompressed:
        raise ConfigError(f"--uncompressed is about the run's own message; leave out --message {message}")
    console = Console()
    run = opened(folder, config=load_optional(config), reporter=ProgressBar(console))
    if stochastic:
        drawn, path = certify_stochastic(run)
        print_stochastic(console, drawn)
        typer.echo(f"wrote {path}")
        return
    certificate, path = certify_file(run, message=message)
    print_certificate(console, certificate)
    typer.echo(f"wrote {path}")
    if uncompressed:
        further, path = certify_uncompressed(run, unlabelled=unlabelled)
        print_uncompressed(console, further)
        typer.echo(f"wrote {path}")


def verify(
    target: Annotated[Path | None, typer.Argument(help="A run's folder, or a certificate.")] = None,
    message: Annotated[Path | None, typer.Option(help="The message, if not beside the certificate.")] = None,
    spec: Annotated[Path | None, typer.Option(help="The specification, if not beside the certificate.")] = None,
    config: _Config = None,
    unlabelled: _Unlabelled = None,
) -> None:
    """Decode the message, count its errors again, recompute every number, and compare.

    Without a certificate (--message, --spec and --config): print the bound that the message supports on this machine.
    """
    from idbounds.console import ProgressBar, print_certificate, print_verification
    from idbounds.verification import supported
    from idbounds.verification import verify as check

    console, given = Console(), load_optional(config)
    if target is not None:
        outcome = check(target, message=message, spec=spec, config=given, unlabelled=unlabelled, reporter=ProgressBar(console))
        print_verification(console, outcome)
        outcome.require()
        return
    if message is None or spec is None or given is None:
        raise ConfigError("give a run's folder or a certificate; or, without one, all of --message, --spec and --config")
    print_certificate(console, supported(message, spec=spec, config=given, reporter=ProgressBar(console)))
    typer.echo("no certificate was given: this is what the message supports on this machine")


def load_optional(path: Path | None) -> Config | None:
    """The configuration that was given, if one was."""
    from idbounds.config import load_config

    return None if path is None else load_config(path)
