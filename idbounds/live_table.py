"""A run watched on a terminal: what `idbounds status` says, drawn anew whenever a trial begins or ends."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from idbounds.console import ProgressBar
from idbounds.core.errors import IdboundsError
from idbounds.core.values import Trial
from idbounds.reporting import percent
from idbounds.status import Status, status_of

#: Of the trials that run; more would push the rest off a screen of 24 lines.
_MOST_RUNNING = 6


class LiveTable(ProgressBar):
    """The bar of the steps, trials done and running, d90 so far and the accuracy at each d.

    Where the console is no terminal, it prints the lines of ProgressBar and draws nothing.

    Args:
        console: where to.
        folder: of the run that is watched; until it holds a specification, the bar stands alone.
    """

    def __init__(self, console: Console, *, folder: Path) -> None:
        super().__init__(console)
        self._folder = folder
        self._status: Status | None = None
        # Gone at the end, when the results are printed.
        self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def plan(self, *, steps: int) -> None:
        """A new count of steps to do."""
        super().plan(steps=steps)
        self._look()

    def begin(self, *, label: str, d: int, seed: int) -> None:
        """Name what is trained now."""
        super().begin(label=label, d=d, seed=seed)
        self._look()

    def finished(self, trial: Trial) -> None:
        """One line for a trial that ended, and the table anew."""
        super().finished(trial)
        self._look()

    def _look(self) -> None:
        if not self._console.is_terminal:
            return
        try:
            self._status = status_of(self._folder)
        except IdboundsError:  # of a folder without a run: something else is trained, and the bar says so
            self._status = None

    def _drawn(self) -> RenderableType:
        status = self._status
        if status is None:
            return self._bar
        running = status.running_lines()
        if len(running) > _MOST_RUNNING:
            running = [*running[:_MOST_RUNNING], f"and {len(running) - _MOST_RUNNING} more"]
        # The table last: of what does not fit on the screen, rich leaves out the end.
        lines = [Text(line, overflow="ellipsis", no_wrap=True) for line in (status.head(), *running, *status.d90_lines())]
        return Group(self._bar, *lines, _accuracies(status))


def _accuracies(status: Status) -> Table:
    table = Table()
    for head in ("d", "rate", "test accuracy (%)", "each seed"):
        table.add_column(head, justify="left" if head == "each seed" else "right", no_wrap=True)
    for point in status.points():
        each = ", ".join(percent(score.accuracy) for score in point.scores)
        table.add_row(str(point.d or "full"), f"{point.learning_rate:g}", percent(point.accuracy), each)
    return table
