"""Families in which one Walsh-Hadamard transform mixes all rows of a tensor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from torch import Tensor

from idbounds.projections.base import Projection
from idbounds.projections.hadamard import walsh_hadamard_of_a_vector


class FullLength(Projection):
    """The first rows of H u, H of the size of the whole tensor and u = `_spread(w)`. A slice costs as much as the whole."""

    #: One piece: a part of the rows would take the whole transform again.
    tile_rows = 2**62

    def padded(self, name: str) -> int:
        """The size of H for a tensor: the smallest power of two that holds it and d."""
        # bit_length is exact where log2 in floating point is not (fault B11); d fits in it, so that no coordinate is cut
        # off (fault B4).
        return 1 << (max(self.size(name), self.d) - 1).bit_length()

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        yield walsh_hadamard_of_a_vector(self._spread(expanded, name))[start:stop]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        values = g.new_zeros(self.padded(name))
        values[start : start + g.numel()] = g
        return self._gather(walsh_hadamard_of_a_vector(values), name)

    @abstractmethod
    def _spread(self, w: Tensor, name: str) -> Tensor:
        """What the transform is applied to: shape (padded,)."""

    @abstractmethod
    def _gather(self, values: Tensor, name: str) -> Tensor:
        """The transpose of `_spread`; `values` may be overwritten."""
