"""The subsampled randomized Hadamard transform, transposed: d columns of a Hadamard matrix with random signs on its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.full_length import FullLength


class Srht(FullLength):
    """Random columns of a Walsh-Hadamard matrix as long as the tensor, with a random sign for each row.

    Formula: P = scale * S H R^T B, cut to the tensor: H the ±1 Walsh-Hadamard matrix of size L, the smallest power of two
        that holds the tensor and d, R^T the placing of w at d different random places among L, S and B random signs. So
        P[i, j] = scale * s_i (-1)^popcount(i & r_j) b_j. The places differ modulo L / 2 too, if d <= L / 2, so that no
        columns fall together where H is cut. B is ours: else the first row of every tensor would be ± (1, …, 1).
    Shapes: any d <= D. A tensor of 2 d weights alone gives P full rank.
    Scale: every entry is ± scale, E||P w||^2 = ||w||^2; P^T P = I exactly where there is one tensor and D = L.
    Cost: one transform of the full padded length for each tensor each way, log2(L) additions a weight, even for one row;
        temporaries of a few L numbers; d places and signs of state for each tensor. One thread a tensor.
    Randomness: streams ``srht/places``, ``srht/signs`` (S) and ``srht/column_signs`` (B), by tensor. Additions in a fixed
        order and one multiplication, so P w has the same bits on every device. The variant with a Fourier transform (SRFT)
        is left out on purpose: the last bits of an FFT library differ between versions and devices.
    Source: Ailon & Chazelle, SIAM J. Comput. 39, 2009; Tropp, Adv. Adapt. Data Anal. 3, 2011.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("srht", d=100, D=1024, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100), atol=1e-5)
        True
    """

    family: ClassVar[str] = "srht"

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        self._columns: dict[tuple[str, torch.device], _Columns] = {}

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        for piece in super()._rows(expanded, name, start, stop):
            yield piece.mul_(self._signs(name, start, stop, like=piece))

    def _add_adjoint_rows(self, total: Tensor | None, g: Tensor, name: str, start: int) -> Tensor:
        return super()._add_adjoint_rows(total, g * self._signs(name, start, start + g.numel(), like=g), name, start)

    def _spread(self, w: Tensor, name: str) -> Tensor:
        columns = self._columns_for(name, w.device)
        return w.new_zeros(self.padded(name)).index_copy_(0, columns.places, w * columns.signs)

    def _gather(self, values: Tensor, name: str) -> Tensor:
        columns = self._columns_for(name, values.device)
        return values.index_select(0, columns.places) * columns.signs

    def _signs(self, name: str, start: int, stop: int, *, like: Tensor) -> Tensor:
        return torch.from_numpy(fair_signs(self._stream("signs", name), start, stop - start)).to(like.device)

    def _columns_for(self, name: str, device: torch.device) -> _Columns:
        if (name, device) not in self._columns:
            places = different_places(self._stream("places", name), self.d, self.padded(name))
            signs = fair_signs(self._stream("column_signs", name), 0, self.d)
            self._columns[name, device] = _Columns(torch.from_numpy(places).to(device), torch.from_numpy(signs).to(device))
        return self._columns[name, device]

    def _stream(self, what: str, name: str) -> Stream:
        return Stream(seed=self.spec.seed, purpose=f"srht/{what}", name=name)


class _Columns(NamedTuple):
    places: Tensor  # (d,), R
    signs: Tensor  # (d,), B


def different_places(stream: Stream, count: int, size: int) -> NDArray[np.int64]:
    """The first `count` among uniform positions below `size`, a power of two, that differ, modulo size / 2 if they can."""
    modulus, drawn = size // 2 if count <= size // 2 else size, 2 * count
    while True:
        positions = (stream.words(0, drawn) & np.uint64(size - 1)).astype(np.int64)
        different, first = np.unique(positions % modulus, return_index=True)
        if len(different) >= count:
            return positions[np.sort(first)[:count]]
        drawn *= 2
