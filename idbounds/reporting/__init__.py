"""Floor 1: tables, figures and the bibliography of a run, from its records alone."""

from __future__ import annotations

from idbounds.reporting.bibliography import references, used_keys
from idbounds.reporting.rounding import percent, percent_up, round_up
from idbounds.reporting.tables import write_tables

__all__ = [
    "percent",
    "percent_up",
    "references",
    "round_up",
    "used_keys",
    "write_tables",
]
