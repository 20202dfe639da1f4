"""The trials of a run: full fine-tuning and every (d, seed, learning rate), each kept as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from idbounds.core.values import RunSpec, Score, Trial, TrialKey
from idbounds.measurement.executors import Executor
from idbounds.measurement.keys import Keys, planned_keys
from idbounds.measurement.progress import Reporter
from idbounds.measurement.rivals import Rivals
from idbounds.measurement.store import TrialStore
from idbounds.measurement.trials import Outcome, SubspaceMaker


class Sweep:
    """Has trained what the store does not hold yet, and keeps it.

    With `drop_hopeless` (the executor's runner must score half-way) a trial stops half-way when another learning rate at its d
    and seed is far ahead there. It is kept as dropped, and not trained again as long as that other one stands; without
    `drop_hopeless` it is due like one that was never begun.

    A failed trial is kept with its reason. It is tried again until it has failed `retries` + 1 times: at once after an accident
    such as a killed process; at the next call where training itself failed, which would most likely fail again.
    """

    def __init__(
        self,
        make_subspace: SubspaceMaker,
        *,
        store: TrialStore,
        reporter: Reporter,
        executor: Executor,
        retries: int = 2,
        drop_hopeless: bool = False,
    ) -> None:
        self._make_subspace, self._spec = make_subspace, make_subspace.spec
        self._store, self._reporter, self._executor, self._retries = store, reporter, executor, retries
        self._keys = Keys(self._spec)
        self._rivals = Rivals() if drop_hopeless else None

    @property
    def spec(self) -> RunSpec:
        """What is measured."""
        return self._spec

    def run(self) -> list[Trial]:
        """All trials of the specification's grid, finished or failed."""
        self.check(self._spec.menu.dims)
        return self.complete(planned_keys(self._spec))

    def check(self, dims: Iterable[int]) -> None:
        """A d that no subspace can have fails here, before the first hour of training rather than after it."""
        for d in dims:
            self._make_subspace(d=d, seed=self._spec.menu.seeds[0])

    def complete(self, keys: Sequence[TrialKey]) -> list[Trial]:
        """The trials of these keys, in this order; those that the store does not hold are run first."""
        known = {key: self._known(key) for key in keys}
        for trial in filter(None, known.values()):
            self._note(trial)
        due = [key for key, trial in known.items() if trial is None or self._may_retry(trial)]
        try:
            self._train(due, known)
            # Those that were dropped come last: what they were dropped for may have been due itself, after a kill.
            while due := self._wrongly_dropped(known):
                self._train(due, known)
        finally:
            self._store.end()
        return [trial for trial in known.values() if trial is not None]

    def _train(self, due: list[TrialKey], known: dict[TrialKey, Trial | None]) -> None:
        """Until all have ended, those with an accident as often as they may be tried."""
        self._reporter.plan(steps=len(due) * self._spec.training.steps)
        listener = _Listener(self._store, self._reporter, self._rivals, total=len(due))
        while due:
            again = []
            for outcome in self._executor.run(due, listener=listener):
                trial = self._keep(outcome, before=known[outcome.trial.key])
                known[trial.key] = trial
                if outcome.accident and self._may_retry(trial):
                    again.append(trial.key)
            due = again

    def _wrongly_dropped(self, known: Mapping[TrialKey, Trial | None]) -> list[TrialKey]:
        """Dropped by another plan, or for a trial that has no result after all."""
        dropped = [trial for trial in known.values() if trial is not None and trial.status == "dropped"]
        return [trial.key for trial in dropped if not self._may_stay_dropped(trial)]

    def _may_stay_dropped(self, trial: Trial) -> bool:
        if self._rivals is None or trial.halfway is None:
            return False
        return bool(self._rivals.reason_to_drop(trial.key, trial.halfway))

    def _note(self, trial: Trial) -> None:
        if self._rivals is not None:
            self._rivals.ended(trial)

    def _known(self, key: TrialKey) -> Trial | None:
        """From the store, where the first stores' form of the key may be."""
        found = self._store.get(key)
        if found is not None:
            return found
        old = self._store.get(self._keys.first_form(key))
        return None if old is None else self._store.add(old.model_copy(update={"key": key}))

    def _may_retry(self, trial: Trial) -> bool:
        return trial.status == "failed" and trial.attempts <= self._retries

    def _keep(self, outcome: Outcome, *, before: Trial | None) -> Trial:
        attempts = 1 if before is None else before.attempts + 1
        digest = None if outcome.vector is None else self._store.add_vector(outcome.vector)
        trial = self._store.add(outcome.trial.model_copy(update={"attempts": attempts, "vector_sha256": digest}))
        self._note(trial)
        self._reporter.finished(trial)
        return trial


class _Listener:
    """Turns what an executor tells of keys into what readers are told."""

    def __init__(self, store: TrialStore, reporter: Reporter, rivals: Rivals | None, *, total: int) -> None:
        self._store, self._reporter, self._rivals, self._total = store, reporter, rivals, total
        self._done: dict[TrialKey, int] = {}

    def begin(self, key: TrialKey) -> None:
        self._done[key] = 0
        self._store.begin(key)
        self._reporter.begin(label=f"trial {len(self._done)}/{self._total}", d=key.d, seed=key.seed)

    def step(self, key: TrialKey, *, step: int, steps: int, loss: float) -> None:
        advance, self._done[key] = step - self._done[key], step
        self._reporter.step(step=step, steps=steps, loss=loss, advance=advance)

    def halfway(self, key: TrialKey, score: Score) -> str:
        if self._rivals is None:
            return ""
        reason = self._rivals.reason_to_drop(key, score)
        if not reason:
            self._rivals.enter(key, score)
        return reason
