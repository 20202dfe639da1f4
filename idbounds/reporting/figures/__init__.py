"""Figures for a paper's column, a file a kind: each function takes records and numbers and gives a `Picture`."""

from __future__ import annotations

from idbounds.reporting.figures.accuracy import accuracy_picture
from idbounds.reporting.figures.bounds import BoundCurve, bound_picture
from idbounds.reporting.figures.frontier import IsoBounds, frontier_picture
from idbounds.reporting.figures.ledger import ledger_picture
from idbounds.reporting.figures.sizes import SizePoint, sizes_picture
from idbounds.reporting.figures.style import FORMATS, Picture, render, write_picture

__all__ = [
    "FORMATS",
    "BoundCurve",
    "IsoBounds",
    "Picture",
    "SizePoint",
    "accuracy_picture",
    "bound_picture",
    "frontier_picture",
    "ledger_picture",
    "render",
    "sizes_picture",
    "write_picture",
]
