"""What a search for the smallest certified bound tried: bits against errors, and the point that was chosen."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from idbounds.core.fields import Count, Fraction, Sha256, Size
from idbounds.core.records import Record


class FrontierPoint(Record):
    """One message that was tried: its choices, its length, its training errors and the bound that they give.

    `bits` is the sum of its ledger; `tried_as` says in a word or two how it was made.
    """

    d: Size
    seed: Count
    step: float = Field(gt=0)
    code: str
    tried_as: str
    bits: float = Field(ge=0)
    errors: Count
    n: Size
    bound: Fraction


class Frontier(Record):
    """Every point that was tried, in the order of their bits, and which one the message holds.

    All were counted on the training set and enter the union bound through their bits, so that looking at them is free.
    """

    spec_sha256: Sha256
    points: tuple[FrontierPoint, ...] = Field(min_length=1)
    chosen: Count

    @model_validator(mode="after")
    def _chosen_is_there(self) -> Self:
        if self.chosen >= len(self.points):
            raise ValueError(f"chosen is point {self.chosen}, there are {len(self.points)}")
        return self

    def efficient(self) -> tuple[FrontierPoint, ...]:
        """The points that no other beats in bits and errors both, by increasing bits."""
        best: list[FrontierPoint] = []
        for point in sorted(self.points, key=lambda one: (one.bits, one.errors)):
            if not best or point.errors < best[-1].errors:
                best.append(point)
        return tuple(best)
