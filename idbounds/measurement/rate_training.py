"""Training for the smallest bound: the loss plus what the message costs, while one coordinate after the other is rounded.

Objective: loss(w) + price R(w / s), where R is the code length in bits of the coefficients, linear between integers. Before
rounding, w may move freely for a while: the price pulls all coordinates to 0, and where the loss hardly depends on them they
give way, slowly.
Rounding in the loop is progressive: coordinates are rounded and held in the order of how much the loss depends on them, and
training goes on in the others, which make up for what the rounding did. That is what Babai's nearest plane does for a
quadratic, with gradients in the place of the matrix, which need not be known. The idea for weights one by one is in Zhou et al.
2017 (incremental network quantization, arXiv 1702.03044), who round the largest first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from idbounds.codes.rates import SCALE_BITS, magnitude_bits
from idbounds.core.values import TrainingSpec
from idbounds.measurement.batches import Data
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import LearningTask
from idbounds.measurement.training import Cost, Progress, train

#: Adam moves a coordinate by at most its rate in each step, on average half of the largest in a decay by the cosine: so many
#: steps of the quantiser in all. On LeNet at 450 training steps it is the best of 7, 11, 22 and 45. Few training steps may not
#: go farther in one than the largest rate.
TRAVEL_IN_STEPS = 11.0
LARGEST_RATE_IN_STEPS = 0.2
#: Of the steps, the last ones polish: all is rounded, and the gradient passes through the rounding to numbers beneath, which
#: change sides where that is better. At this rate, of one step of the quantiser, few do.
POLISHING_SHARE = 1 / 3
POLISHING_RATE_IN_STEPS = 0.02
#: The share of training before the first coordinate is held. Until then the price pulls on all of them.
FREE_SHARE = 0.1
#: How fast the mean of squared gradients forgets: over the last 20 steps, as the others move when coordinates are held.
_MEMORY = 0.95


def rate_bits(x: Tensor) -> Tensor:
    """Bits of coefficients x = w / s, (d,), in the shorter of the codes `gaussian` and `laplace`; differentiable.

    At integers it is the code's length, up to how the code word ends. Between them each coefficient costs the linear
    interpolation of what the integers beside it cost, at the scale that is best for the rounded ones; the scale is taken as it
    is, without derivative. Beyond 256 steps nothing is added.
    """
    bits = magnitude_bits(np.abs(np.rint(x.detach().cpu().numpy())).astype(np.int64))
    table, size = torch.from_numpy(bits).to(x), x.abs().clamp(max=len(bits) - 1.0)
    below = size.detach().floor().long().clamp(max=len(bits) - 2)
    return torch.lerp(table[below], table[below + 1], size - below).sum() + SCALE_BITS


class ProgressiveRounding:
    """Holds coordinates of a subspace, step by step, at multiples of the quantiser's step; all of them after the last.

    Called after each gradient of the loss; returns what the message costs, as `train` adds it. The share that is held rises
    linearly in the steps after `FREE_SHARE`; next are those with the largest mean of squared gradients, the ones that the
    others must make up for.
    """

    def __init__(self, subspace: Subspace, *, step: float, price: float) -> None:
        self._subspace, self._step, self._price = subspace, step, price
        d = subspace.theta_d
        self._held = torch.zeros_like(d, dtype=torch.bool)
        self._values, self._squares = torch.zeros_like(d), torch.zeros_like(d)
        subspace.rounding_step, subspace.held = None, (self._held, self._values)

    def __call__(self, step: int, steps: int) -> Tensor:
        """After the gradient of step `step` of `steps`: hold what is due, and what a message costs now."""
        gradient = self._subspace.theta_d.grad
        if gradient is not None:
            self._squares.mul_(_MEMORY).addcmul_(gradient, gradient, value=1 - _MEMORY)
        self._hold(round(len(self._values) * (step / steps - FREE_SHARE) / (1 - FREE_SHARE)))
        return self._price * rate_bits(self._subspace.coordinates() / self._step)

    @torch.no_grad()
    def _hold(self, number: int) -> None:
        due = number - int(self._held.sum())
        if due <= 0:
            return
        chosen = torch.where(self._held, -1.0, self._squares).topk(due).indices
        self._values[chosen] = torch.round(self._subspace.theta_d[chosen] / self._step) * self._step
        self._held[chosen] = True

    def finish(self) -> None:
        """Put the held values into `theta_d`, which is then what the message says."""
        self._subspace.set_coordinates(self._subspace.coordinates().detach())
        self._subspace.held = None


def train_for_rate(
    subspace: Subspace,
    *,
    data: Data,
    step: float,
    price: float,
    steps: int,
    free_steps: int = 0,
    seed: int,
    settings: TrainingSpec,
    task: LearningTask,
    progress: Progress | None = None,
) -> float:
    """Train `subspace.theta_d` until all of it is multiples of `step`; returns the mean loss of the last tenth, bits left out.

    Args:
        subspace: at the start.
        data: training examples.
        step: s.
        price: of a bit, in units of the loss.
        steps: optimizer steps of AdamW, whatever optimizer the trial had, in which coordinates are rounded.
        free_steps: steps before them, in which they move freely.
        seed: of order and dropout.
        settings: batch size, precision, clipping and warm-up.
        task: the loss.
        progress: is told of every step.

    Raises as `train` does.
    """
    polishing, all_steps = round(POLISHING_SHARE * steps), free_steps + steps
    rate = min(LARGEST_RATE_IN_STEPS, 2 * TRAVEL_IN_STEPS / steps) * step

    def training(phase: range, *, rate: float, cost: Cost) -> float:
        return train(
            subspace,
            [subspace.theta_d],
            data=data,
            learning_rate=rate,
            steps=len(phase),
            seed=seed,
            settings=settings.model_copy(update=_OPTIMIZER),
            task=task,
            progress=_part_of(progress, before=phase.start, steps=all_steps),
            cost=cost,
        )

    def pull(*_: int) -> Tensor:
        return price * rate_bits(subspace.theta_d / step)

    if free_steps:
        training(range(free_steps), rate=rate, cost=pull)
    rounding = ProgressiveRounding(subspace, step=step, price=price)
    try:
        loss = training(range(free_steps, all_steps - polishing), rate=rate, cost=rounding)
    finally:
        rounding.finish()
    if not polishing:
        return loss
    subspace.rounding_step = step
    try:
        return training(range(all_steps - polishing, all_steps), rate=POLISHING_RATE_IN_STEPS * step, cost=pull)
    finally:
        subspace.set_coordinates(torch.round(subspace.theta_d.detach() / step) * step)
        subspace.rounding_step = None


def _part_of(progress: Progress | None, *, before: int, steps: int) -> Progress | None:
    """What is told of a part of the steps, as a part of all."""
    return None if progress is None else lambda step, _, loss: progress(before + step, steps, loss)


#: The rate above is right for Adam and a decay to 0. The bound is on the training set, so the validation split keeps nothing.
_OPTIMIZER: dict[str, object] = {
    "optimizer": "AdamW",
    "optimizer_options": {},
    "schedule": "cosine",
    "evaluate_every": None,
    "patience": None,
}
