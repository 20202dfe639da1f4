"""The measured half of a run: trials, and d90 from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import torch

from idbounds.config import ExecutionSection
from idbounds.core.errors import ConfigError
from idbounds.core.run_files import d90_file
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.dimensions import dimensions_of
from idbounds.estimation import SearchPlan
from idbounds.measurement.executors import Executor, InBatches, InProcess, Processes, RayTasks
from idbounds.measurement.keys import Keys, planned_keys
from idbounds.measurement.searching import search
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.trials import TrialRunner
from idbounds.preparation import Run
from idbounds.status import trials_of
from idbounds.tracking import Tracking

#: Seeds of full fine-tuning before a search refines anything; as SearchPlan's default, or what seeds there are.
_BASELINE_SEEDS = 3


def measure(run: Run) -> list[Trial]:
    """Train every trial of the grid, or of the search, that the run's store does not hold yet.

    Raises ConfigError and DataError as training does, and ConfigError where the disk is full: finished trials are kept.
    """
    execution, drops = run.config.execution, run.config.measurement.drop_hopeless
    if drops and execution.executor == "ray":
        raise ConfigError(
            "drop_hopeless = true with executor = 'ray': its tasks cannot ask half-way; set one of them otherwise"
        )
    runner = replace(run.runner, scores_halfway=drops)
    with (
        TrialStore(run.store) as store,
        _executor(execution, runner) as executor,
        Tracking(run.reporter, execution.report_to, folder=run.folder) as reporter,
    ):
        sweep = Sweep(
            run.make_subspace,
            store=store,
            reporter=reporter,
            executor=executor,
            retries=execution.retries,
            drop_hopeless=drops,
        )
        if not run.config.measurement.search:
            return sweep.run()
        return search(sweep, _plan(run, parallel=executor.parallel), menu=run.spec.menu.dims, say=reporter.say)


def stored_trials(run: Run) -> list[Trial]:
    """What the run's store holds of its trials; trains nothing."""
    planned = None if run.config.measurement.search else planned_keys(run.spec)
    with TrialStore(run.store) as store:
        return trials_of(store, Keys(run.spec), planned)


def estimate(run: Run, *, trials: Sequence[Trial]) -> tuple[IntrinsicDimension, ...]:
    """d90 under each rule, written to the run's folder."""
    dimensions = dimensions_of(run.spec, trials=trials)
    for dimension in dimensions:
        dimension.write(run.folder / d90_file(dimension.rule))
    return dimensions


def _plan(run: Run, *, parallel: int) -> SearchPlan:
    spec, measurement = run.spec, run.config.measurement
    return SearchPlan(
        smallest_d=spec.menu.dims[0],
        largest_d=spec.menu.dims[-1],
        learning_rates=spec.training.learning_rates,
        full_learning_rates=spec.training.full_learning_rates,
        seeds=spec.menu.seeds,
        majority_accuracy=1 - spec.task.test.majority_errors / spec.task.test.n,
        rule=measurement.search_rule,
        wanted_ratio=measurement.wanted_ratio,
        baseline_seeds=min(_BASELINE_SEEDS, len(spec.menu.seeds)),
        most_trials=measurement.most_trials,
        parallel=parallel,
    )


def _executor(execution: ExecutionSection, runner: TrialRunner) -> Executor:
    if execution.batch_trials > 1 and execution.executor != "in_process":
        raise ConfigError(
            f"batch_trials = {execution.batch_trials} with executor = {execution.executor!r}: trials are trained at once in "
            "one process; set executor = 'in_process' or batch_trials = 1"
        )
    if execution.devices_per_trial > 1 and execution.executor == "in_process":
        raise ConfigError(
            f"devices_per_trial = {execution.devices_per_trial} with executor = 'in_process': each device needs a process "
            "of its own; set executor = 'processes' or 'ray'"
        )
    if execution.executor == "in_process":
        if execution.workers not in (None, 1):
            raise ConfigError(f"workers = {execution.workers} with executor = 'in_process'; set executor = 'processes'")
        return InBatches(runner, size=execution.batch_trials) if execution.batch_trials > 1 else InProcess(runner)
    if execution.executor == "processes":
        devices = execution.devices_per_trial
        return Processes(runner, workers=execution.workers or _places(runner, devices), devices_per_trial=devices)
    return RayTasks(
        runner,
        address=execution.ray_address,
        workers=execution.workers,
        cpus=execution.ray_cpus,
        gpus=execution.ray_gpus,
        devices_per_trial=execution.devices_per_trial,
    )


def _places(runner: TrialRunner, devices: int) -> int:
    """One trial for so many GPUs, or for as many cores as its processes have threads."""
    if runner.device == "cuda":
        return max(1, torch.cuda.device_count() // devices)
    # Fewer than the machine has where a scheduler such as Slurm, or taskset, gave this process some of them.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (runner.threads * devices))
