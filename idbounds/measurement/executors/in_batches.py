"""Trials that differ in seed or learning rate alone, several at once, in the process that called."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from idbounds.core.errors import ConfigError, DataError, TrainingError
from idbounds.core.values import TrialKey
from idbounds.measurement.batched import TrialBatch, require_batchable
from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.executors.in_process import InProcess
from idbounds.measurement.trials import Outcome, TrialRunner, torch_threads


class InBatches(Executor):
    """Up to `size` trials of one d at a time (`TrialBatch`); the record of each says how many trained with it.

    A trial's seconds are those of its batch: trials beside each other, as with several workers. One that is left over is
    trained alone. So are all of a batch that an error ends which is no one trial's, such as short memory: each then fails, or
    not, by itself.

    Raises:
        ConfigError: these trials cannot be trained at once (`require_batchable`).
    """

    def __init__(self, runner: TrialRunner, *, size: int) -> None:
        require_batchable(runner)
        self.parallel = size
        self._runner, self._alone = runner.placed(), InProcess(runner)

    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """As Executor.run says; those of one d one after another."""
        by_d: dict[int, list[TrialKey]] = defaultdict(list)
        for key in keys:
            by_d[key.d].append(key)
        for same in by_d.values():
            for first in range(0, len(same), self.parallel):
                yield from self._together(same[first : first + self.parallel], listener)

    def _together(self, keys: Sequence[TrialKey], listener: Listener) -> Iterator[Outcome]:
        batch = None if len(keys) == 1 else self._trained(keys, listener)
        if batch is None:
            yield from self._alone.run(keys, listener=listener)
        else:
            yield from batch

    def _trained(self, keys: Sequence[TrialKey], listener: Listener) -> Iterator[Outcome] | None:
        """What came out of a batch; None if it ended in an error that is no one trial's."""
        start = time.monotonic()
        for key in keys:
            listener.begin(key)

        def tell(key: TrialKey, step: int, steps: int, loss: float) -> None:
            listener.step(key, step=step, steps=steps, loss=loss)

        try:
            with torch_threads(self._runner.threads):
                batch = TrialBatch(self._runner, keys)
                batch.train(tell)
        except (ConfigError, DataError):
            raise
        except Exception:
            return None
        return self._outcomes(batch, start=start, place=f", in a batch of {len(keys)}")

    def _outcomes(self, batch: TrialBatch, *, start: float, place: str) -> Iterator[Outcome]:
        for key, model, result in batch.results():
            try:
                if isinstance(result, TrainingError):
                    raise result
                with torch_threads(self._runner.threads):
                    outcome = self._runner.finished(key, model, loss=result, start=start, place=place)
            except (ConfigError, DataError):
                raise
            except Exception as error:
                outcome = self._runner.failed(key, error, start=start, place=place)
            yield outcome
