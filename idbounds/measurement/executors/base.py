"""What runs trials: here, in other processes, or on other machines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from idbounds.core.values import Score, TrialKey
from idbounds.measurement.trials import Outcome


class Listener(Protocol):
    """Is told what happens to trials that have not ended."""

    def begin(self, key: TrialKey) -> None:
        """A trial begins."""

    def step(self, key: TrialKey, *, step: int, steps: int, loss: float) -> None:
        """So many of its training steps are done."""

    def halfway(self, key: TrialKey, score: Score) -> str:
        """Its validation score after half of them; returns why to stop it, or nothing. Asked if the runner scores half-way."""


class Executor(ABC):
    """Runs trials of one specification. Used as a context; its workers, if any, end with it.

    An executor keeps nothing and decides nothing: the caller, who has the store, does both. `parallel` says how many trials it
    runs at a time.
    """

    parallel: int = 1

    @abstractmethod
    def run(self, keys: Sequence[TrialKey], *, listener: Listener) -> Iterator[Outcome]:
        """One outcome for each key, as the trials end. A trial whose worker is lost ends as an accident.

        Raises ConfigError and DataError as the trial does.
        """

    def close(self) -> None:  # noqa: B027 - there may be none
        """End the workers, at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
