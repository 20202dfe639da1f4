"""Where the bits of messages go: a stacked bar a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from idbounds.core.values import Complexity
from idbounds.reporting.figures.style import FILLS, Picture, legend_below, short
from idbounds.reporting.rounding import bits_up

#: Inches: of a bar and its gap, and of the rest.
_BAR, _REST = 0.3, 1.25


def ledger_picture(ledgers: Sequence[tuple[str, Complexity]]) -> Picture:
    """One bar a message, its parts in the order of the ledger; each has a colour, a hatch and, for one message, its bits.

    Args:
        ledgers: a name and a ledger each, at least one.
    """
    longest_first = sorted((complexity.ledger for _, complexity in ledgers), key=len, reverse=True)
    parts = list(dict.fromkeys(item.name for items in longest_first for item in items))
    alone = len(ledgers) == 1
    described = "; ".join(
        f"{name}: {bits_up(complexity.num_bits)} bits, of which "
        + ", ".join(f"{item.name} {bits_up(item.bits)}" for item in complexity.ledger)
        for name, complexity in ledgers
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        starts = [0.0] * len(ledgers)
        for index, part in enumerate(parts):
            widths = [sum(item.bits for item in complexity.ledger if item.name == part) for _, complexity in ledgers]
            color, hatch = FILLS[index % len(FILLS)]
            label = f"{short(part, most=30)}: {bits_up(widths[0])}" if alone else short(part, most=30)
            axes.barh(
                range(len(ledgers)),
                widths,
                left=starts,
                height=0.7,
                color=color,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.4,
                label=label,
            )
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        for row, (_, complexity) in enumerate(ledgers):
            axes.annotate(
                bits_up(complexity.num_bits), (starts[row], row), (3, 0), textcoords="offset points", va="center", fontsize=7
            )
        axes.set_yticks(range(len(ledgers)), labels=[short(name, most=18) for name, _ in ledgers])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(starts) or 1)
        axes.set_xlabel("bits")
        legend_below(figure)

    return Picture("ledger", "What the message consists of", f"{described}.", draw, height=_REST + _BAR * len(ledgers))
