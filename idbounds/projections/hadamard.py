"""The unnormalised Walsh-Hadamard transform by butterflies. The order of additions is part of the definition of P."""

from __future__ import annotations

import torch
from torch import Tensor


def walsh_hadamard(values: Tensor, spare: Tensor | None = None) -> Tensor:
    """H applied along the middle axis of values (batch, n, columns), n a power of two.

    Along that axis, so that every addition runs over contiguous columns. `values` and `spare`, memory of the same shape,
    are used up; the result lies in one of them.
    """
    batch, size, columns = values.shape
    spare, half = torch.empty_like(values) if spare is None else spare, 1
    while half < size:
        pairs = values.view(batch * size // (2 * half), 2, half * columns)
        out = spare.view_as(pairs)
        torch.add(pairs[:, 0], pairs[:, 1], out=out[:, 0])
        torch.sub(pairs[:, 0], pairs[:, 1], out=out[:, 1])
        values, spare, half = spare, values, 2 * half
    return values


def walsh_hadamard_of_a_vector(values: Tensor) -> Tensor:
    """H @ values for a vector whose length is a power of two; the same bits as `walsh_hadamard` of one column.

    H is the product of two smaller ones, on the low and on the high half of the index; a transposition before and
    after the first keeps both on contiguous columns.
    """
    size = values.numel()
    low = 1 << (size.bit_length() - 1) // 2
    grid = values.view(size // low, low).t().contiguous().unsqueeze(0)
    grid = walsh_hadamard(grid)[0].t().contiguous()
    return walsh_hadamard(grid.unsqueeze(0)).view(-1)
