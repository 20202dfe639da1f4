"""Which learning rate to use at a d, from the comparisons at all d near it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idbounds.core.values import Trial
from idbounds.estimation.bootstrap import PRIOR_SD

#: Comparisons at d within a decade count: the rate of a subspace is divided by sqrt(d) already
#: (idbounds.measurement.trials), and the best one then moves little.
_DECADE = math.log(10.0)
#: A neighbour of the best rate is compared again while it is behind by less than one standard error, at three d at most:
#: what is undecided after that changes accuracy by less than its noise.
_CLOSE, _MOST_COMPARISONS = 1.0, 3

#: (d, seed) and what each learning rate reached there on validation: accuracy, and of how many examples.
_Groups = dict[tuple[int, int], dict[float, tuple[float, int]]]


@dataclass(frozen=True)
class _Effects:
    rates: tuple[float, ...]
    effect: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def behind(self, rate: float, best: float) -> float:
        """How many standard errors `rate` is behind `best`."""
        i, j = self.rates.index(rate), self.rates.index(best)
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        return float((self.effect[j] - self.effect[i]) / math.sqrt(max(variance, 1e-12)))


class RateEvidence:
    """All comparisons of learning rates in subspaces: trials that share d and seed and differ in the rate.

    A dropped trial counts as having ended as far behind the best of the others as it was half-way.
    """

    def __init__(self, trials: Sequence[Trial], *, menu: Sequence[float]) -> None:
        self._menu = tuple(menu)
        races: dict[tuple[int, int], list[Trial]] = defaultdict(list)
        for trial in trials:
            if trial.key.d and trial.key.learning_rate in menu:
                races[trial.key.d, trial.key.seed].append(trial)
        groups = {key: _standing(race) for key, race in races.items()}
        self._groups: _Groups = {key: rates for key, rates in groups.items() if len(rates) > 1}

    def best(self, d: int) -> float | None:
        """The rate with the largest effect in comparisons within a decade of d, or in all of them; None without any."""
        effects = self._effects(d)
        return None if effects is None else max(effects.rates, key=lambda rate: effects.effect[effects.rates.index(rate)])

    def compared(self, d: int) -> tuple[float, ...]:
        """The rates that the comparisons near d are about."""
        effects = self._effects(d)
        return () if effects is None else effects.rates

    def candidates(self, d: int) -> tuple[float, ...]:
        """The best rate and, while comparisons are few, its neighbours that may be better; the menu without any comparison."""
        best, effects = self.best(d), self._effects(d)
        if best is None or effects is None:
            return self._menu
        if len(self._near(d)) >= _MOST_COMPARISONS:
            return (best,)
        index = self._menu.index(best)
        beside = self._menu[max(0, index - 1) : index + 2]
        return tuple(
            rate for rate in beside if rate == best or rate not in effects.rates or effects.behind(rate, best) < _CLOSE
        )

    def _near(self, d: int) -> _Groups:
        near = {key: rates for key, rates in self._groups.items() if abs(math.log(key[0] / d)) <= _DECADE}
        return near or self._groups

    def _effects(self, d: int) -> _Effects | None:
        """Least squares of validation accuracy on (d, seed) and rate; an effect is relative to the mean of the rates."""
        groups = self._near(d)
        if not groups:
            return None
        rates = tuple(sorted({rate for group in groups.values() for rate in group}))
        normal = np.zeros((len(rates), len(rates)))
        moment = np.zeros(len(rates))
        variances = []
        for group in groups.values():
            index = [rates.index(rate) for rate in group]
            accuracy = np.array([reached for reached, _ in group.values()])
            sizes = np.array([size for _, size in group.values()])
            variances.append(float(np.mean(accuracy * (1 - accuracy) / sizes)))
            centring = np.eye(len(index)) - 1 / len(index)
            normal[np.ix_(index, index)] += centring
            moment[index] += centring @ accuracy
        inverse = np.asarray(np.linalg.pinv(normal), dtype=np.float64)
        noise = float(np.mean(variances)) + PRIOR_SD**2
        return _Effects(rates, np.asarray(inverse @ moment), np.asarray(inverse * noise))


def _standing(race: Sequence[Trial]) -> dict[float, tuple[float, int]]:
    """By rate, of the trials that finished or were dropped."""
    reached, halfway = {}, {}
    for trial in race:
        if trial.status == "finished" and trial.validation is not None:
            reached[trial.key.learning_rate] = trial.validation.accuracy, trial.validation.n
        if trial.status != "failed" and trial.halfway is not None:
            halfway[trial.key.learning_rate] = trial.halfway
    ahead = max((rate for rate in reached if rate in halfway), key=lambda rate: halfway[rate].accuracy, default=None)
    if ahead is not None:
        for rate in halfway.keys() - reached.keys():
            behind = halfway[ahead].accuracy - halfway[rate].accuracy
            reached[rate] = max(0.0, reached[ahead][0] - behind), halfway[rate].n
    return reached
