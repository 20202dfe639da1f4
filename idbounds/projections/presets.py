"""What papers used, by name: family, allocation of the norm, options, and the parametrization on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from idbounds.core.errors import ConfigError
from idbounds.projections.base import Projection


@dataclass(frozen=True)
class Preset:
    """A published choice. `note` says what the paper did, and what differs here."""

    name: str
    family: str
    allocation: str
    parametrization: str
    citation: str
    note: str
    options: Mapping[str, int] = field(default_factory=dict)

    def projection(
        self, *, d: int, D: int | None = None, layout: tuple[tuple[str, int], ...] | None = None, seed: int = 0
    ) -> Projection:
        """The projection, for one vector of D weights or for a layout of named tensors."""
        from idbounds.projections import projection  # the package imports this module

        return projection(self.family, d=d, D=D, layout=layout, seed=seed, allocation=self.allocation, **self.options)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="li2018",
            family="fastfood_single_block",
            allocation="global",
            parametrization="full_weights",
            citation="li2018measuring",
            note="The paper moves all weights together with one Fastfood block over their concatenation (and, where they fit, "
            "with dense or sparse matrices). For one block give D; a layout gives a block of its own to each tensor, with "
            "rows of the same expected norm.",
        ),
        Preset(
            name="aghajanyan2020",
            family="fastfood_single_block",
            allocation="per_tensor",
            parametrization="said",
            citation="aghajanyan2021intrinsic",
            note="One Fastfood block for each tensor, each with the same share of the norm, as in the released code; one "
            "trained scale for each layer, as in the paper (the released code has one for each tensor). The gradient is the "
            "adjoint, which that of the released code is not.",
        ),
        Preset(
            name="lotfi2022",
            family="kronecker",
            allocation="global",
            parametrization="full_weights",
            options={"orthonormal": 1},
            citation="lotfi2022pac",
            note="The paper takes a Kronecker product of two orthonormal factors over the concatenation of all weights "
            "(RDKronQR in its code). Here the factors are seeded and of their own shapes for each tensor; give D for one "
            "product over all weights.",
        ),
        Preset(
            name="said_released_code",
            family="said_released_code",
            allocation="per_tensor",
            parametrization="said",
            citation="aghajanyan2021intrinsic",
            note="WRONG ON PURPOSE, for comparison only: as aghajanyan2020, but each tensor's part of the gradient is divided "
            "by its padded length, as in the released code (fault B1). One trained scale for each layer, not tensor.",
        ),
    )
}


def preset(name: str) -> Preset:
    """A published choice by name; raises ConfigError with the list of names.

    Examples:
        >>> preset("li2018").projection(d=10, D=1000, seed=3).shape
        (1000, 10)
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ConfigError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}") from None
