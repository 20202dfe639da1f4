"""Which coordinates of a model P moves. `PARAMETRIZATIONS` lists them by name."""

from __future__ import annotations

from idbounds.core.errors import ConfigError
from idbounds.measurement.parametrizations.base import Parametrization
from idbounds.measurement.parametrizations.full_weights import FullWeights
from idbounds.measurement.parametrizations.said import Said

PARAMETRIZATIONS: dict[str, type[Parametrization]] = {member.name: member for member in (FullWeights, Said)}


def parametrization_by_name(name: str) -> type[Parametrization]:
    """The class registered under a name; raises ConfigError with the list of names."""
    try:
        return PARAMETRIZATIONS[name]
    except KeyError:
        raise ConfigError(f"unknown parametrization {name!r}; choose one of {', '.join(PARAMETRIZATIONS)}") from None


__all__ = ["PARAMETRIZATIONS", "FullWeights", "Parametrization", "Said", "parametrization_by_name"]
