"""All D weights, each its own coordinate: the full space in the dress of a projection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec
from idbounds.projections.coordinate import UnitEntries


class Identity(UnitEntries):
    """P w = w: every weight moves on its own, the end of every grid of d.

    Formula: P = I, tensors in the order of the layout.
    Shapes: d = D; ConfigError else.
    Scale: ||P w|| = ||w|| exactly with ``global``. With ``per_tensor`` a tensor of n weights has √(D / (T n)) in place of 1,
        T the number of tensors: then every tensor's share of ||P w||² is the same, and E||P w||² = ||w||², on average
        over the directions of w, since P has no randomness.
    Cost: one copy of D numbers each way; no state.
    Randomness: none; the seed is ignored.
    Source: ordinary training, the reference of Li et al., ICLR 2018.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("identity", d=3, D=3)
        >>> (P @ torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
    """

    family: ClassVar[str] = "identity"
    independent_tensors = False

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        if self.d != self.D:
            raise ConfigError(f"'identity' needs d = D: got d = {self.d} for D = {self.D} weights; choose d = {self.D}")
        self._offsets = dict(zip(self.sizes, itertools.accumulate(self.sizes.values(), initial=0), strict=False))

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        offset = self._offsets[name]
        yield expanded[offset + start : offset + stop].clone()

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(self.d)
        total[self._offsets[name] + start :][: g.numel()] = g
        return total
