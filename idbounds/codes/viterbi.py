"""The quantiser of the code `trellis`: of all its vectors the one that costs least, in error and bits together.

Source: Marcellin & Fischer, IEEE Trans. Commun. 38(1), 1990.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.base import Quantized
from idbounds.codes.quantizers import UniformStep
from idbounds.codes.trellis import NUM_STATES, next_state
from idbounds.core.errors import ConfigError

#: The mean square, in steps, of the narrowest Gaussian that the code has: 1 / (2 a) at its largest rate a.
NARROWEST = 1 / 28


def trellis(w: ArrayLike, *, step_index: int, max_rms_error: float, grid: UniformStep) -> Quantized:
    """The vector x of the trellis, in steps, that minimises |w/s - x|^2 + lambda bits(x) for an error that is aimed at.

    Formula: for w of mean square S and an error of mean square D, the rate-distortion function of a Gaussian has the slope that
    makes lambda = 2 ln 2 D / s^2, and what is sent has the mean square S - D. The bits of x at that Gaussian are
    x^2 s^2 / (2 ln 2 (S - D)) + log2 Z_p, Z_p its sum over the integers of the parity of x. So the cost is, with
    c = D / (S - D), (w/s - x)^2 + c x^2 + lambda log2 Z_p, and x of each residue is the one nearest to (w/s) (S - D) / S. Its
    root mean square error is about `max_rms_error` or below where s is fine enough; whoever needs it, computes it. Where S is
    at most D all is 0.

    Raises ConfigError if w is not finite or too large for the step, or the error is negative or nan.
    """
    if not max_rms_error >= 0:
        raise ConfigError(f"max_rms_error must be at least 0, got {max_rms_error!r}")
    step = grid.step(step_index)
    steps = np.asarray(w, dtype=np.float64) / step
    grid.quantize(steps, step=1.0)  # refuses what is not finite or too large
    mean_square, error = float(np.mean(steps**2)), (max_rms_error / step) ** 2
    if mean_square <= error:
        return Quantized(np.zeros(len(steps), dtype=np.int64), step_index)
    sent = max(mean_square - error, NARROWEST)
    reach = np.arange(-_reach(sent), _reach(sent) + 1)
    weights = np.exp(-(reach**2) / (2 * sent))
    information = [math.log2(weights[reach % 2 == parity].sum()) for parity in (0, 1)]
    residues = np.arange(4)
    nearest = residues + 4 * np.rint((steps[:, None] * (sent / (sent + error)) - residues) / 4)
    costs = (steps[:, None] - nearest) ** 2 + (error / sent) * nearest**2
    costs += 2 * math.log(2) * error * np.tile(information, 2)
    path = _cheapest_path(costs)
    return Quantized(nearest[np.arange(len(path)), path].astype(np.int64), step_index)


def _reach(mean_square: float) -> int:
    """Ten standard deviations; beyond, the Gaussian adds nothing in float64. At least the nearest odd integers."""
    return math.ceil(10 * math.sqrt(mean_square)) + 1


def _cheapest_path(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Residues (d,) of the path from state 0 whose sum of costs, (d, 4), is least: the algorithm of Viterbi (1967)."""
    sources, residues = _arrivals()
    totals = np.full(NUM_STATES, np.inf)
    totals[0] = 0.0
    chosen = np.empty((len(costs), NUM_STATES), dtype=np.bool_)
    for place, cost in enumerate(costs):
        first, second = totals[sources] + cost[residues]
        np.less(second, first, out=chosen[place])
        totals = np.minimum(first, second)
    state, path = int(np.argmin(totals)), np.empty(len(costs), dtype=np.int64)
    for place in reversed(range(len(costs))):
        arrival = int(chosen[place, state]), state
        path[place], state = residues[arrival], int(sources[arrival])
    return path


@cache
def _arrivals() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each state both ways into it: from which state, (2, states), with which residue, (2, states)."""
    steps = [(state, residue) for state in range(NUM_STATES) for residue in (state % 2, state % 2 + 2)]
    steps.sort(key=lambda step: next_state(*step))
    by_target = np.array(steps).reshape(NUM_STATES, 2, 2)
    return by_target[:, :, 0].T, by_target[:, :, 1].T
