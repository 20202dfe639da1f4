"""Upper bounds on the true risk. `BOUNDS` lists the families by name; a new one is a file here and a line there."""

from __future__ import annotations

from idbounds.bounds.base import Bound, Source
from idbounds.bounds.bernstein import OccamEmpiricalBernstein, OccamUnexpectedBernstein, PacBayesUnexpectedBernstein
from idbounds.bounds.betting import OccamBetting, PacBayesBetting
from idbounds.bounds.catoni import CatoniFixed, CatoniGrid
from idbounds.bounds.compression import Aghajanyan, Arora, UniversalPrior, Zhou
from idbounds.bounds.contrast import ParameterCounting, SpectralMargin, VcDimension
from idbounds.bounds.empirical_bernstein import TolstikhinSeldin
from idbounds.bounds.language import Documents, Freedman, Tokens
from idbounds.bounds.occam import OccamHoeffding, OccamKl
from idbounds.bounds.occam_binomial import OccamBinomial
from idbounds.bounds.pac_bayes import Lambda, McAllester, Quadratic, Seeger
from idbounds.bounds.split_kl import OccamSplitKl, PacBayesSplitKl
from idbounds.bounds.test_set import TestSet, TestSetGibbs
from idbounds.bounds.transfer import Disagreement, SampleCompression
from idbounds.core.errors import ConfigError

_DETERMINISTIC = (
    OccamBinomial(),
    TestSet(),
    OccamKl(),
    OccamHoeffding(),
    OccamEmpiricalBernstein(),
    OccamUnexpectedBernstein(),
    OccamSplitKl(),
    OccamBetting(),
)
_STOCHASTIC = (
    McAllester(),
    Seeger(),
    CatoniFixed(),
    CatoniGrid(),
    Lambda(),
    Quadratic(),
    TolstikhinSeldin(),
    PacBayesUnexpectedBernstein(),
    PacBayesSplitKl(),
    PacBayesBetting(),
    TestSetGibbs(),
)
_COMPRESSION = (UniversalPrior(), Zhou(), Arora(), Aghajanyan(), Disagreement(), SampleCompression())
_LANGUAGE = (Documents(), Tokens(), Freedman())
_CONTRAST = (ParameterCounting(), VcDimension(), SpectralMargin())

BOUNDS: dict[str, Bound] = {
    bound.name: bound for bound in (*_DETERMINISTIC, *_STOCHASTIC, *_COMPRESSION, *_LANGUAGE, *_CONTRAST)
}


def bound_by_name(name: str) -> Bound:
    """The bound registered under a name; raises ConfigError with the list of names."""
    try:
        return BOUNDS[name]
    except KeyError:
        raise ConfigError(f"unknown bound {name!r}; choose one of {', '.join(BOUNDS)}") from None


__all__ = ["BOUNDS", "Bound", "OccamBinomial", "Source", "TestSet", "bound_by_name"]
