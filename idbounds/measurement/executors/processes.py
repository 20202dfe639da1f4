"""Trials in processes of this machine, one or more for each core or GPU."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from idbounds.core.errors import ConfigError
from idbounds.core.values import Score, TrialKey
from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.trials import Outcome, TrialRunner, lost

#: What a worker sends: its name for it, and the content.
_READY, _STEP, _HALFWAY, _OUTCOME, _ERROR = "ready", "step", "halfway", "outcome", "error"


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    key: TrialKey | None = None


class Processes(Executor):
    """`workers` processes, started by `spawn` because CUDA does not survive a fork.

    A worker that dies takes one trial with it, which ends as an accident, and is replaced. Workers end with the driver,
    however it ends: their pipe to it breaks.
    """

    def __init__(self, runner: TrialRunner, *, workers: int) -> None:
        self.parallel = workers
        # As plain bytes: torch's own way of handing tensors to other processes keeps a file open for each of them.
        self._content = pickle.dumps(runner)
        self._started = 0
        self._workers: list[_Worker] = []

    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """As Executor.run says. Raises ConfigError also if a worker ends before it could begin anything."""
        waiting, left = list(keys), len(keys)
        while left:
            self._fill(min(self.parallel, left))
            for worker in self._workers:
                if worker.ready and worker.key is None and waiting:
                    self._hand(worker, waiting.pop(0), listener)
            for worker in self._with_news():
                outcome = self._news(worker, listener)
                if outcome is not None:
                    left -= 1
                    yield outcome

    def close(self) -> None:
        """Kill the workers: what they have not handed over is not wanted any more."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers.clear()

    def _fill(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        while len(self._workers) < number:
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, self._content, self._started), daemon=True)
            process.start()
            there.close()
            self._started += 1
            self._workers.append(_Worker(process, here))

    def _hand(self, worker: _Worker, key: TrialKey, listener: Listener) -> None:
        worker.key = key
        listener.begin(key)
        with suppress(OSError):  # of a worker that is dead, which reading from it shows
            worker.connection.send(key)

    def _with_news(self) -> list[_Worker]:
        ready = wait([worker.connection for worker in self._workers])
        return [worker for worker in self._workers if worker.connection in ready]

    def _news(self, worker: _Worker, listener: Listener) -> Outcome | None:
        try:
            what, content = pickle.loads(worker.connection.recv_bytes())
        except (EOFError, OSError):
            return self._gone(worker)
        if what == _READY:
            worker.ready = True
        elif what == _STEP and worker.key is not None:
            step, steps, loss = content
            listener.step(worker.key, step=step, steps=steps, loss=loss)
        elif what == _HALFWAY and worker.key is not None:
            with suppress(OSError):  # as in _hand
                worker.connection.send(listener.halfway(worker.key, content))
        elif what == _ERROR:
            raise content
        else:
            worker.key = None
            outcome: Outcome = content
            return outcome
        return None

    def _gone(self, worker: _Worker) -> Outcome | None:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        ended = f"ended with exit code {worker.process.exitcode} (-9: killed, for instance because memory was short)"
        if not worker.ready:
            raise ConfigError(f"a worker process {ended} before its first trial; its own words stand above, if it had any")
        return None if worker.key is None else lost(worker.key, f"its process {ended}")


def _work(connection: Connection, content: bytes, number: int) -> None:
    """A worker: trials by their keys, until the pipe breaks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means

    def send(what: str, news: Any) -> None:
        connection.send_bytes(pickle.dumps((what, news)))

    def verdict(score: Score) -> str:
        send(_HALFWAY, score)
        return str(connection.recv())

    try:
        runner: TrialRunner = pickle.loads(content).placed(number)
        send(_READY, None)
        while True:
            key = connection.recv()
            send(_OUTCOME, runner(key, lambda *step: send(_STEP, step), verdict))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone
    except Exception as error:
        send(_ERROR, error)
