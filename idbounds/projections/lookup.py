"""Rows of a matrix θ₀ + P w that indices name, as an embedding asks for them, without the matrix."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from idbounds.projections.adjoint_sum import Gradient

if TYPE_CHECKING:
    from idbounds.projections.base import Projection

#: Numbers that are made at once, 2 MiB in float32: memory that an allocator has at hand, where a matrix's is fresh each time.
_AT_ONCE = 2**19


class Block(NamedTuple):
    """Neighbouring rows of a matrix, [first, stop), that some of the indices name."""

    first: int
    stop: int
    places: Tensor  # of those among the indices
    rows: Tensor  # that each of them names, counted from `first`


def blocks(indices: Tensor, *, height: int, columns: int) -> Iterator[Block]:
    """The rows that indices, (n,), name in a matrix (height, columns), in blocks that leave out what none names.

    Raises:
        IndexError: an index is not in [0, height).
    """
    ascending, order = torch.sort(indices)
    if len(ascending) and not (ascending[0] >= 0 and ascending[-1] < height):
        raise IndexError(f"rows {int(ascending[0])} to {int(ascending[-1])} were asked for, but an embedding has {height}")
    step = max(1, _AT_ONCE // columns)
    edges = torch.arange(0, height + step, step, dtype=indices.dtype, device=indices.device)
    for low, high in pairwise(torch.searchsorted(ascending, edges).tolist()):
        if low < high:
            rows = ascending[low:high]
            first = int(rows[0])
            yield Block(first, int(rows[-1]) + 1, order[low:high], rows - first)


class LookedUp:
    """The rows that indices, (n,), name of a matrix. As in `torch.nn.Embedding`, row `padding` has no gradient."""

    def __init__(self, indices: Tensor, *, name: str, shape: torch.Size, padding: int | None) -> None:
        self._indices, self._name, self._padding = indices, name, padding
        self._height, self._columns = shape

    def require_in_range(self) -> None:
        """An error if an index names no row; on a GPU it comes when the GPU has looked, as torch's own does."""
        known = (self._indices >= 0) & (self._indices < self._height)
        torch._assert_async(known.all(), f"an index of tensor {self._name!r} is not in [0, {self._height})")

    def moved_rows(self, projection: Projection, scaled: Tensor, theta_0: Tensor) -> Tensor:
        """θ₀ + P w in these rows: (n, columns), in the dtype of θ₀; from `scaled(..., moves=True)`."""
        made = theta_0.new_empty(len(self._indices), self._columns)
        for first, stop, places, rows in self._blocks:
            base = theta_0[first:stop].reshape(-1).to(scaled.dtype)
            moved = projection.assemble(scaled, base, self._name, first * self._columns, stop * self._columns)
            made.index_copy_(0, places, moved.view(-1, self._columns).index_select(0, rows).to(made.dtype))
        return made

    def gradient(self, grad: Tensor) -> Gradient:
        """From the gradient of the rows that of the matrix, for a projection that looks up."""
        if self._padding is not None:
            grad = grad.masked_fill((self._indices == self._padding)[:, None], 0.0)
        return Gradient(grad, self._name, 0, self._indices)

    def gradients_in_blocks(self, grad: Tensor, *, dtype: torch.dtype) -> Iterator[Gradient]:
        """From the gradient of the rows that of the matrix, block by block."""
        for first, stop, places, rows in self._blocks:
            g = grad.new_zeros(stop - first, self._columns, dtype=dtype)
            g = g.index_add_(0, rows, grad.index_select(0, places).to(dtype))
            if self._padding is not None and first <= self._padding < stop:
                g.index_fill_(0, torch.tensor([self._padding - first], device=g.device), 0.0)
            yield Gradient(g.view(-1), self._name, first * self._columns)

    @cached_property
    def _blocks(self) -> list[Block]:
        return list(blocks(self._indices, height=self._height, columns=self._columns))
