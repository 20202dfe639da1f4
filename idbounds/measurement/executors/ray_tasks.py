"""Trials as tasks of Ray: on many machines, several on a GPU, or several GPUs' worth of machines."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.values import Score, TrialKey
from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.executors.processes import Processes
from idbounds.measurement.team import require_divisible
from idbounds.measurement.trials import Outcome, TrialRunner, lost


class RayTasks(Executor):
    """One task a trial, placed by Ray where `cpus` and `gpus` (a fraction shares one) are free.

    A task whose worker or machine is lost ends as an accident; Ray itself retries nothing, so that every try is counted in one
    place. The machines need the same idbounds and torch. The driver alone has the store, so they need no common file system.

    Args:
        runner: of the trials; put into Ray's object store once.
        address: ``"local"`` starts a Ray of its own and ends it; ``"auto"`` or ``"host:port"`` joins a cluster.
        workers: CPUs that a Ray of its own offers; None for all cores. A cluster has its own count.
        cpus, gpus: that each trial takes.
        devices_per_trial: processes that train one trial, on one machine (`Processes`).
    """

    def __init__(
        self,
        runner: TrialRunner,
        *,
        address: str = "local",
        workers: int | None = None,
        cpus: float = 1,
        gpus: float = 0,
        devices_per_trial: int = 1,
    ) -> None:
        if devices_per_trial > 1:
            require_divisible(runner.make_subspace.model)
        # Ray reads these when it is imported. It reports usage to its makers unless told not to.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self._ray = _library()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._owned = not self._ray.is_initialized()
        if self._owned:
            self._start(address, workers)
        try:
            self.parallel = max(1, self._slots(cpus, gpus))
        except ConfigError:
            self.close()
            raise
        self._steps = runner.make_subspace.spec.training.steps
        self._runner, self._devices_per_trial = self._ray.put(runner), devices_per_trial
        self._trial = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_run_trial)

    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """As Executor.run says. Steps are told of when a trial has ended."""
        waiting = list(keys)
        running: dict[Any, TrialKey] = {}
        while waiting or running:
            while waiting and len(running) < self.parallel:
                key = waiting.pop(0)
                running[self._trial.remote(self._runner, key, self._devices_per_trial)] = key
                listener.begin(key)
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            key = running.pop(done)
            outcome = self._outcome(done, key)
            if outcome.trial.status == "finished":
                listener.step(key, step=self._steps, steps=self._steps, loss=outcome.trial.final_loss or 0.0)
            yield outcome

    def close(self) -> None:
        """Leave the cluster, or end a Ray of one's own; its tasks end with it."""
        if self._owned and self._ray.is_initialized():
            self._ray.shutdown()
        if self._folder is not None:
            self._folder.cleanup()

    def _start(self, address: str, workers: int | None) -> None:
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "warning"}
        if address == "local":
            # A folder of its own: Ray's default is one for all users of the machine. Its sockets allow only short paths.
            self._folder = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp" if Path("/tmp").is_dir() else None)
            options |= {"_temp_dir": self._folder.name, "num_cpus": workers, "include_dashboard": False}
            # Its workers find what the driver finds; the machines of a cluster have their own places.
            options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        try:
            self._ray.init(**options)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f"no Ray at {address!r}: {error}; start one (`ray start --head`) or set address = 'local'"
            ) from None

    def _slots(self, cpus: float, gpus: float) -> int:
        """Trials that the cluster, as it is now, takes at a time; more would wait in Ray's queue and be called running."""
        resources = self._ray.cluster_resources()
        shares = [resources.get(name, 0.0) / wanted for name, wanted in (("CPU", cpus), ("GPU", gpus)) if wanted]
        if shares and min(shares) < 1:
            raise ConfigError(f"a trial wants {cpus:g} CPUs and {gpus:g} GPUs, the cluster has {resources}; ask for less")
        return int(min(shares, default=1))

    def _outcome(self, done: Any, key: TrialKey) -> Outcome:
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(done)
        except (ConfigError, DataError):
            raise
        except errors.RayTaskError as error:
            reason = str(error.cause).strip().splitlines()[-1]
            raise ConfigError(f"a Ray worker could not run a trial: {reason}; it needs the packages of the driver") from None
        except errors.RayError as error:
            return lost(key, f"its Ray worker was lost ({type(error).__name__})")
        return outcome


def _run_trial(runner: TrialRunner, key: TrialKey, devices: int) -> Outcome:
    if devices == 1:
        return runner.placed()(key, lambda *_: None)
    with Processes(runner, workers=1, devices_per_trial=devices) as executor:
        (outcome,) = executor.run([key], listener=_Nobody())
    return outcome


class _Nobody:
    """Listens to nothing: what a task has to say it returns."""

    def begin(self, key: TrialKey) -> None:
        """Is known."""

    def step(self, key: TrialKey, *, step: int, steps: int, loss: float) -> None:
        """Is told of at the end."""

    def halfway(self, key: TrialKey, score: Score) -> str:  # noqa: ARG002
        """Goes on."""
        return ""


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError('executor = "ray" needs Ray: pip install "idbounds[ray]"') from error
    return ray
