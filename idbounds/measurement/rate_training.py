"""Training for the smallest bound: the loss, plus what the message costs, with the rounding in place.

Objective: loss(round(w / s) s) + a price R(w / s), where R is the code length in bits of the message's coefficients, linear
between integers, and a rises from 0 to 1 in the first half of the steps. The price of a bit is the bound's own: by how much
the training risk must fall to make up for it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from idbounds.codes.rates import adaptive_bits, magnitude_bits
from idbounds.core.values import TrainingSpec
from idbounds.measurement.batches import Data
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import LearningTask
from idbounds.measurement.training import Progress, train

#: Adam moves a coordinate by at most its rate in each step: this many steps of the quantiser at first, none at the end.
_RATE_IN_STEPS = 0.1
#: The share of training in which the price of a bit rises from 0.
_RISE = 0.5


def rate_bits(x: Tensor) -> Tensor:
    """Bits of coefficients x = w / s, (d,), in the code `adaptive`; linear between integers, differentiable.

    At integers it is the code's length, up to how the last bits are rounded. Between them each coefficient costs the
    interpolation of what the integers beside it would cost, given how often each magnitude occurs now among the rounded;
    these counts are taken as they are, without derivative.
    """
    magnitudes = np.abs(np.rint(x.detach().cpu().numpy())).astype(np.int64)
    bits = magnitude_bits(magnitudes)
    table = torch.from_numpy(bits).to(x)
    size = x.abs().clamp(max=len(bits) - 1.0)
    below = size.detach().floor().long().clamp(max=len(bits) - 2)
    interpolated = torch.lerp(table[below], table[below + 1], size - below)
    learning = adaptive_bits(magnitudes) - float(bits[np.minimum(magnitudes, len(bits) - 1)].sum())
    return interpolated.sum() + learning


def train_for_rate(
    subspace: Subspace,
    *,
    data: Data,
    step: float,
    price: float,
    steps: int,
    seed: int,
    settings: TrainingSpec,
    task: LearningTask,
    progress: Progress | None = None,
) -> float:
    """Train `subspace.theta_d` on with the rounding in place; returns the mean loss of the last tenth, bits left out.

    Args:
        subspace: at the start; `rounding_step` is set to `step` and left.
        data: training examples.
        step: s.
        price: of a bit, in units of the loss.
        steps: optimizer steps of AdamW, whatever optimizer the trial had.
        seed: of order and dropout.
        settings: batch size, precision, clipping and warm-up.
        task: the loss.
        progress: is told of every step.

    Raises as `train` does.
    """
    subspace.rounding_step = step

    def cost(number: int, of: int) -> Tensor:
        return price * min(1.0, number / (_RISE * of)) * rate_bits(subspace.theta_d / step)

    return train(
        subspace,
        [subspace.theta_d],
        data=data,
        learning_rate=_RATE_IN_STEPS * step,
        steps=steps,
        seed=seed,
        settings=settings.model_copy(update=_OPTIMIZER),
        task=task,
        progress=progress,
        cost=cost if price else None,
    )


#: The rate above is right for Adam and a decay to 0. The bound is on the training set, so the validation split keeps nothing.
_OPTIMIZER: dict[str, object] = {
    "optimizer": "AdamW",
    "optimizer_options": {},
    "schedule": "linear",
    "evaluate_every": None,
    "patience": None,
}
