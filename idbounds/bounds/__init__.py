"""Upper bounds on the true risk. `BOUNDS` lists the families by name."""

from __future__ import annotations

from idbounds.bounds.base import Bound, Source
from idbounds.bounds.occam_binomial import OccamBinomial
from idbounds.bounds.test_set import TestSet
from idbounds.core.errors import ConfigError

BOUNDS: dict[str, Bound] = {bound.name: bound for bound in (OccamBinomial(), TestSet())}


def bound_by_name(name: str) -> Bound:
    """The bound registered under a name; raises ConfigError with the list of names."""
    try:
        return BOUNDS[name]
    except KeyError:
        raise ConfigError(f"unknown bound {name!r}; choose one of {', '.join(BOUNDS)}") from None


__all__ = ["BOUNDS", "Bound", "OccamBinomial", "Source", "TestSet", "bound_by_name"]
