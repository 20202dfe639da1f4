"""The messages that the search for the smallest bound tries: trained, written, decoded, counted, and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from idbounds.bounds import BOUNDS
from idbounds.certification import network_at
from idbounds.codes import decode_message, encode_message, step_grid
from idbounds.core.candidate import Candidate, CandidateKey
from idbounds.core.errors import TrainingError
from idbounds.core.frontier import FrontierPoint
from idbounds.core.units import bits_to_nats
from idbounds.core.values import Message, RunSpec, Score, Trial
from idbounds.measurement.batch_statistics import require_unchanged_statistics
from idbounds.measurement.rate_training import train_for_rate
from idbounds.measurement.store import TrialStore
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors
from idbounds.preparation import Run

#: Prices keep so many digits: the last ones depend on how a bound was rounded, and the key of a candidate must not.
_DIGITS = 4


@dataclass(frozen=True)
class Proposal:
    """A candidate that has not been looked at: of which trial, from which numbers, at which step and price of a bit.

    The price is `factor` times the bound's own where it starts; `free_steps` come before the `steps` in which it is rounded.
    """

    trial: Trial
    start_sha256: str
    step_index: int
    price: float
    steps: int
    tried_as: str
    free_steps: int = 0
    factor: float = 1.0


@dataclass(frozen=True)
class Tried:
    """A candidate that was written and counted."""

    proposal: Proposal
    candidate: Candidate
    content: bytes
    point: FrontierPoint


def bound_of(spec: RunSpec, *, errors: int, bits: float) -> float:
    """The certified bound from training errors and bits: what the search makes small."""
    nats = bits_to_nats(bits)
    return float(
        BOUNDS["occam_binomial"].from_counts(errors=errors, n=spec.task.train.n, complexity_nats=nats, delta=spec.delta_of_each)
    )


class Candidates:
    """Makes the candidates of a run, or takes them from its store."""

    def __init__(self, run: Run, store: TrialStore) -> None:
        self._run, self._store = run, store
        self._task = task_by_name(run.spec.learning_task)
        self._grid = step_grid(run.spec)

    def is_kept(self, proposal: Proposal) -> bool:
        """Whether it was made before."""
        return self._store.candidate(self._key(proposal)) is not None

    def spread(self, trial: Trial) -> float:
        """Standard deviation of a trial's coefficients."""
        return float(self._store.vector(str(trial.vector_sha256)).std(correction=0))

    def make(self, proposal: Proposal) -> Tried | None:
        """Train, write, decode and count; None where training failed."""
        candidate = self._store.candidate(self._key(proposal)) or self._made(proposal)
        if candidate.vector_sha256 is None or candidate.train is None:
            return None
        content = self._message(proposal, self._store.vector(candidate.vector_sha256))
        message = decode_message(content, spec=self._run.spec).message
        return Tried(proposal, candidate, content, point_of(self._run.spec, message, candidate.train, proposal.tried_as))

    def _key(self, proposal: Proposal) -> CandidateKey:
        return CandidateKey(
            trial_sha256=proposal.trial.key.sha256,
            start_sha256=proposal.start_sha256,
            step=self._grid.step(proposal.step_index),
            price=float(f"{proposal.price:.{_DIGITS}g}"),
            steps=proposal.steps,
            free_steps=proposal.free_steps,
        )

    def _made(self, proposal: Proposal) -> Candidate:
        key, start = self._key(proposal), time.monotonic()
        try:
            vector, loss = self._trained(proposal, key)
        except TrainingError as error:
            return self._store.add_candidate(Candidate(key=key, seconds=time.monotonic() - start, reason=str(error)))
        digest = self._store.add_vector(vector)
        counted = self._counted(self._message(proposal, vector))
        seconds = time.monotonic() - start
        return self._store.add_candidate(Candidate(key=key, vector_sha256=digest, train=counted, loss=loss, seconds=seconds))

    def _trained(self, proposal: Proposal, key: CandidateKey) -> tuple[Tensor, float]:
        run, trial = self._run, proposal.trial.key
        subspace = run.make_subspace(d=trial.d, seed=trial.seed)
        subspace.set_coordinates(self._store.vector(proposal.start_sha256))
        run.reporter.begin(label=proposal.tried_as, d=trial.d, seed=trial.seed)
        loss = train_for_rate(
            subspace,
            data=run.data["train"],
            step=key.step,
            price=key.price,
            steps=key.steps,
            free_steps=key.free_steps,
            seed=trial.seed,
            settings=run.spec.training,
            task=self._task,
            progress=lambda number, steps, loss: run.reporter.step(step=number, steps=steps, loss=loss),
        )
        require_unchanged_statistics(subspace, theta_0=run.pretrained.model)
        return subspace.theta_d.detach().cpu().clone(), loss

    def _message(self, proposal: Proposal, vector: Tensor) -> bytes:
        quantized = self._grid.quantize(vector.numpy(), step=self._grid.step(proposal.step_index))
        trial = proposal.trial.key
        return encode_message(
            quantized=quantized, step_index=proposal.step_index, d=trial.d, seed=trial.seed, spec=self._run.spec
        )

    def _counted(self, content: bytes) -> Score:
        run = self._run
        subspace = network_at(decode_message(content, spec=run.spec), make_subspace=run.make_subspace)
        return count_errors(subspace, run.data["train"], batch_size=run.spec.model.eval_batch_size, task=self._task)


def point_of(spec: RunSpec, message: Message, score: Score, tried_as: str) -> FrontierPoint:
    """What the frontier says of a message with these training errors."""
    bits = message.complexity.num_bits
    return FrontierPoint(
        d=message.d,
        seed=message.seed,
        step=message.step,
        code=message.code,
        tried_as=tried_as,
        bits=bits,
        errors=score.errors,
        n=score.n,
        bound=bound_of(spec, errors=score.errors, bits=bits),
    )
