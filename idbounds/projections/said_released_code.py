"""DELIBERATELY WRONG: the gradient of the released SAID code, for comparison only (fault B1 of docs/faults.md)."""

from __future__ import annotations

import warnings
from typing import ClassVar

from torch import Tensor

from idbounds.core.errors import KnownFaultWarning
from idbounds.core.values import ProjectionSpec
from idbounds.projections.fastfood_single_block import FastfoodSingleBlock


class SaidReleasedCode(FastfoodSingleBlock):
    """NOT A PROJECTION TO USE: P w is right, and what stands for P^T g is wrong by another factor for each tensor.

    It is here so that results of code that descends from the released SAID (compacter, t-few, rojagtap) can be repeated and
    compared. It breaks the laws of the other families on purpose, is not in `PROJECTIONS`, and warns when it is made.

    Formula: P = `FastfoodSingleBlock`, bit for bit. Its forward Walsh-Hadamard transform has no factor, the backward one
        divides by sqrt(L). P has two, so tensor i's part of the gradient is (1 / L_i) P_i^T g_i, L_i its padded length.
    Shapes: as `FastfoodSingleBlock`.
    Scale: P w as `FastfoodSingleBlock`. The gradient is dominated by the small tensors.
    Cost: as `FastfoodSingleBlock`.
    Randomness: the streams of ``fastfood_single_block``.
    Source: the code released with Aghajanyan, Gupta & Zettlemoyer 2021; derivation above.

    Examples:
        >>> import torch, warnings, idbounds
        >>> with warnings.catch_warnings(action="ignore"):
        ...     P = idbounds.projection("said_released_code", d=4, D=16)
        >>> right = idbounds.projection("fastfood_single_block", d=4, D=16)
        >>> torch.equal(P.T @ torch.ones(16), right.T @ torch.ones(16) / 16)
        True
    """

    family: ClassVar[str] = "said_released_code"

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        warnings.warn(
            "said_released_code returns a WRONG gradient on purpose (fault B1, docs/faults.md); use it only to compare. "
            "The right one is fastfood_single_block with allocation='per_tensor'",
            KnownFaultWarning,
            stacklevel=2,
        )

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        return super()._adjoint_rows(g, name, start) / self.padded(name)
