"""The certified bound as a function of d, and of n: what a smaller subspace or more examples would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idbounds.core.values import CertificateFile
from idbounds.reporting.figures.style import BLUE, GREEN, GREY, INK, MAJORITY_LINE, VERMILLION, Picture, legend_below, plain_log
from idbounds.reporting.rounding import percent, percent_up


@dataclass(frozen=True)
class BoundCurve:
    """Values of a bound, each rounded up, at increasing `x`; `at` is the run's own x.

    `marks` are points of x at which it meets the majority-class error, with where that is in words.
    """

    name: str
    title: str
    axis: str
    x: Sequence[float]
    values: Sequence[float]
    at: float
    said: str
    marks: Sequence[tuple[float, str]] = ()


def bound_picture(curve: BoundCurve, *, certificate: CertificateFile) -> Picture:
    """The curve, the run's own point, and beside them the held-out bound, the training error and the majority-class error.

    Above the majority-class error the ground is hatched: a bound there says nothing about the task.
    """
    training, held_out, majority = certificate.training, certificate.held_out, certificate.majority_error
    own = f"{percent_up(training.value)} %"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axhspan(100 * majority, 100, facecolor="none", edgecolor=GREY, hatch="////", alpha=0.6, linewidth=0)
        axes.plot(
            curve.x, [100 * value for value in curve.values], "-", color=INK, label=f"training bound, δ = {training.delta:g}"
        )
        axes.plot(
            [curve.at],
            [100 * training.value],
            "D",
            color=VERMILLION,
            markersize=5,
            markeredgecolor="white",
            label=f"this run: {own}",
        )
        axes.axhline(
            100 * held_out.value,
            color=BLUE,
            linewidth=1,
            linestyle=(0, (5, 2)),
            label=f"held-out bound: {percent_up(held_out.value)} %",
        )
        axes.axhline(
            100 * training.evidence.risk,
            color=GREEN,
            linewidth=1,
            linestyle=(0, (1, 1.5)),
            label=f"training error: {percent(training.evidence.risk)} %",
        )
        axes.axhline(100 * majority, **MAJORITY_LINE, label=f"majority class: {percent(majority)} %")
        for x, said in curve.marks:
            axes.plot([x], [100 * majority], "o", color=INK, markersize=4, markerfacecolor="white", label=f"majority {said}")
        axes.set_xlim(curve.x[0], curve.x[-1])
        plain_log(axes, which="x")
        axes.set_ylim(0, 100)
        axes.set_xlabel(curve.axis)
        axes.set_ylabel("true risk at most (%)")
        legend_below(figure)

    marks = "".join(f" It meets the majority-class error {said}." for _, said in curve.marks)
    described = (
        f"{curve.said} This run: {own}; held-out bound {percent_up(held_out.value)} %, training error "
        f"{percent(training.evidence.risk)} %, majority-class error {percent(majority)} %.{marks}"
    )
    return Picture(curve.name, curve.title, described, draw, height=3.0)
