"""Accuracy against d: seeds, fitted curve with its band, targets and d90."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from idbounds.core.values import IntrinsicDimension, RunSpec, Trial
from idbounds.reporting.figures.style import BLUE, GREY, INK, MAJORITY_LINE, VERMILLION, Picture, legend_below, log_ticks, short
from idbounds.reporting.rounding import percent
from idbounds.reporting.tables import accuracies_of, chosen_trials

#: Of each rule: colour, dashes, and what its target is.
_RULE_STYLES: Mapping[str, tuple[str, Any, str]] = {
    "paper": (VERMILLION, (0, (5, 2)), "90 % of full"),
    "chance_corrected": (BLUE, (0, (1, 1.5)), "corrected"),
    "li2018": (VERMILLION, (0, (5, 1, 1, 1)), "90 % of the baseline"),
    "absolute": (BLUE, (0, (8, 2)), "target"),
}


def accuracy_picture(
    *,
    spec: RunSpec,
    dimensions: Sequence[IntrinsicDimension],
    trials: Sequence[Trial] = (),
    band: Sequence[tuple[float, float, float, float]] = (),
) -> Picture:
    """Test accuracy (percent) against d (log axis): seeds, the fit, full fine-tuning, targets, and d90 as a diamond on a bar.

    The bar at each target is the interval of d90; an end that is open reaches the end of the grid.

    Args:
        spec: of the run.
        dimensions: one for each rule, at least one.
        trials: those that the dimensions rest on, for the seeds; without them the monotone fit at each d is drawn.
        band: rows of an accuracy and the d at which the fit reaches it, with both ends of the interval of that d.

    Raises ConfigError if some of the trials are missing.
    """
    groups = chosen_trials(dimensions, trials=trials) if trials else {}

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        _draw_band(axes, band, level=dimensions[0].level)
        if groups:
            _draw_seeds(axes, {d: accuracies_of(group) for d, group in groups.items() if d})
        else:
            dims, fitted = zip(*dimensions[0].grid, strict=True)
            axes.plot(dims, [100 * accuracy for accuracy in fitted], "s", color=INK, markersize=3, label="monotone fit")
        _draw_levels(axes, dimensions)
        log_ticks(axes, [d for d, _ in dimensions[0].grid])
        axes.set_xlabel("d, dimension of the random subspace")
        axes.set_ylabel(f"test accuracy (%), n = {spec.task.test.n}")
        axes.set_title(f"{short(spec.model.name, most=26)} on {short(spec.task.name, most=26)}")
        legend_below(figure)

    return Picture("accuracy", "Accuracy against d", _described(spec, dimensions), draw, height=3.0)


def _described(spec: RunSpec, dimensions: Sequence[IntrinsicDimension]) -> str:
    first = dimensions[0]
    full = "" if first.baseline_accuracy is None else f" Full fine-tuning reaches {percent(first.baseline_accuracy)} %."
    found = "; ".join(
        f"{one} (rule {one.rule.replace('_', ' ')}, target {percent(one.target_accuracy)} %)" for one in dimensions
    )
    return (
        f"Test accuracy of {spec.model.name} on {spec.task.name}, {spec.task.test.n} examples, against the dimension d of the "
        f"subspace, from d = {first.smallest_d} to {first.largest_d}.{full} Always guessing one class reaches "
        f"{percent(first.majority_accuracy)} %. {found}."
    )


def _draw_band(axes: Any, band: Sequence[tuple[float, float, float, float]], *, level: float) -> None:
    if not band:
        return
    accuracies, fitted, lower, upper = zip(*band, strict=True)
    y = [100 * accuracy for accuracy in accuracies]
    axes.fill_betweenx(
        y, lower, upper, color=GREY, alpha=0.25, linewidth=0, label=f"{level:.0%} interval of d".replace("%", " %")
    )
    axes.plot(fitted, y, "-", color=INK, label="fitted curve")


def _draw_seeds(axes: Any, accuracies: Mapping[int, list[float]]) -> None:
    points = [(d, 100 * accuracy) for d, values in accuracies.items() for accuracy in values]
    axes.plot(
        *zip(*points, strict=True), "o", color=INK, markersize=3, markerfacecolor="white", markeredgewidth=0.7, label="one seed"
    )


def _draw_levels(axes: Any, dimensions: Sequence[IntrinsicDimension]) -> None:
    if dimensions[0].baseline_accuracy is not None:
        axes.axhline(100 * dimensions[0].baseline_accuracy, color=INK, linewidth=0.8, label="full fine-tuning")
    for dimension in dimensions:
        color, dashes, label = _RULE_STYLES[dimension.rule]
        target = 100 * dimension.target_accuracy
        value, low, high = dimension.printed()
        axes.axhline(target, color=color, linewidth=0.9, linestyle=dashes, label=f"{label}: {value} [{low}, {high}]")
        lower = dimension.smallest_d if dimension.lower is None else dimension.lower
        upper = dimension.largest_d if dimension.upper is None else dimension.upper
        axes.plot([lower, upper], [target, target], "-", color=color, linewidth=3.5, alpha=0.5, solid_capstyle="butt")
        if dimension.value is not None:
            axes.plot(
                [dimension.value], [target], "D", color=color, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6
            )
    axes.axhline(100 * dimensions[0].majority_accuracy, **MAJORITY_LINE, label="majority class")
