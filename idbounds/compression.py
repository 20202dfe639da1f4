"""From finished trials to the message with the smallest bound that a search finds.

The search trains candidates: the coefficients of a trial, or of a candidate before, trained on at one step of the quantiser
and one price of a bit. Each is written, decoded and its errors on the training set are counted. All of that is free: the
bound holds for every message of the code at once, and the message pays for everything that its decoder needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

from idbounds.candidates import Candidates, Proposal, Tried, bound_of, point_of
from idbounds.certification import count as count_errors_of
from idbounds.claims import decode_bounded
from idbounds.codes import step_grid
from idbounds.core.errors import ConfigError
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.core.values import RunSpec, Trial
from idbounds.folders import FRONTIER_FILE, MESSAGE_FILE, read_message
from idbounds.measurement.keys import FULL_FINE_TUNING
from idbounds.measurement.store import TrialStore
from idbounds.preparation import Run

#: The first step of the quantiser in standard deviations of a trial's coefficients, and the bits of a Gaussian coefficient
#: rounded to it: log2(sqrt(2 pi e) / step). The second ranks trials and gives the first price; it enters no bound.
_STEP_IN_DEVIATIONS = 0.7
_BITS_PER_COORDINATE = math.log2(math.sqrt(2 * math.pi * math.e) / _STEP_IN_DEVIATIONS)
#: With each so many candidates another trial of the ranking gets one; those between are moves from what was tried. It does not
#: depend on the budget, so that a larger one goes on where a smaller one ended.
_CANDIDATES_A_TRIAL = 4
#: Where the price is to show, so many times the steps of rounding come before it: what it pulls on gives way slowly. LeNet on
#: MNIST at d = 1,000, four times the price, 450 steps of rounding: bounds of 9.6 % after 1.5 times, 9.3 after 3, 9.2 after 5.
_FREE = 3


@dataclass(frozen=True)
class Move:
    """How a candidate follows from another one: a coarser grid, another price of a bit, or neither and longer.

    `free` is how many times the steps of rounding it moves freely before.
    """

    title: str
    octaves: float = 0.0
    price: float = 1.0
    free: int = 0


#: Tried from the best candidate in this order, then from the second best, and so on.
MOVES = (
    Move("coarser", octaves=0.5),
    Move("finer", octaves=-0.5),
    Move("dearer bits", price=4.0, free=_FREE),
    Move("trained on", free=_FREE),
    Move("cheaper bits", price=0.25, free=_FREE),
)


def compress(run: Run, *, trials: Sequence[Trial], say: Callable[[str], None] | None = None) -> bytes:
    """The message with the smallest bound of those that were tried; all are written to the run's frontier.json.

    d, seed, step, code and coefficients are in the message and paid for, so the choice needs no further charge. Candidates are
    kept in the run's store: a second call trains none of them again, and one with a larger budget goes on. A message that
    lies in the folder is one of those to choose from.

    Raises ConfigError if no subspace trial finished, or training fails wherever it starts.
    """
    say = say or run.reporter.say
    ranked = rank_trials(run.spec, trials=trials)
    with TrialStore(run.store) as store:
        tried = Search(run, Candidates(run, store), ranked).all()
    points = {one.content: one.point for one in tried}
    earlier = _earlier(run, known=points)
    points |= earlier
    best = min(points, key=lambda content: (points[content].bound, points[content].bits))
    ordered = sorted(points.values(), key=lambda point: (point.bits, point.errors))
    Frontier(spec_sha256=run.spec.sha256, points=tuple(ordered), chosen=ordered.index(points[best])).write(
        run.folder / FRONTIER_FILE
    )
    if best in earlier:
        say(f"the message that was there is kept: no candidate has a bound below its {points[best].bound:.4f}")
    return best


def rank_trials(spec: RunSpec, *, trials: Sequence[Trial]) -> list[Trial]:
    """The finished subspace trials by predicted bound: validation risk, and bits as of a Gaussian. Never by the test part."""
    finished = [trial for trial in trials if trial.status == "finished" and trial.key.method != FULL_FINE_TUNING]
    if not finished:
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        raise ConfigError(f"no subspace trial finished, so there is nothing to certify: {'; '.join(reasons) or 'none was run'}")
    return sorted(finished, key=lambda trial: bound_of(spec, errors=_errors(spec, trial), bits=_bits(trial)))


def price_of_a_bit(spec: RunSpec, *, errors: int, bits: float, loss: float) -> float:
    """What a bit costs in units of the training loss where the bound has these errors and bits.

    Formula: (dB/dK) / (dB/dr) · loss / r, with the bound B as a function of K bits and the training risk r = errors / n, both
    derivatives as differences. The loss stands in for the risk in proportion: as one falls by a hundredth, so does the other.
    """
    n = spec.task.train.n
    errors = min(max(errors, 1), n - 1)
    more_bits, more_errors = max(1.0, bits / 50), max(1, min(errors // 50, n - errors))
    here = bound_of(spec, errors=errors, bits=bits)
    by_bits = (bound_of(spec, errors=errors, bits=bits + more_bits) - here) / more_bits
    by_risk = (bound_of(spec, errors=errors + more_errors, bits=bits) - here) / (more_errors / n)
    # Where the bound is 1 whatever is changed, its derivatives say nothing; a bit is then worth what it is in the limit.
    ratio = by_bits / by_risk if by_risk > 0 else math.log(2) / n
    return ratio * loss / (errors / n)


class Search:
    """The candidates of a run's budget, from ranked trials.

    Best first: every move from the best candidate, from the second best, ...; now and then one from a further trial.
    """

    def __init__(self, run: Run, candidates: Candidates, trials: Sequence[Trial]) -> None:
        self._run, self._candidates, self._trials = run, candidates, trials
        self._grid, self._options = step_grid(run.spec), run.config.compression
        self._seen: set[Proposal] = set()
        self.tried: list[Tried] = []

    def all(self) -> list[Tried]:
        """Every candidate of the budget, in the order in which they were tried.

        Raises ConfigError if training fails wherever it starts.
        """
        options, begun = self._options, time.monotonic()
        steps = options.steps or self._run.spec.training.quantization_steps
        for number, proposal in enumerate(self._proposals(steps)):
            late = options.minutes is not None and time.monotonic() - begun > 60 * options.minutes
            if number >= options.candidates or (late and self.tried and not self._candidates.is_kept(proposal)):
                break
            self._run.reporter.plan(steps=proposal.free_steps + proposal.steps)
            made = self._candidates.make(proposal)
            if made is not None:
                self.tried.append(made)
        if not self.tried:
            raise ConfigError("training failed from every trial, so there is nothing to certify; train at smaller rates")
        return self.tried

    def _proposals(self, steps: int) -> Iterator[Proposal]:
        trials = list(self._trials)
        for number in count():
            if trials and (number % _CANDIDATES_A_TRIAL == 0 or not self.tried):
                yield self._new(self._first(trials.pop(0), steps))
            elif (following := self._following(steps)) is not None:
                yield self._new(following)
            else:
                return

    def _new(self, proposal: Proposal) -> Proposal:
        self._seen.add(replace(proposal, tried_as=""))
        return proposal

    def _first(self, trial: Trial, steps: int) -> Proposal:
        return Proposal(
            trial=trial,
            start_sha256=str(trial.vector_sha256),
            step_index=self._grid.nearest_index(_STEP_IN_DEVIATIONS * self._candidates.spread(trial)),
            price=self._price(errors=_errors(self._run.spec, trial), bits=_bits(trial), loss=trial.final_loss),
            steps=steps,
            tried_as="from the trial",
        )

    def _following(self, steps: int) -> Proposal | None:
        for base in sorted(self.tried, key=lambda one: one.point.bound):
            for move in MOVES:
                proposal = self._moved(base, move, steps)
                if replace(proposal, tried_as="") not in self._seen and 0 <= proposal.step_index < self._grid.NUM_STEPS:
                    return proposal
        return None

    def _moved(self, base: Tried, move: Move, steps: int) -> Proposal:
        point, factor = base.point, base.proposal.factor * move.price
        return replace(
            base.proposal,
            start_sha256=str(base.candidate.vector_sha256),
            step_index=base.proposal.step_index - round(move.octaves * self._grid.PER_OCTAVE),
            price=factor * self._price(errors=point.errors, bits=point.bits, loss=base.candidate.loss),
            factor=factor,
            steps=steps,
            free_steps=move.free * steps,
            tried_as=move.title,
        )

    def _price(self, *, errors: int, bits: float, loss: float | None) -> float:
        # Without a loss, as in the first stores' trials, the price is 0: the step alone decides.
        return price_of_a_bit(self._run.spec, errors=errors, bits=bits, loss=loss or 0.0)


def _earlier(run: Run, *, known: dict[bytes, FrontierPoint]) -> dict[bytes, FrontierPoint]:
    """The message that lies in the folder, counted, unless it is one of the candidates."""
    path = run.folder / MESSAGE_FILE
    if not path.exists() or (content := read_message(path)) in known:
        return {}
    decoded = decode_bounded(content, spec=run.spec)
    score = count_errors_of(decoded, make_subspace=run.make_subspace, data=run.data).train
    return {content: point_of(run.spec, decoded.message, score, "the message before")}


def _errors(spec: RunSpec, trial: Trial) -> int:
    """Training errors of a trial if they are as frequent as on the validation split."""
    risk = trial.validation.risk if trial.validation is not None else 1.0
    return round(risk * spec.task.train.n)


def _bits(trial: Trial) -> float:
    return _BITS_PER_COORDINATE * trial.key.d
