"""The one door between measurement and theory: from a configuration to trials, d90, a message and a certificate.

A run is a folder: config.json, spec.json, trials.sqlite, vectors/, d90.*.json, frontier.json, message.idb,
certificate.json, tables and a figure. Steps write as they finish, and a second run takes up where the
first one stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from idbounds.certification import certify as certify  # steps of the pipeline, in files of their own
from idbounds.compression import compress as compress
from idbounds.config import CompressionSection, Config
from idbounds.core.errors import ConfigError
from idbounds.core.frontier import Frontier
from idbounds.core.values import CertificateFile, IntrinsicDimension, Message, RunSpec, Trial
from idbounds.figures import accuracy_of
from idbounds.folders import FRONTIER_FILE
from idbounds.measurement.progress import Reporter
from idbounds.measuring import estimate as estimate
from idbounds.measuring import measure as measure
from idbounds.measuring import stored_trials
from idbounds.preparation import Run as Run
from idbounds.preparation import prepare as prepare
from idbounds.reporting import write_tables
from idbounds.reporting.figures import write_picture

FIGURE_FILE = "accuracy.svg"


@dataclass(frozen=True)
class Result:
    """What a whole run gives."""

    spec: RunSpec
    trials: tuple[Trial, ...]
    dimensions: tuple[IntrinsicDimension, ...]
    message: Message
    certificate: CertificateFile
    files: Mapping[str, Path]

    @property
    def frontier(self) -> Frontier:
        """What the search for the message tried."""
        return Frontier.read(self.files[FRONTIER_FILE])


def run(config: Config, *, reporter: Reporter | None = None) -> Result:
    """The whole path: trials, d90, message, certificate, tables and figure, all written to `config.output`.

    A stochastic predictor that is declared beside the message is certified by itself (`idbounds.stochastic`).
    """
    _require_message(config)
    prepared = prepare(config, reporter=reporter)
    return _finish(prepared, measure(prepared))


def compress_run(run: Run, *, options: CompressionSection | None = None) -> Result:
    """The search for a message, its certificate, tables and figure anew, from the trials in a run's store; trains no trial.

    `options` instead of those of its configuration. Raises ConfigError as `estimate` does where trials are missing.
    """
    _require_message(run.config)
    config = run.config if options is None else run.config.model_copy(update={"compression": options})
    return _finish(replace(run, config=config), stored_trials(run))


def _require_message(config: Config) -> None:
    if "message" not in config.certificate.predictors:
        raise ConfigError(
            f"predictors = {list(config.certificate.predictors)} has no message to write: idbounds measure CONFIG, then "
            "idbounds certify RUN --stochastic"
        )


def _finish(prepared: Run, trials: Sequence[Trial]) -> Result:
    dimensions = estimate(prepared, trials=trials)
    content = compress(prepared, trials=trials)
    certificate, message = certify(prepared, content=content)
    files = publish(prepared, trials=trials, dimensions=dimensions, message=message, certificate=certificate)
    return Result(prepared.spec, tuple(trials), dimensions, message, certificate, files)


def publish(
    run: Run,
    *,
    trials: Sequence[Trial],
    dimensions: Sequence[IntrinsicDimension],
    message: Message,
    certificate: CertificateFile,
) -> dict[str, Path]:
    """Write the tables, their bibliography and the figure into the run's folder; returns the paths by name."""
    tables = write_tables(
        run.folder,
        certificate_file=certificate,
        spec=run.spec,
        message=message,
        dimensions=dimensions,
        trials=trials,
        code=f"uniform step, {message.code}",
    )
    picture = accuracy_of(run.spec, dimensions=dimensions, trials=trials)
    figure = write_picture(run.folder / FIGURE_FILE, picture)
    return {**tables, FIGURE_FILE: figure, FRONTIER_FILE: run.folder / FRONTIER_FILE}
