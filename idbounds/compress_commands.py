"""The command `compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compress(
    folder: Annotated[Path, typer.Argument(help="A run's folder, with finished trials.")],
    config: Annotated[Path | None, typer.Option(help="Where model and data lie on this machine; its [compression].")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Messages to train in all, those of earlier calls too.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no further one after so long.")] = None,
) -> None:
    """Search the message with the smallest bound from a run's trials; write it, its certificate, the frontier, the tables.

    A second call trains nothing again; with more candidates it goes on. The message that was there is kept unless the new
    bound is smaller.
    """
    from idbounds.certificate_commands import load_optional
    from idbounds.certification import opened
    from idbounds.console import ProgressBar, print_certificate, print_frontier, print_ledger
    from idbounds.core.values import UncompressedCertificate
    from idbounds.folders import UNCOMPRESSED_FILE
    from idbounds.pipeline import compress_run

    console = Console()
    with ProgressBar(console) as progress:
        run = opened(folder, config=load_optional(config), reporter=progress)
        given = {"candidates": candidates, "steps": steps, "minutes": minutes}
        options = run.config.compression.model_copy(update={key: value for key, value in given.items() if value is not None})
        result = compress_run(run, options=options)
    print_frontier(console, result.frontier)
    print_ledger(console, result.message)
    print_certificate(console, result.certificate)
    typer.echo(f"\nwrote {', '.join(sorted(result.files))} to {folder}")
    beside = folder / UNCOMPRESSED_FILE
    if beside.exists() and UncompressedCertificate.read(beside).message_sha256 != result.message.file_sha256:
        typer.echo(f"{beside} is of the message before; make it anew: idbounds certify {folder} --uncompressed")
    typer.echo(f"to check it: idbounds verify {folder}")
