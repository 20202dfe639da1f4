"""What all figures have in common: a size, colours that are told apart in grey, and bytes that depend on the numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from idbounds.core.errors import ConfigError
from idbounds.core.records import write_atomically
from idbounds.reporting.extras import load
from idbounds.reporting.rounding import printable

#: Inches. A column of ICML, ICLR's wrapped figures and of IEEE is 3.25 to 3.5 wide: no scaling, so 8 points stay 8 points.
COLUMN_WIDTH = 3.3
_HEIGHT = 2.7
#: Of a log axis: its end over its start. With less, no two ticks at 1, 2 and 5 would be on it.
_LEAST_SPAN = 10.0
#: Points: of the text and of the legend.
_TEXT, _LEGEND = 8.0, 6.5
#: Letters of the legend's size, on average, that a column of print takes.
_LEGEND_LETTERS = 68

#: From the set of Okabe and Ito (Color Universal Design, 2008), which colour-blind readers tell apart. In grey they differ
#: too, and wherever a colour has a meaning a dash, a marker or a hatch has it as well.
INK, BLUE, VERMILLION, ORANGE, SKY, GREEN, PURPLE, GREY = (
    *("#000000", "#0072b2", "#d55e00", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#777777"),
)
#: Of stacked parts: a colour and a hatch each, dark beside light.
FILLS: tuple[tuple[str, str], ...] = (
    (BLUE, ""),
    (ORANGE, "////"),
    (GREEN, "||||"),
    (VERMILLION, "\\\\\\\\"),
    (SKY, ""),
    ("#f0e442", "xxxx"),
    (PURPLE, "----"),
    ("#ffffff", "++++"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

#: Dash-dot for the majority class, everywhere.
MAJORITY_LINE: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "linestyle": "-."}

#: A fixed salt and no date: otherwise every SVG gets random ids. In SVG text is drawn as paths, so that it looks the same
#: without the font; in PDF the font is embedded as TrueType, which journals ask for. A $ in a name is a dollar, no mathematics.
_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "idbounds",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": _TEXT,
    "axes.labelsize": _TEXT,
    "axes.titlesize": _TEXT,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": _LEGEND,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.3,
}


@dataclass(frozen=True)
class Picture:
    """A figure before it has a format.

    Attributes:
        name: of the kind.
        title: in a few words.
        description: what is seen, in words with its main numbers: the caption, and what a screen reader reads.
        draw: puts it into a matplotlib Figure.
        height: inches; the width is a column's.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Any], None]
    height: float = _HEIGHT


def render(picture: Picture, *, suffix: str) -> bytes:
    """The bytes of a picture as "svg" or "pdf": the same numbers give the same bytes, whatever the user's matplotlibrc says.

    Raises ConfigError for another format and where matplotlib is not installed.
    """
    if suffix not in FORMATS:
        raise ConfigError(f"unknown figure format {suffix!r}; known formats: {', '.join(FORMATS)}")
    backend, canvas, metadata = FORMATS[suffix]
    matplotlib = load("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # leaving the context restores the user's settings
        matplotlib.rcParams.update(_SETTINGS)
        figure = load("matplotlib.figure").Figure(figsize=(COLUMN_WIDTH, picture.height), layout="constrained")
        getattr(load(f"matplotlib.backends.{backend}"), canvas)(figure)
        picture.draw(figure)
        content = BytesIO()
        figure.savefig(content, format=suffix, metadata=metadata)
    return content.getvalue()


def write_picture(path: Path, picture: Picture, *, suffix: str = "svg") -> Path:
    """`render` into a file."""
    return write_atomically(path, render(picture, suffix=suffix))


#: Backend, its canvas, and metadata without dates, by format.
FORMATS: dict[str, tuple[str, str, dict[str, str | None]]] = {
    "svg": ("backend_svg", "FigureCanvasSVG", {"Date": None, "Creator": "idbounds"}),
    "pdf": ("backend_pdf", "FigureCanvasPdf", {"CreationDate": None, "ModDate": None, "Creator": "idbounds", "Producer": None}),
}


def short(text: str, *, most: int = 48) -> str:
    """A name as it fits into a figure: printable, on one line, cut with an ellipsis."""
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def log_ticks(axis: Any, numbers: Sequence[int]) -> None:
    """A log axis of x with a label at each of the given numbers, and none between."""
    axis.set_xscale("log")
    axis.set_xticks(numbers, labels=[str(number) for number in numbers])
    axis.set_xticks([], minor=True)


def plain_log(axes: Any, *, which: str) -> None:
    """A log axis ("x" or "y") with plain numbers at powers of ten, and at 2 and 5 between where it spans less than two."""
    ticker = load("matplotlib.ticker")
    getattr(axes, f"set_{which}scale")("log")
    low, high = getattr(axes, f"get_{which}lim")()
    if high < _LEAST_SPAN * low:  # runs of about one size
        middle = math.sqrt(low * high)
        low, high = getattr(axes, f"set_{which}lim")(middle / math.sqrt(_LEAST_SPAN), middle * math.sqrt(_LEAST_SPAN))
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda number, _: _plain(number)))
    axis.set_minor_formatter(ticker.NullFormatter())


def _plain(number: float) -> str:
    """20000 as it is; from a million on in millions or billions, as sizes of networks are told."""
    for unit, letter in ((1e9, "B"), (1e6, "M")):
        if number >= unit:
            return f"{number / unit:g}{letter}"
    return f"{number:g}"


def legend_below(figure: Any) -> None:
    """One legend for the figure, under it, so that it covers nothing; in as many columns as its labels leave room for."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    columns = next(count for count in (3, 2, 1) if count == 1 or _width(labels, count) <= _LEGEND_LETTERS)
    figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.0, labelspacing=0.3, handletextpad=0.5)


def _width(labels: Sequence[str], columns: int) -> int:
    """Letters of a row, filled column by column; a handle and its gaps are as wide as six."""
    rows = math.ceil(len(labels) / columns)
    parts = [labels[start : start + rows] for start in range(0, len(labels), rows)]
    return sum(max(map(len, part)) + 6 for part in parts)
