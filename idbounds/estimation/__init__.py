"""Floor 1: the intrinsic dimension from finished trials. No torch; nothing here trains."""

from __future__ import annotations

from idbounds.estimation.band import Band, curve_band
from idbounds.estimation.comparison import RankCorrelation, Ratio, rank_correlation, ratio
from idbounds.estimation.curve import Point, choose_trials
from idbounds.estimation.dropping import is_hopeless
from idbounds.estimation.fits import FITS
from idbounds.estimation.intrinsic import Estimate, estimate_d90, intrinsic_dimension
from idbounds.estimation.rules import RULES, RUN_RULES, Absolute, ChanceCorrected, Li2018, Paper, TargetRule
from idbounds.estimation.search import Answer, EdgeRate, Request, SearchPlan, ask

__all__ = [
    "FITS",
    "RULES",
    "RUN_RULES",
    "Absolute",
    "Answer",
    "Band",
    "ChanceCorrected",
    "EdgeRate",
    "Estimate",
    "Li2018",
    "Paper",
    "Point",
    "RankCorrelation",
    "Ratio",
    "Request",
    "SearchPlan",
    "TargetRule",
    "ask",
    "choose_trials",
    "curve_band",
    "estimate_d90",
    "intrinsic_dimension",
    "is_hopeless",
    "rank_correlation",
    "ratio",
]
