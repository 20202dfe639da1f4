"""From trials to a message: the most promising one, trained on with the rounding in place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from idbounds.bounds import BOUNDS
from idbounds.codes import encode_message, step_grid
from idbounds.core.errors import ConfigError
from idbounds.core.units import bits_to_nats
from idbounds.core.values import RunSpec, Trial
from idbounds.measurement.batch_statistics import require_unchanged_statistics
from idbounds.measurement.keys import FULL_FINE_TUNING
from idbounds.measurement.store import TrialStore
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import train
from idbounds.preparation import Run

#: The step of the quantiser in standard deviations of the coefficients, and the entropy in bits of a Gaussian
#: coefficient rounded to it: log2(sqrt(2 pi e) / step). The second ranks trials and enters no bound.
_STEP_IN_DEVIATIONS = 0.5
_BITS_PER_COORDINATE = math.log2(math.sqrt(2 * math.pi * math.e) / _STEP_IN_DEVIATIONS)


def compress(run: Run, *, trials: Sequence[Trial]) -> bytes:
    """Train the most promising trial on with the rounding in place, and write it as a message.

    The trial is chosen on the validation split; d, seed and step are in the message and paid for, so the
    choice needs no further charge.
    """
    chosen = choose_trial(run.spec, trials=trials)
    key, settings = chosen.key, run.spec.training
    subspace = run.make_subspace(d=key.d, seed=key.seed)
    with TrialStore(run.store) as store:
        subspace.set_coordinates(store.vector(str(chosen.vector_sha256)))
    quantizer = step_grid(run.spec)
    index = quantizer.nearest_index(_STEP_IN_DEVIATIONS * float(subspace.theta_d.detach().std()))
    step = quantizer.step(index)
    subspace.rounding_step = step
    run.reporter.plan(steps=settings.quantization_steps)
    run.reporter.begin(label="message", d=key.d, seed=key.seed)
    train(
        subspace,
        [subspace.theta_d],
        data=run.data["train"],
        validation=run.data["validation"],
        # Adam moves a coordinate by at most its rate in each step, half of that on average over the schedule:
        # in all half a quantiser's step, enough to round any coordinate the other way and no more.
        learning_rate=step / settings.quantization_steps,
        steps=settings.quantization_steps,
        seed=key.seed,
        # The rate is right for Adam and a decay to 0, so the rounding is trained by these whatever trained the trial.
        settings=settings.model_copy(update={"optimizer": "AdamW", "optimizer_options": {}, "schedule": "linear"}),
        task=task_by_name(run.spec.learning_task),
        progress=lambda number, steps, loss: run.reporter.step(step=number, steps=steps, loss=loss),
    )
    require_unchanged_statistics(subspace, theta_0=run.pretrained.model)
    quantized = quantizer.quantize(subspace.theta_d.detach().cpu().numpy(), step=step)
    return encode_message(quantized=quantized, step_index=index, d=key.d, seed=key.seed, spec=run.spec)


def choose_trial(spec: RunSpec, *, trials: Sequence[Trial]) -> Trial:
    """The finished subspace trial with the smallest predicted bound: validation risk, and bits as of a Gaussian."""
    finished = [trial for trial in trials if trial.status == "finished" and trial.key.method != FULL_FINE_TUNING]
    if not finished:
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        raise ConfigError(f"no subspace trial finished, so there is nothing to certify: {'; '.join(reasons) or 'none was run'}")
    n = spec.task.train.n

    def predicted(trial: Trial) -> float:
        risk = trial.validation.risk if trial.validation is not None else 1.0
        nats = bits_to_nats(_BITS_PER_COORDINATE * trial.key.d)
        return float(BOUNDS["occam_binomial"].from_counts(errors=round(risk * n), n=n, complexity_nats=nats, delta=spec.delta))

    return min(finished, key=predicted)
