"""How far a run is, read from its folder while it is trained or afterwards. Loads no data and no model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idbounds.config import Config, parse_config
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.run_files import CONFIG_FILE, SPEC_FILE
from idbounds.core.values import IntrinsicDimension, RunSpec, Trial, TrialKey
from idbounds.dimensions import dimensions_of
from idbounds.estimation import Point, choose_trials
from idbounds.measurement.keys import Keys, planned_keys
from idbounds.measurement.store import Running, TrialStore
from idbounds.reporting import percent


@dataclass(frozen=True)
class Status:
    """A run at one moment. `planned` is None for a search, which plans as it goes; `undecided` is why there is no d90 yet."""

    spec: RunSpec
    planned: int | None
    trials: tuple[Trial, ...]
    running: tuple[Running, ...]
    dimensions: tuple[IntrinsicDimension, ...]
    undecided: str
    now: float

    def finished(self) -> list[Trial]:
        """The trials that have scores."""
        return [trial for trial in self.trials if trial.status == "finished"]

    def failed(self) -> list[Trial]:
        """The trials that have a reason instead."""
        return [trial for trial in self.trials if trial.status == "failed"]

    def dropped(self) -> list[Trial]:
        """The trials that were stopped half-way."""
        return [trial for trial in self.trials if trial.status == "dropped"]

    def seconds_left(self) -> float | None:
        """Of a grid that is running: the trials left, each as long as those of its kind, shared by the workers at work."""
        alive = [one for one in self.running if one.is_alive is not False]
        if self.planned is None or not alive or not self.finished():
            return None
        done = {trial.key for trial in self.trials}
        left = [key for key in planned_keys(self.spec) if key not in done]
        return math.fsum(self._typical(bool(key.d)) for key in left) / len(alive)

    def _typical(self, in_subspace: bool) -> float:
        same = [trial.seconds for trial in self.finished() if bool(trial.key.d) == in_subspace]
        seconds = same or [trial.seconds for trial in self.finished()]
        return math.fsum(seconds) / len(seconds)

    def head(self) -> str:
        """How many trials, and the time left."""
        of = "" if self.planned is None else f" of {self.planned}"
        head = f"{self.spec.task.name}: {len(self.finished())}{of} trials finished, {len(self.failed())} failed"
        head += f", {len(self.dropped())} dropped" if self.dropped() else ""
        left = self.seconds_left()
        return head if left is None else f"{head}; about {_duration(left)} left"

    def running_lines(self) -> list[str]:
        """One for each trial that was begun and has not ended."""
        return [self._running_line(one) for one in self.running]

    def points(self) -> tuple[Point, ...]:
        """At each d, the trials of the learning rate that validation chose."""
        return choose_trials(self.trials)

    def d90_lines(self) -> list[str]:
        """One for each rule, or why there is none."""
        lines = [f"{dimension} (rule {dimension.rule})" for dimension in self.dimensions]
        return lines + ([f"no d90 yet: {self.undecided}"] if self.undecided else [])

    def lines(self) -> list[str]:
        """For a reader: one fact a line."""
        lines = [self.head(), *self.running_lines()]
        lines += [f"failed {trial.attempts} times: {_name(trial)}: {trial.reason}" for trial in self.failed()]
        for point in self.points():
            each = ", ".join(percent(score.accuracy) for score in point.scores)
            where = f"d = {point.d}" if point.d else "full fine-tuning"
            lines.append(f"{where}: test {percent(point.accuracy)} % (rate {point.learning_rate:g}; each seed {each})")
        return lines + self.d90_lines()

    def _running_line(self, one: Running) -> str:
        state = {True: "running", False: "was stopped; the next call runs it again", None: "begun"}[one.is_alive]
        where = f"d = {one.key.d}" if one.key.d else "full fine-tuning"
        since = f"since {_duration(self.now - one.since)}, process {one.process} on {one.host}"
        return f"{where}, seed {one.key.seed}, rate {one.key.learning_rate:g}: {state} ({since})"


def status_of(folder: Path) -> Status:
    """The status of the run in a folder. Raises DataError where there is none."""
    folder = Path(folder)
    spec, config = RunSpec.read(folder / SPEC_FILE), _config(folder / CONFIG_FILE)
    keys, search = Keys(spec), config.measurement.search
    planned = None if search else planned_keys(spec)
    # A store of another run would be made by looking into it.
    place = Path(config.store) if config.store is not None else folder
    if not (place / "trials.sqlite").exists():
        return Status(spec, None if planned is None else len(planned), (), (), (), "nothing was trained yet", time.time())
    with TrialStore(place) as store:
        trials = trials_of(store, keys, planned)
        running = tuple(one for one in store.running() if keys.belongs(one.key) and one.key not in {t.key for t in trials})
    dimensions, undecided = _dimensions(spec, trials)
    return Status(spec, None if planned is None else len(planned), tuple(trials), running, dimensions, undecided, time.time())


def trials_of(store: TrialStore, keys: Keys, planned: Sequence[TrialKey] | None) -> list[Trial]:
    """The trials of a run among those in its store: the planned ones, or for a search all that belong to it."""
    wanted = None if planned is None else set(planned)
    return [trial for trial in store.trials() if keys.belongs(trial.key) and (wanted is None or trial.key in wanted)]


def _dimensions(spec: RunSpec, trials: Sequence[Trial]) -> tuple[tuple[IntrinsicDimension, ...], str]:
    try:
        return dimensions_of(spec, trials=trials), ""
    except ConfigError as error:
        return (), str(error)


def _config(path: Path) -> Config:
    try:
        return parse_config(json.loads(path.read_bytes()), where=str(path))
    except FileNotFoundError:
        raise DataError(f"no such file: {path}; give the folder of a run (its `output`)") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not readable JSON: {error}") from None


def _name(trial: Trial) -> str:
    where = f"d = {trial.key.d}" if trial.key.d else "full fine-tuning"
    return f"{where}, seed {trial.key.seed}, rate {trial.key.learning_rate:g}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
