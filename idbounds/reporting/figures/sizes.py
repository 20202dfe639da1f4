"""d90 of several runs against a size: the number of weights, or a number of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idbounds.core.values import IntrinsicDimension
from idbounds.reporting.figures.style import BLUE, INK, MARKERS, Picture, legend_below, plain_log, short


@dataclass(frozen=True)
class SizePoint:
    """One run: its name, its size and its d90."""

    name: str
    size: float
    dimension: IntrinsicDimension


def sizes_picture(points: Sequence[SizePoint], *, axis: str, correlation: str) -> Picture:
    """d90 with its interval against size, both on log axes; a triangle where d90 lies outside the grid.

    Args:
        points: at least one, of one rule.
        axis: what the size is.
        correlation: the rank correlation in words, or why there is none.
    """

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for index, point in enumerate(points):
            _draw_point(axes, point, marker=MARKERS[index % len(MARKERS)])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(0.15)
        plain_log(axes, which="x")
        plain_log(axes, which="y")
        axes.set_xlabel(short(axis, most=44))
        axes.set_ylabel("d90")
        axes.set_title(correlation, fontsize=6.5)
        legend_below(figure)

    rule = points[0].dimension.rule.replace("_", " ")
    listed = "; ".join(f"{point.name}: {axis} {point.size:,.10g}, {point.dimension}" for point in points)
    return Picture(
        "d90-size",
        f"d90 against {axis}",
        f"Rule {rule}. {listed}. {correlation[:1].upper()}{correlation[1:]}.",
        draw,
        height=3.0,
    )


def _draw_point(axes: Any, point: SizePoint, *, marker: str) -> None:
    dimension = point.dimension
    lower = dimension.smallest_d if dimension.lower is None else dimension.lower
    upper = dimension.largest_d if dimension.upper is None else dimension.upper
    axes.plot([point.size] * 2, [lower, upper], "-", color=BLUE, linewidth=1)
    value, low, high = dimension.printed()
    if dimension.value is None:
        marker = "v" if dimension.reached else "^"
    place = dimension.value or (dimension.smallest_d if dimension.reached else dimension.largest_d)
    label = f"{short(point.name, most=20)}: {value} [{low}, {high}]"
    filled = INK if dimension.value is not None else "white"
    axes.plot([point.size], [place], marker, color=INK, markerfacecolor=filled, markersize=4.5, linestyle="none", label=label)
