"""Tables of one run or many, from the records alone: a cell's number is a stored one, and bounds go up to the printed digit."""

from __future__ import annotations

from idbounds.reporting.kinds.bounds import bounds_table
from idbounds.reporting.kinds.compact import compact
from idbounds.reporting.kinds.comparison import comparison_table, require_comparable
from idbounds.reporting.kinds.d90 import d90_table
from idbounds.reporting.kinds.frontier import frontier_table
from idbounds.reporting.kinds.ledger import runs_ledger_table

__all__ = [
    "bounds_table",
    "compact",
    "comparison_table",
    "d90_table",
    "frontier_table",
    "require_comparable",
    "runs_ledger_table",
]
