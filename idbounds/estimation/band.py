"""The curve behind a d90, and its band: where the fit reaches each accuracy, with the interval that d90 would have there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from idbounds.estimation.fits import fit_by_name
from idbounds.estimation.intrinsic import Array, Estimate, point_weights

#: Accuracies at which the fit is read. Between two of them a figure draws a straight line a hundredth of its height long.
_NUM_LEVELS = 97


@dataclass(frozen=True)
class Band:
    """At each accuracy, increasing, the d at which the fit reaches it and both ends of the interval of that d; (L,) each.

    `d` is NaN where the fit does not reach it on the grid; the interval is clipped to the grid.
    """

    accuracy: Array
    d: Array
    lower: Array
    upper: Array

    def rows(self) -> list[tuple[float, float, float, float]]:
        """(accuracy, d, lower, upper) each."""
        columns = (self.accuracy, self.d, self.lower, self.upper)
        return [(float(a), float(d), float(low), float(high)) for a, d, low, high in zip(*columns, strict=True)]


def curve_band(estimate: Estimate) -> Band:
    """The fitted curve of an estimate over its grid, with the band of its level.

    Formula: at an accuracy a, `d` is the position of the estimate's fit for the target a, and the interval holds the positions
    of the redrawn curves for the same target: what `intrinsic_dimension` does, for a target that is known. At the target of a
    rule with a baseline the interval of d90 is a little wider, since the baseline is redrawn too. Accuracies run from the lower
    end of the redrawn ones at the smallest d to the upper end at the largest.
    """
    record, points, curves = estimate.record, estimate.points, estimate.curves
    fit, tail = fit_by_name(record.fit), (1 - record.level) / 2
    x = np.log([point.d for point in points])
    means = np.array([point.accuracy for point in points])
    weights = point_weights(points, noise=estimate.noise, target=record.target_accuracy)
    first, last = record.grid[0][1], record.grid[-1][1]
    bottom, top = float(np.quantile(curves[:, 0], tail)), float(np.quantile(curves[:, -1], 1 - tail))
    levels = np.linspace(min(bottom, first), max(top, last), _NUM_LEVELS)
    drawn = fit.positions(x, curves, weights=weights, targets=np.repeat(levels[:, None], len(curves), axis=1))
    lower = np.quantile(drawn, tail, axis=1, method="lower")
    upper = np.quantile(drawn, 1 - tail, axis=1, method="higher")
    reached = (levels >= first) & (levels <= last)
    fitted = np.array([fit.position(x, means, weights=weights, target=float(level)) for level in levels])
    # A fit is read at each accuracy on its own: where shapes take turns it may step back by the width of a line.
    d = np.maximum.accumulate(np.clip(fitted, x[0], x[-1]))
    low, high = (np.maximum.accumulate(np.clip(ends, x[0], x[-1])) for ends in (lower, upper))
    return Band(levels, np.where(reached, np.exp(d), np.nan), np.exp(np.minimum(low, d)), np.exp(np.maximum(high, d)))
