"""Floor 1: the intrinsic dimension from finished trials. No torch; nothing here trains."""

from __future__ import annotations

from idbounds.estimation.curve import Point, choose_trials
from idbounds.estimation.intrinsic import intrinsic_dimension
from idbounds.estimation.rules import RULES, RuleName, target_accuracy

__all__ = ["RULES", "Point", "RuleName", "choose_trials", "intrinsic_dimension", "target_accuracy"]
