"""What becomes of a run, told to experiment trackers (`report_to`): a few numbers whenever a trial ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from idbounds.core.errors import ConfigError
from idbounds.core.values import Trial
from idbounds.measurement.progress import Reporter
from idbounds.status import Status, status_of

#: Of the project, or experiment, in trackers that have one.
PROJECT = "idbounds"


class Tracker(Protocol):
    """All that is asked of a tracker."""

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Keep these numbers."""

    def finish(self) -> None:
        """Nothing more will come."""


class _TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._writer = import_module("torch.utils.tensorboard").SummaryWriter(log_dir=str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases; the usual environment variables say where (WANDB_MODE=offline: in the run's folder)."""

    def __init__(self, folder: Path) -> None:
        self._run = import_module("wandb").init(project=PROJECT, name=folder.name, dir=str(folder))

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        self._run.finish()


class _MLflow:
    """A run of MLflow, where MLFLOW_TRACKING_URI says or MLflow has its default. No active run of the caller's is touched."""

    def __init__(self, folder: Path) -> None:
        self._client: Any = import_module("mlflow").MlflowClient()
        known = self._client.get_experiment_by_name(PROJECT)
        experiment = self._client.create_experiment(PROJECT) if known is None else known.experiment_id
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def finish(self) -> None:
        self._client.set_terminated(self._run)


class _Trackio:
    """A run of trackio, in its local database (TRACKIO_DIR)."""

    def __init__(self, folder: Path) -> None:
        self._module: Any = import_module("trackio")
        self._module.init(project=PROJECT, name=folder.name)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        self._module.log(dict(values), step=step)

    def finish(self) -> None:
        self._module.finish()


#: By the name in the configuration, which is that of the extra: the module that it needs, and how to open it.
TRACKERS: dict[str, tuple[str, Callable[[Path], Tracker]]] = {
    "tensorboard": ("tensorboard", _TensorBoard),
    "wandb": ("wandb", _Wandb),
    "mlflow": ("mlflow", _MLflow),
    "trackio": ("trackio", _Trackio),
}


class Tracking:
    """A reporter that passes everything on to another one, and numbers to trackers.

    They are opened when there is something to train. One that fails later is named and left out: no tracker ends a measurement.

    Raises ConfigError for an unknown tracker, one that is not installed, or one that cannot be opened.
    """

    def __init__(self, reporter: Reporter, names: Sequence[str], *, folder: Path) -> None:
        for name in names:
            _require(name)
        self._reporter, self._names, self._folder = reporter, names, folder
        self._open: dict[str, Tracker] | None = None

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._each("finish", lambda tracker: tracker.finish())

    def plan(self, *, steps: int) -> None:
        """Opens the trackers before the first step."""
        if steps and self._open is None:
            self._open = {}
            for name in self._names:
                self._open[name] = _opened(name, self._folder)
        self._reporter.plan(steps=steps)

    def begin(self, *, label: str, d: int, seed: int) -> None:
        """Passed on."""
        self._reporter.begin(label=label, d=d, seed=seed)

    def step(self, *, step: int, steps: int, loss: float, advance: int = 1) -> None:
        """Passed on."""
        self._reporter.step(step=step, steps=steps, loss=loss, advance=advance)

    def finished(self, trial: Trial) -> None:
        """Passed on, and the numbers of the trial and of the run so far. A step is a trial that ended, in any call."""
        self._reporter.finished(trial)
        if self._open:
            status = status_of(self._folder)
            values = numbers(status, trial)
            self._each("log", lambda tracker: tracker.log(values, step=len(status.trials)))

    def say(self, text: str) -> None:
        """Passed on."""
        self._reporter.say(text)

    def _each(self, what: str, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list((self._open or {}).items()):
            try:
                act(tracker)
            except Exception as error:  # whatever a tracker raises, the trials are on disk and go on
                assert self._open is not None
                del self._open[name]
                self._reporter.say(f"{name} failed to {what} ({type(error).__name__}: {error}); it is told nothing more")


def numbers(status: Status, trial: Trial) -> dict[str, float]:
    """What is logged when a trial has ended; accuracies are fractions. Of d90, what is not censored.

    Names have letters, digits, "_" and "/" alone, which all trackers take.
    """
    values = {
        "trials/finished": float(len(status.finished())),
        "trials/failed": float(len(status.failed())),
        "trials/dropped": float(len(status.dropped())),
        "trial/d": float(trial.key.d),
        "trial/learning_rate": trial.key.learning_rate,
        "trial/seconds": trial.seconds,
    }
    if trial.validation is not None and trial.test is not None:
        values |= {"trial/validation_accuracy": trial.validation.accuracy, "trial/test_accuracy": trial.test.accuracy}
    values |= {f"test_accuracy/d_{point.d or 'full'}": point.accuracy for point in status.points()}
    for dimension in status.dimensions:
        ends = {"value": dimension.value, "lower": dimension.lower, "upper": dimension.upper}
        values |= {f"d90_{dimension.rule}/{name}": end for name, end in ends.items() if end is not None}
    return values


def _require(name: str) -> None:
    if name not in TRACKERS:
        raise ConfigError(f"unknown tracker {name!r} in report_to; known ones: {', '.join(TRACKERS)}")
    module, _ = TRACKERS[name]
    try:
        import_module(module)
    except ImportError as error:
        raise ConfigError(f'report_to = ["{name}"] needs {module} ({error}): pip install "idbounds[{name}]"') from None


def _opened(name: str, folder: Path) -> Tracker:
    _, open_it = TRACKERS[name]
    try:
        return open_it(folder)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{name} cannot be opened ({what}); set it up, or leave it out of report_to") from error
