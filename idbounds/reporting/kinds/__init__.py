"""Tables of one run or many, from the records alone: a cell's number is a stored one, and bounds go up to the printed digit."""

from __future__ import annotations

from idbounds.reporting.kinds.bounds import bounds_table
from idbounds.reporting.kinds.compact import compact
from idbounds.reporting.kinds.d90 import d90_table

__all__ = ["bounds_table", "compact", "d90_table"]
