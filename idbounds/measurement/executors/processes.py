"""Trials in processes of this machine: one or more for each core or GPU, or several for one trial."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from idbounds.core.errors import ConfigError
from idbounds.core.values import Score, TrialKey
from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.team import joined, require_divisible
from idbounds.measurement.trials import Outcome, TrialRunner, lost

#: What a worker sends: its name for it, and the content.
_READY, _STEP, _HALFWAY, _OUTCOME, _ERROR = "ready", "step", "halfway", "outcome", "error"


@dataclass(eq=False)
class _Worker:
    """The processes that train one trial at a time; the first of them speaks for all."""

    processes: list[SpawnProcess]
    connections: list[Connection]
    num_ready: int = 0
    key: TrialKey | None = None

    @property
    def ready(self) -> bool:
        return self.num_ready == len(self.processes)

    def end(self) -> None:
        for process, connection in zip(self.processes, self.connections, strict=True):
            process.kill()
            process.join()
            connection.close()


class Processes(Executor):
    """`workers` trials at a time, each by `devices_per_trial` processes, which are started by `spawn` because CUDA does not
    survive a fork.

    A process that dies takes one trial with it, which ends as an accident, and is replaced together with those that trained
    that trial. Processes end with the driver, however it ends: their pipe to it breaks.

    Raises:
        ConfigError: several processes cannot train one trial of this model (`require_divisible`).
    """

    def __init__(self, runner: TrialRunner, *, workers: int, devices_per_trial: int = 1) -> None:
        if devices_per_trial > 1:
            require_divisible(runner.make_subspace.model)
        self.parallel = workers
        # As plain bytes: torch's own way of handing tensors to other processes keeps a file open for each of them.
        self._content = pickle.dumps(runner)
        self._team_size, self._started = devices_per_trial, 0
        self._workers: list[_Worker] = []
        self._folder = tempfile.TemporaryDirectory(prefix="idbounds-") if devices_per_trial > 1 else None

    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """As Executor.run says. Raises ConfigError also if a process ends before it could begin anything."""
        waiting, left = list(keys), len(keys)
        while left:
            self._fill(min(self.parallel, left))
            for worker in self._workers:
                if worker.ready and worker.key is None and waiting:
                    self._hand(worker, waiting.pop(0), listener)
            for worker, connection in self._with_news():
                outcome = self._news(worker, connection, listener) if worker in self._workers else None
                if outcome is not None:
                    left -= 1
                    yield outcome

    def close(self) -> None:
        """Kill the workers: what they have not handed over is not wanted any more."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def _fill(self, number: int) -> None:
        while len(self._workers) < number:
            first, size = self._started * self._team_size, self._team_size
            meeting_point = "" if self._folder is None else str(Path(self._folder.name) / str(self._started))
            places = [_Place(number=first + rank, rank=rank, size=size, meeting_point=meeting_point) for rank in range(size)]
            started = [self._start(place) for place in places]
            self._started += 1
            self._workers.append(_Worker([process for process, _ in started], [connection for _, connection in started]))

    def _start(self, place: _Place) -> tuple[SpawnProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, self._content, place), daemon=True)
        process.start()
        there.close()
        return process, here

    def _hand(self, worker: _Worker, key: TrialKey, listener: Listener) -> None:
        worker.key = key
        listener.begin(key)
        for connection in worker.connections:
            with suppress(OSError):  # of a process that is dead, which reading from it shows
                connection.send(key)

    def _with_news(self) -> list[tuple[_Worker, Connection]]:
        listened_to = [(worker, connection) for worker in self._workers for connection in worker.connections]
        ready = wait([connection for _, connection in listened_to])
        return [(worker, connection) for worker, connection in listened_to if connection in ready]

    def _news(self, worker: _Worker, connection: Connection, listener: Listener) -> Outcome | None:
        try:
            what, content = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return self._gone(worker, connection)
        if what == _READY:
            worker.num_ready += 1
        elif what == _STEP and worker.key is not None:
            step, steps, loss = content
            listener.step(worker.key, step=step, steps=steps, loss=loss)
        elif what == _HALFWAY and worker.key is not None:
            with suppress(OSError):  # as in _hand
                connection.send(listener.halfway(worker.key, content))
        elif what == _ERROR:
            raise content
        else:
            worker.key = None
            outcome: Outcome = content
            if outcome.trial.status == "failed" and len(worker.processes) > 1:
                self._end(worker)  # the others may be waiting for the one that failed
            return outcome
        return None

    def _gone(self, worker: _Worker, connection: Connection) -> Outcome | None:
        process = worker.processes[worker.connections.index(connection)]
        process.join()
        self._end(worker)
        ended = f"ended with exit code {process.exitcode} (-9: killed, for instance because memory was short)"
        if not worker.ready:
            raise ConfigError(f"a worker process {ended} before its first trial; its own words stand above, if it had any")
        return None if worker.key is None else lost(worker.key, f"its process {ended}")

    def _end(self, worker: _Worker) -> None:
        worker.end()
        self._workers.remove(worker)


@dataclass(frozen=True)
class _Place:
    """Of a process: its number among all, and its rank among the `size` that train a trial."""

    number: int
    rank: int
    size: int
    meeting_point: str


def _work(connection: Connection, content: bytes, place: _Place) -> None:
    """A process: trials by their keys, until the pipe breaks. Those of a rank above 0 tell only of what ended badly."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means

    def send(what: str, news: Any) -> None:
        connection.send_bytes(pickle.dumps((what, news)))

    def verdict(score: Score) -> str:
        if place.rank:
            return ""
        send(_HALFWAY, score)
        return str(connection.recv())

    def progress(*step: Any) -> None:
        if not place.rank:
            send(_STEP, step)

    try:
        runner: TrialRunner = pickle.loads(content).placed(place.number)
        with joined(place.rank, place.size, meeting_point=place.meeting_point) as team:
            send(_READY, None)
            runner = replace(runner, team=team)
            while True:
                outcome = runner(connection.recv(), progress, verdict)
                if not place.rank or outcome.trial.status == "failed":
                    send(_OUTCOME, outcome)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone
    except Exception as error:
        send(_ERROR, error)
