"""One trial after another, in the process that called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from idbounds.core.values import TrialKey
from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.trials import Outcome, TrialRunner


class InProcess(Executor):
    """The default: nothing is started, and a debugger sees everything."""

    def __init__(self, runner: TrialRunner) -> None:
        self._runner = runner.placed()

    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """As Executor.run says."""
        for key in keys:
            listener.begin(key)
            yield self._runner(key, partial(_tell, listener, key), partial(listener.halfway, key))


def _tell(listener: Listener, key: TrialKey, step: int, steps: int, loss: float) -> None:
    listener.step(key, step=step, steps=steps, loss=loss)
