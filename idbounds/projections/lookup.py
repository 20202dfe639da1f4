"""Rows of a matrix θ₀ + P w that indices name, as an embedding asks for them, without the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

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
    edges = torch.arange(0, height + step, step, dtype=indices.dtype)
    for low, high in pairwise(torch.searchsorted(ascending, edges).tolist()):
        if low < high:
            rows = ascending[low:high]
            first = int(rows[0])
            yield Block(first, int(rows[-1]) + 1, order[low:high], rows - first)


def moved_rows(
    projection: Projection, scaled: Tensor, theta_0: Tensor, found: Sequence[Block], name: str, *, count: int
) -> Tensor:
    """θ₀ + P w in the rows that indices name: (count, columns), in the dtype of θ₀; from `scaled(..., moves=True)`."""
    columns = theta_0.shape[1]
    made = theta_0.new_empty(count, columns)
    for first, stop, places, rows in found:
        base = theta_0[first:stop].reshape(-1).to(scaled.dtype)
        moved = projection.assemble(scaled, base, name, first * columns, stop * columns)
        made.index_copy_(0, places, moved.view(-1, columns).index_select(0, rows).to(made.dtype))
    return made


def gradients(grad: Tensor, found: Sequence[Block], *, padding: int | None, dtype: torch.dtype) -> Iterator[tuple[Tensor, int]]:
    """The matrix's gradient, from that of the rows that were looked up: in blocks, each with the place where it begins.

    A row that stands for padding has none, as in `torch.nn.Embedding`.
    """
    columns = grad.shape[1]
    for first, stop, places, rows in found:
        g = grad.new_zeros(stop - first, columns, dtype=dtype).index_add_(0, rows, grad.index_select(0, places).to(dtype))
        if padding is not None and first <= padding < stop:
            g.index_fill_(0, torch.tensor([padding - first]), 0.0)
        yield g.view(-1), first * columns
