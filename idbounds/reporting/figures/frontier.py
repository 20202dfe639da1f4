"""Bits against training errors of every message that was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.reporting.figures.style import BLUE, GREY, INK, VERMILLION, Picture, legend_below
from idbounds.reporting.rounding import bits_up, percent, percent_up

#: Share of the axis that a line must span to be labelled: three times the width of a label.
_LABELLED = 0.3


@dataclass(frozen=True)
class IsoBounds:
    """Values of the bound on a grid: `values[i][j]` at `errors[i]` and `bits[j]`, from which lines of equal bound are drawn."""

    bits: Sequence[float]
    errors: Sequence[int]
    values: Sequence[Sequence[float]]


def frontier_picture(frontier: Frontier, *, iso: IsoBounds) -> Picture:
    """All points, the efficient ones joined by steps, the chosen one, and the lines along which the bound is the same."""
    n, chosen = frontier.points[0].n, frontier.points[frontier.chosen]
    efficient = frontier.efficient()

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        rates = [100 * errors / n for errors in iso.errors]
        lines = axes.contour(
            iso.bits, rates, [[100 * value for value in row] for row in iso.values], 6, colors=GREY, linewidths=0.6
        )
        _label_lines(axes, lines, width=iso.bits[-1] - iso.bits[0])
        axes.plot([], [], "-", color=GREY, linewidth=0.6, label="equal bound")
        axes.plot(
            *_places(frontier.points, n),
            "o",
            color=BLUE,
            markersize=2.5,
            markerfacecolor="none",
            markeredgewidth=0.6,
            label="tried",
        )
        axes.plot(
            *_places(efficient, n), "s-", color=INK, markersize=3, linewidth=0.9, drawstyle="steps-post", label="efficient"
        )
        axes.plot(
            *_places([chosen], n),
            "*",
            color=VERMILLION,
            markersize=9,
            markeredgecolor="white",
            label=f"chosen: {percent_up(chosen.bound)} %",
        )
        axes.set_xlabel("bits of the message")
        axes.set_ylabel(f"training error (%), n = {n}")
        legend_below(figure)

    described = (
        f"Bits and training errors of {len(frontier.points)} messages that were tried, {len(efficient)} of them efficient. "
        f"Chosen: d = {chosen.d}, {bits_up(chosen.bits)} bits, {chosen.errors} errors of {n} ({percent(chosen.errors / n)} %), "
        f"bound {percent_up(chosen.bound)} %. Along a grey line the bound is the same."
    )
    return Picture("frontier", "Bits against errors", described, draw, height=3.0)


def _places(points: Sequence[FrontierPoint], n: int) -> tuple[list[float], list[float]]:
    return [point.bits for point in points], [100 * point.errors / n for point in points]


def _label_lines(axes: Any, lines: Any, *, width: float) -> None:
    """The value of each line at its middle, so that no label is cut by an edge; none on a line too short to carry one."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for level, parts in zip(lines.levels, lines.allsegs, strict=True):
        line: Sequence[Any] = max(parts, key=len, default=())
        if len(line) and abs(line[-1][0] - line[0][0]) > _LABELLED * width:
            x, y = line[len(line) // 2]
            axes.text(x, y, f"{level:g} %", fontsize=6, color=GREY, ha="center", va="center", bbox=ground)
