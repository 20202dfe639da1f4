"""One trial: from its key to what came out of it. A function of the key alone, in whatever process it is called."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from idbounds.core.errors import ConfigError, DataError, TrainingError
from idbounds.core.values import RunSpec, Score, Trial, TrialKey
from idbounds.measurement.batches import Data
from idbounds.measurement.parametrizations import parametrization_by_name
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.team import ALONE, Team
from idbounds.measurement.training import count_errors, train
from idbounds.projections import projection_family

#: Called after each training step with (step, steps, loss).
Progress = Callable[[int, int, float], None]

#: Called half-way with the validation score; returns why to stop there, or nothing to go on.
Verdict = Callable[[Score], str]


@dataclass(frozen=True)
class SubspaceMaker:
    """The subspaces that a specification describes, one for each choice from its menu.

    They share the weights of `model`, which nothing here writes to. `options` are those of the parametrization as they were
    given: a specification holds of large ones the hash alone.
    """

    model: nn.Module
    spec: RunSpec
    options: Mapping[str, Any]
    memory: Literal["keep", "recompute"] = "keep"

    def __call__(self, *, d: int, seed: int) -> Subspace:
        """Raises ConfigError if the specification was made with another version of the projection or other options."""
        spec, version = self.spec, projection_family(self.spec.projection).version
        if spec.projection_version not in (None, version):
            raise ConfigError(
                f"the specification was made with version {spec.projection_version} of {spec.projection!r}, this idbounds has "
                f"version {version}; use the version of idbounds that made it"
            )
        given = parametrization_by_name(spec.parametrization).recorded(self.options)
        if given != spec.parametrization_options:
            raise ConfigError(
                f"the options of {spec.parametrization!r} are {given}, the specification was made with "
                f"{spec.parametrization_options}; give those"
            )
        return Subspace(
            self.model,
            dim=d,
            projection=spec.projection,
            projection_options=spec.projection_options,
            parametrization=spec.parametrization,
            parametrization_options=self.options,
            seed=seed,
            allocation=spec.allocation,
            train_directly=spec.train_directly,
            memory=self.memory,
            share_weights=True,
        )


def coordinate_rate(key: TrialKey) -> float:
    """Adam's learning rate for each trained number of a trial.

    For a subspace it is the trial's rate / sqrt(d). Adam moves every coordinate by about its rate, so a step
    in d coordinates has length rate * sqrt(d); as P keeps lengths, dividing by sqrt(d) makes a step as
    long in weight space at every d, and one setting serves a whole grid.
    """
    return key.learning_rate / math.sqrt(key.d) if key.d else key.learning_rate


def trial_model(make_subspace: SubspaceMaker, *, d: int, seed: int) -> nn.Module:
    """What a trial trains: a subspace, or for d = 0 a copy of the model.

    Full fine-tuning is done in float32 whatever θ₀ is kept in: steps are smaller than the spacing of shorter types.
    """
    return make_subspace(d=d, seed=seed) if d else copy.deepcopy(make_subspace.model).float()


@dataclass(frozen=True)
class Outcome:
    """A trial that ended, with its vector if it has one, which is not in a store yet.

    `accident`: it failed for a reason that need not come again, such as a process that was killed, so that it is worth
    another try at once.
    """

    trial: Trial
    vector: Tensor | None = None
    accident: bool = False


def lost(key: TrialKey, reason: str) -> Outcome:
    """The outcome of a trial whose process is gone."""
    return Outcome(Trial(key=key, status="failed", reason=reason, seconds=0.0), accident=True)


@dataclass(frozen=True)
class TrialRunner:
    """Runs trials of one specification. It can be pickled, so that other processes run them too.

    Args:
        make_subspace: of the specification.
        data: by the names of the splits.
        threads: of torch, in every process. Sums are made in another order by another number of threads, so trials are equal
            bit for bit only if this is.
        device: where models and batches are put, ``"cpu"`` or ``"cuda"``.
        scores_halfway: whether errors on the validation split are counted after half of the steps, and a verdict asked for.
        team: this process's place among those that train the trial; process 0 speaks for all of them.
    """

    make_subspace: SubspaceMaker
    data: Mapping[str, Data]
    threads: int
    device: str = "cpu"
    scores_halfway: bool = False
    team: Team = ALONE

    def placed(self, worker: int = 0) -> TrialRunner:
        """With the model on the device; workers take the CUDA devices in turn."""
        if self.device == "cpu":
            return self
        if not torch.cuda.is_available():
            raise ConfigError(f"device = {self.device!r}, but torch sees no CUDA device; set device = 'cpu'")
        device = torch.device("cuda", worker % torch.cuda.device_count())
        model = copy.deepcopy(self.make_subspace.model).to(device)
        return replace(self, make_subspace=replace(self.make_subspace, model=model))

    def __call__(self, key: TrialKey, progress: Progress, verdict: Verdict = lambda _: "") -> Outcome:
        """Train and count, or stop half-way where the verdict says so.

        Raises ConfigError and DataError, which no other trial would escape; whatever else goes wrong is a failed trial.
        """
        start = time.monotonic()
        try:
            with torch_threads(self.threads):
                return self._train(key, progress, verdict, start)
        except (ConfigError, DataError):
            raise
        except _DroppedError as stopped:
            return Outcome(self._dropped(key, stopped, seconds=time.monotonic() - start))
        except Exception as error:
            return self.failed(key, error, start=start)

    def _train(self, key: TrialKey, progress: Progress, verdict: Verdict, start: float) -> Outcome:
        spec = self.make_subspace.spec
        task = task_by_name(spec.learning_task)
        model = trial_model(self.make_subspace, d=key.d, seed=key.seed)
        batch_size = spec.model.eval_batch_size
        halfway = None
        if self.scores_halfway:
            halfway = _HalfWay(
                lambda: count_errors(model, self.data["validation"], batch_size=batch_size, task=task, team=self.team),
                progress,
                lambda score: self.team.agreed(verdict(score)),
            )
        loss = train(
            model,
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            data=self.data["train"],
            validation=self.data["validation"],
            learning_rate=coordinate_rate(key),
            steps=spec.training.steps,
            seed=key.seed,
            settings=spec.training,
            task=task,
            progress=halfway or progress,
            team=self.team,
        )
        return self.finished(key, model, loss=loss, start=start, halfway=None if halfway is None else halfway.score)

    def finished(
        self, key: TrialKey, model: nn.Module, *, loss: float, start: float, halfway: Score | None = None, place: str = ""
    ) -> Outcome:
        """Count the errors of a trained model. `place` is added to where the trial ran."""
        spec = self.make_subspace.spec
        task, batch_size = task_by_name(spec.learning_task), spec.model.eval_batch_size
        validation, test = (
            count_errors(model, self.data[part], batch_size=batch_size, task=task, team=self.team)
            for part in ("validation", "test")
        )
        trial = Trial(
            key=key,
            status="finished",
            validation=validation,
            test=test,
            final_loss=loss,
            seconds=time.monotonic() - start,
            ran_on=self._place + place,
            halfway=halfway,
        )
        return Outcome(trial, vector=model.theta_d.detach().cpu().clone() if isinstance(model, Subspace) else None)

    def failed(self, key: TrialKey, error: Exception, *, start: float, place: str = "") -> Outcome:
        """The outcome of a trial that ended in an error; what training itself did not raise is an accident."""
        deliberate = isinstance(error, TrainingError)
        reason = str(error) if deliberate else f"{type(error).__name__}: {error}"
        trial = Trial(key=key, status="failed", reason=reason, seconds=time.monotonic() - start, ran_on=self._place + place)
        return Outcome(trial, accident=not deliberate)

    def _dropped(self, key: TrialKey, stopped: _DroppedError, *, seconds: float) -> Trial:
        return Trial(key=key, status="dropped", reason=str(stopped), seconds=seconds, ran_on=self._place, halfway=stopped.score)

    @property
    def _place(self) -> str:
        together = f", {self.team.size} processes" if self.team.size > 1 else ""
        return f"{self.device}, {self.threads} threads{together}"


class _DroppedError(Exception):
    """Out of the training loop, half-way."""

    def __init__(self, reason: str, *, score: Score) -> None:
        super().__init__(reason)
        self.score = score


class _HalfWay:
    """A progress that counts once, after the step with which half of them are done, and asks whether to go on."""

    def __init__(self, count: Callable[[], Score], progress: Progress, verdict: Verdict) -> None:
        self._count, self._progress, self._verdict = count, progress, verdict
        self.score: Score | None = None

    def __call__(self, step: int, steps: int, loss: float) -> None:
        self._progress(step, steps, loss)
        if step != (steps + 1) // 2:
            return
        self.score = self._count()
        if reason := self._verdict(self.score):
            raise _DroppedError(reason, score=self.score)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """torch with so many threads within, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
