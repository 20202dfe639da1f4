"""d of the D weights, each moved by one coordinate of w; all others stay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection


class UnitEntries(Projection):
    """The part of it that families share whose entries are 0 and 1, or with ``per_tensor`` 0 and one number a tensor."""

    def scale(self, name: str) -> float:
        """The entries themselves: 1, so that no rounding enters; or what gives every tensor the same expected share."""
        if self.spec.allocation == "global":
            return 1.0
        return math.sqrt(self.D / (len(self.sizes) * self.size(name)))


class Coordinate(UnitEntries):
    """A random subset of the weights: training d weights and freezing the rest.

    Formula: row i of P is the unit vector of coordinate j if weight i is the j-th of d weights drawn without replacement
        from all D; else 0.
    Shapes: any d <= D. Weights are numbered through the tensors in the order of their names, so that the order of
        the layout does not matter; which ones are drawn depends on all tensors' sizes.
    Scale: ||P w|| = ||w|| exactly (P^T P = I) with ``global``. With ``per_tensor`` the entries of a tensor of n weights
        are √(D / (T n)), T the number of tensors: a coordinate falls into it with probability n / D, so every tensor's
        expected share of ||P w||² is ||w||² / T, and E||P w||² = ||w||². A tensor may be left without any.
    Cost: filling D zeros, and d copies; state of d positions.
    Randomness: stream ``coordinate/positions``: the first d different numbers below D among its words, cut to the length of
        D - 1 in bits; where d > D / 2, the first d of a permutation of D. Same bits on every device.
    Source: a subspace along the axes, the contrast to the random subspaces of Li et al., ICLR 2018.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("coordinate", d=3, D=8, seed=0)
        >>> sorted((P @ torch.tensor([1.0, 2.0, 3.0])).tolist())
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    """

    family: ClassVar[str] = "coordinate"
    independent_tensors = False

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        stream = Stream(seed=spec.seed, purpose="coordinate/positions")
        positions = stream.permutation(0, self.D)[: self.d] if 2 * self.d > self.D else _distinct(stream, self.d, self.D)
        order = np.argsort(positions)
        self._coordinates: dict[str, Tensor] = {}
        self._places: dict[str, NDArray[np.int64]] = {}
        offset = 0
        for name in sorted(self.sizes):
            ends = np.searchsorted(positions, [offset, offset + self.sizes[name]], sorter=order)
            chosen = order[slice(*ends)]
            self._coordinates[name] = torch.from_numpy(chosen)
            self._places[name] = positions[chosen] - offset
            offset += self.sizes[name]

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        for begin in range(start, stop, self.tile_rows):
            piece = expanded.new_zeros(min(stop - begin, self.tile_rows))
            places, coordinates = self._chosen(name, begin, begin + piece.numel(), like=expanded)
            piece[places] = expanded[coordinates]
            yield piece

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        places, coordinates = self._chosen(name, start, start + g.numel(), like=g)
        total = g.new_zeros(self.d)
        total[coordinates] = g[places]
        return total

    def _chosen(self, name: str, start: int, stop: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """(places from `start` on, coordinates) of the weights in [start, stop) that were drawn."""
        within = slice(*np.searchsorted(self._places[name], [start, stop]))
        places = torch.from_numpy(self._places[name][within] - start)
        return places.to(like.device), self._coordinates[name][within].to(like.device)


def _distinct(stream: Stream, count: int, size: int) -> NDArray[np.int64]:
    """The first `count` different numbers below `size`, in the order of the stream; count <= size / 2."""
    shift = np.uint64(64 - (size - 1).bit_length())
    # A number is below size with probability above 1/2, and new with probability at least 1/2.
    drawn, wanted = np.empty(0, dtype=np.int64), 4 * count + 64
    while True:
        candidates = (stream.words(len(drawn), wanted) >> shift).astype(np.int64)
        drawn = np.concatenate([drawn, candidates])
        values, first = np.unique(drawn, return_index=True)
        kept = np.sort(first[values < size])
        if len(kept) >= count:
            return drawn[kept[:count]]
