"""Half-way validation scores of trials that differ in the learning rate alone, and who is out of the race."""

from __future__ import annotations

from collections import defaultdict

from idbounds.core.values import Score, Trial, TrialKey
from idbounds.estimation import is_hopeless
from idbounds.estimation.dropping import FIRST_CHECKPOINT

#: d and seed: with them projection and order of the examples are the same.
_Race = tuple[int, int]


class Rivals:
    """Those that finished or are running. A trial that failed or was dropped is nobody's rival: it may never have a result."""

    def __init__(self) -> None:
        self._scores: dict[_Race, dict[float, Score]] = defaultdict(dict)

    def enter(self, key: TrialKey, score: Score) -> None:
        """A running trial is half-way."""
        self._scores[key.d, key.seed][key.learning_rate] = score

    def ended(self, trial: Trial) -> None:
        """A trial has ended, in this call or an earlier one."""
        if trial.status == "finished" and trial.halfway is not None:
            self.enter(trial.key, trial.halfway)
        else:
            self._scores[trial.key.d, trial.key.seed].pop(trial.key.learning_rate, None)

    def reason_to_drop(self, key: TrialKey, score: Score) -> str:
        """Why a trial with this half-way score has no chance, or nothing."""
        others = {rate: one for rate, one in self._scores[key.d, key.seed].items() if rate != key.learning_rate}
        if not is_hopeless(score, list(others.values()), share_of_steps=FIRST_CHECKPOINT):
            return ""
        rate, best = max(others.items(), key=lambda item: item[1].accuracy)
        return (
            f"half-way {score.errors} of {score.n} validation errors, rate {rate:g} at the same d and seed {best.errors}; "
            "stopped by drop_hopeless"
        )
