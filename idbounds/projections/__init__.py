"""Random linear maps P: R^d -> R^D. `projection` makes one; `PROJECTIONS` lists the families."""

from __future__ import annotations

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection
from idbounds.projections.basis import Basis
from idbounds.projections.coordinate import Coordinate
from idbounds.projections.dense import Dense
from idbounds.projections.fastfood import Fastfood
from idbounds.projections.fastfood_single_block import FastfoodSingleBlock
from idbounds.projections.fastfood_stacked import FastfoodStacked
from idbounds.projections.identity import Identity
from idbounds.projections.kronecker import Kronecker
from idbounds.projections.one_hot import OneHot, SignedPermutation
from idbounds.projections.orthonormal import Orthonormal
from idbounds.projections.point import Point
from idbounds.projections.presets import PRESETS, Preset, preset
from idbounds.projections.said_released_code import SaidReleasedCode
from idbounds.projections.sparse import Sparse
from idbounds.projections.srht import Srht

_FAMILIES: tuple[type[Projection], ...] = (
    Dense,
    Fastfood,
    FastfoodSingleBlock,
    FastfoodStacked,
    OneHot,
    SignedPermutation,
    Orthonormal,
    Srht,
    Kronecker,
    Sparse,
    Coordinate,
    Identity,
    Basis,
)

PROJECTIONS: dict[str, type[Projection]] = {family.family: family for family in _FAMILIES}

#: Wrong on purpose, to compare with published code. Found by name like the others, and in no list of choices.
FAULTY: dict[str, type[Projection]] = {SaidReleasedCode.family: SaidReleasedCode}


def projection_family(family: str) -> type[Projection]:
    """The class registered under a name; raises ConfigError with the list of names."""
    try:
        return {**PROJECTIONS, **FAULTY}[family]
    except KeyError:
        raise ConfigError(f"unknown projection {family!r}; choose one of {', '.join(PROJECTIONS)}") from None


def from_spec(spec: ProjectionSpec) -> Projection:
    """The projection that a specification describes, bit for bit."""
    return projection_family(spec.family)(spec)


def projection(
    family: str,
    *,
    d: int,
    D: int | None = None,
    layout: tuple[tuple[str, int], ...] | None = None,
    seed: int = 0,
    allocation: str = "global",
    **options: int,
) -> Projection:
    """A projection by name, for one vector of D weights or for a layout of named tensors.

    Args:
        family: a name in `PROJECTIONS`.
        d: number of directions.
        D: number of weights; give either this or `layout`.
        layout: pairs (tensor name, number of weights).
        seed: selects P; in [0, 2^64).
        allocation: ``"global"`` or ``"per_tensor"``; see `Projection`.
        options: the family's own, e.g. ``nonzeros`` of sparse; `default_options` of its class lists them.
    """
    if (D is None) == (layout is None):
        raise ConfigError("give either D or layout, not both and not neither")
    return from_spec(
        ProjectionSpec.checked(
            family=family,
            version=projection_family(family).version,
            dim=d,
            seed=seed,
            allocation=allocation,
            layout=layout if layout is not None else (("", D),),
            options=options,
        )
    )


__all__ = [
    "FAULTY",
    "PRESETS",
    "PROJECTIONS",
    "Basis",
    "Dense",
    "Fastfood",
    "Point",
    "Preset",
    "Projection",
    "from_spec",
    "preset",
    "projection",
    "projection_family",
]
