"""Small real sweeps for the tests of this folder: a bag of words, two classes, a few steps a trial."""

from __future__ import annotations

import os
import signal

from small_models import Bag, word_problem

from idbounds.core.values import Menu, ModelSpec, RunSpec, Split, Task, TrainingSpec
from idbounds.measurement.progress import Silent
from idbounds.measurement.trials import SubspaceMaker, TrialRunner

DATA = {part: word_problem(40, seed=seed) for seed, part in enumerate(("train", "validation", "test"))}


class Recorder(Silent):
    """Remembers what was begun; presses Ctrl-C in a chosen trial."""

    def __init__(self, *, interrupt_in: int | None = None):
        self.begun, self.done, self.planned, self._interrupt_in = [], [], None, interrupt_in

    def plan(self, *, steps):
        self.planned = steps

    def begin(self, *, label, d, seed):
        self.begun.append((d, seed))

    def step(self, *, step, steps, loss, advance=1):
        if len(self.begun) == self._interrupt_in and step == 2:
            raise KeyboardInterrupt

    def finished(self, trial):
        self.done.append(trial)


class Killer(Recorder):
    """Kills a process of the executor's in the middle of the first trial: of those that train it, the one of this rank."""

    def __init__(self, executor, *, rank=0):
        super().__init__()
        self.executor, self.killed, self._rank = executor, None, rank

    def step(self, *, step, steps, loss, advance=1):
        if self.killed is None and step == 2:
            victim = next(worker for worker in self.executor._workers if worker.key is not None)
            self.killed = victim.key
            os.kill(victim.processes[self._rank].pid, signal.SIGKILL)


def spec(*, dims=(10, 20), seeds=(0, 1), rates=(1.0,), full_rates=(0.05,)):
    part = Split(n=40, sha256_of_examples="a" * 64, majority_errors=20)
    return RunSpec(
        task=Task(
            name="words",
            source="made up",
            licence="CC0",
            label_names=("0", "1"),
            train=part,
            validation=part,
            test=part,
            duplicates_removed=0,
        ),
        model=ModelSpec(
            name="bag",
            source="made up",
            num_weights=178,
            num_labels=2,
            theta0_sha256="b" * 64,
            tokenizer_sha256="c" * 64,
            head_seed=0,
            max_length=24,
            eval_batch_size=16,
        ),
        parametrization="said",
        projection="fastfood",
        allocation="global",
        menu=Menu(dims=dims, seeds=seeds),
        training=TrainingSpec(
            learning_rates=rates, full_learning_rates=full_rates, batch_size=8, steps=4, quantization_steps=2
        ),
        delta=0.05,
        idbounds_version="0.1.0",
    )


def changed(run_spec, **training):
    """The specification with other settings of training."""
    return run_spec.model_copy(update={"training": run_spec.training.model_copy(update=training)})


def runner_of(run_spec, *, model=None):
    return TrialRunner(SubspaceMaker(model or Bag(), run_spec, {}), DATA, threads=1)
