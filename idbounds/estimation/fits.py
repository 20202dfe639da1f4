"""Ways to read the log d at which an accuracy curve reaches a target: one small abstraction, members by name."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from idbounds.core.errors import ConfigError
from idbounds.estimation.bootstrap import uniform
from idbounds.estimation.curve import crossing, monotone_curve
from idbounds.estimation.interpolation import random_positions
from idbounds.estimation.sigmoids import dictionary

Array = NDArray[np.float64]

#: Concentration of the curve inside a cell: _FLOOR + _SLOPE * (slope beside the cell / slope in it), so that a jump between
#: two plateaus may lie anywhere and a steady rise lies near the chord. Both were chosen (from 0.25 to 2 and 4 to 16) by
#: coverage on random curves like those of scripts/simulate_d90.py, and the coverage is reported on others.
_CONCENTRATION_FLOOR, _CONCENTRATION_SLOPE = 1.0, 8.0
#: A redrawn curve takes any shape that fits it about as well as the best: probability ∝ exp(-_SHARPNESS * residual / 2).
#: At 1 this would add the noise a second time. Chosen on the tuning curves among 1, 3 and 10, which differ little.
_SHARPNESS = 3.0
#: Free numbers of a sigmoid: two levels, slope and centre.
_SIGMOID_PARAMETERS = 4
_FEWEST_POINTS = 3
#: Redrawn curves that are fitted at once; holds the largest product near 16 MB.
_CHUNK = 250


class CurveFit(ABC):
    """x is log d (K,), increasing; means are accuracies, weights 1 / variance (K,).

    A crossing of -inf or inf lies below or above the grid.
    """

    name: ClassVar[str]

    @abstractmethod
    def position(self, x: Array, means: Array, *, weights: Array, target: float) -> float:
        """The log d at which the fit to the means (K,) reaches the target.

        Whether d90 is censored, the isotonic fit says for every fit, so that "reached" has one meaning.
        """

    @abstractmethod
    def positions(self, x: Array, means: Array, *, weights: Array, targets: Array) -> Array:
        """The same (B,) for redrawn means (B, K) and targets (B,), each with one of the curves that its data leave open.

        Of targets (L, B) the L sets (L, B): each redrawn mean keeps its curve.
        """


class Isotonic(CurveFit):
    """Weighted isotonic regression on log d, linear between points; in redrawn curves random between points.

    Formula: as in `crossing`; between two points see `random_positions`. No shape is assumed but that accuracy
    does not fall. Source: Robertson, Wright and Dykstra, Order Restricted Statistical Inference, 1988.
    """

    name = "isotonic"

    def position(self, x: Array, means: Array, *, weights: Array, target: float) -> float:
        """See CurveFit."""
        found = crossing(np.exp(x), monotone_curve(means, weights=weights), target=target)
        return math.log(found) if math.isfinite(found) else found

    def positions(self, x: Array, means: Array, *, weights: Array, targets: Array) -> Array:
        """See CurveFit. The first d that reaches the target minimises Σ_{i<k} w_i (y_i - target) over k (Groeneboom)."""
        if targets.ndim > 1:
            return np.stack([self.positions(x, means, weights=weights, targets=row) for row in targets])
        first, below, above = _cell(means - targets[:, None], weights)
        found = np.where(first == 0, -np.inf, np.inf)
        inside = np.flatnonzero((first > 0) & (first < len(x)))
        right = first[inside]
        width = x[right] - x[right - 1]
        rise = above[inside] - below[inside]
        beside = _slope_beside(x, means[inside] - targets[inside, None], right, below=below[inside], above=above[inside])
        concentration = _CONCENTRATION_FLOOR + _CONCENTRATION_SLOPE * beside * width / rise
        share = random_positions(
            -below[inside] / rise, concentration=concentration, level=uniform("cell", count=len(means))[inside]
        )
        found[inside] = x[right - 1] + width * share
        return found


class Sigmoid(CurveFit):
    """a + b s(slope (log d - centre)), s logistic (Hill in d), Gompertz or mirrored Gompertz, by weighted least squares.

    Formula: a and b >= 0 are solved for each of some thousand (s, slope, centre); the position is the mean over these,
    clipped to the grid, with weights exp(-residual / 2). Right where the curve has such a shape, too sure where not.
    With fewer than three d there is no shape to speak of, and it is the isotonic fit.
    """

    name = "sigmoid"

    def __init__(self) -> None:
        self._of_few = Isotonic()

    def position(self, x: Array, means: Array, *, weights: Array, target: float) -> float:
        """See CurveFit."""
        if len(x) < _FEWEST_POINTS:
            return self._of_few.position(x, means, weights=weights, target=target)
        shapes = dictionary(tuple(x), tuple(weights))
        mean = float(means @ weights / weights.sum())
        projections, gains = shapes.gains((means - mean)[None], weights)
        which = np.arange(len(shapes.slope))
        found = shapes.crossings(which, projection=projections[0], above_mean=np.full(len(which), target - mean))
        plausible = np.exp((gains[0] - gains[0].max()) / 2)
        return float(np.clip(found, x[0], x[-1]) @ plausible / plausible.sum())

    def positions(self, x: Array, means: Array, *, weights: Array, targets: Array) -> Array:
        """See CurveFit."""
        if len(x) < _FEWEST_POINTS:
            return self._of_few.positions(x, means, weights=weights, targets=targets)
        shapes = dictionary(tuple(x), tuple(weights))
        averages = means @ weights / weights.sum()
        found = []
        for start in range(0, len(means), _CHUNK):
            part = slice(start, start + _CHUNK)
            projections, gains = shapes.gains(means[part] - averages[part, None], weights)
            rows = np.arange(len(gains))
            which = np.argmax(_SHARPNESS / 2 * gains + shapes.noise[rows % len(shapes.noise)], axis=1)
            above_mean = targets[..., part] - averages[part]
            found.append(shapes.crossings(which, projection=projections[rows, which], above_mean=above_mean))
        x_found = np.concatenate(found, axis=-1)
        return np.where(x_found <= x[0], -np.inf, np.where(x_found > x[-1], np.inf, x_found))

    def residual(self, x: Array, means: Array, *, weights: Array) -> float:
        """Weighted sum of squares that the best shape leaves."""
        centred = means - means @ weights / weights.sum()
        _, gains = dictionary(tuple(x), tuple(weights)).gains(centred[None], weights)
        return float(max(0.0, centred**2 @ weights - gains.max()))


class Averaged(CurveFit):
    """Isotonic and sigmoid by their Akaike weights: a sigmoid where the curve is one, else no shape.

    Formula: share of the sigmoid = expit((AIC_isotonic - AIC_sigmoid) / 2), AIC = residual + 2 * parameters: the levels
    of the isotonic fit, and 4. The position is the mean in log d by these shares; redrawn curves are shared out likewise.
    Source: Burnham and Anderson, Model Selection and Multimodel Inference, 2002.
    """

    name = "averaged"

    def __init__(self) -> None:
        self._isotonic, self._sigmoid = Isotonic(), Sigmoid()

    def position(self, x: Array, means: Array, *, weights: Array, target: float) -> float:
        """See CurveFit."""
        plain = self._isotonic.position(x, means, weights=weights, target=target)
        share = self._share(x, means, weights=weights)
        return (
            plain
            if share == 0
            else (1 - share) * plain + share * self._sigmoid.position(x, means, weights=weights, target=target)
        )

    def positions(self, x: Array, means: Array, *, weights: Array, targets: Array) -> Array:
        """See CurveFit. The shares are those of the mean curve, which the redrawn ones scatter about."""
        plain = self._isotonic.positions(x, means, weights=weights, targets=targets)
        share = self._share(x, means.mean(axis=0), weights=weights)
        if share == 0:
            return plain
        sigmoid = self._sigmoid.positions(x, means, weights=weights, targets=targets)
        return np.where(uniform("fit", count=len(means)) < share, sigmoid, plain)

    def _share(self, x: Array, means: Array, *, weights: Array) -> float:
        if len(x) < _FEWEST_POINTS:
            return 0.0
        levels = monotone_curve(means, weights=weights)
        isotonic = float(weights @ (means - levels) ** 2) + 2 * len(np.unique(levels))
        sigmoid = self._sigmoid.residual(x, means, weights=weights) + 2 * _SIGMOID_PARAMETERS
        return float(expit((isotonic - sigmoid) / 2))


#: The fits by name.
FITS: dict[str, CurveFit] = {fit.name: fit for fit in (Averaged(), Isotonic(), Sigmoid())}


def fit_by_name(name: str) -> CurveFit:
    """Raises ConfigError for an unknown name."""
    if name not in FITS:
        raise ConfigError(f"unknown fit {name!r}; known fits: {', '.join(FITS)}")
    return FITS[name]


def _cell(excess: Array, weights: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """For curves minus target (B, K): index of the first d that reaches it, and the isotonic fit below it and at it."""
    sums = np.concatenate([np.zeros((len(excess), 1)), np.cumsum(excess * weights, axis=1)], axis=1)
    masses = np.concatenate([[0.0], np.cumsum(weights)])
    first = sums.argmin(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (sums - sums[np.arange(len(sums)), first][:, None]) / (masses - masses[first][:, None])
    index = np.arange(len(masses))
    above = np.where(index > first[:, None], means, np.inf).min(axis=1)
    below = np.where(index < first[:, None], means, -np.inf).max(axis=1)
    return first, below, above


def _slope_beside(x: Array, excess: Array, right: NDArray[np.int64], *, below: Array, above: Array) -> Array:
    """Mean slope of the cells next to the one that ends at `right`, falls counted as 0, and 0 where there is no neighbour."""
    rows, last = np.arange(len(right)), len(x) - 1
    before, after = np.maximum(right - 2, 0), np.minimum(right + 1, last)
    has_before, has_after = right >= 2, right < last
    rise_before = np.where(has_before, below - excess[rows, before], 0.0)
    rise_after = np.where(has_after, excess[rows, after] - above, 0.0)
    slope_before = np.maximum(rise_before, 0) / np.where(has_before, x[right - 1] - x[before], 1.0)
    slope_after = np.maximum(rise_after, 0) / np.where(has_after, x[after] - x[right], 1.0)
    return np.asarray((slope_before + slope_after) / np.maximum(has_before.astype(float) + has_after, 1))
