"""The unnormalised Walsh-Hadamard transform by butterflies. The order of additions is part of the definition of P."""

from __future__ import annotations

import torch
from torch import Tensor

from idbounds.projections.compiled import transforms_for


class WalshHadamard:
    """H along the middle axis of memory (batch, n, columns), n a power of two, as often as it is called.

    Along that axis, so that every addition runs over contiguous columns. The views of its stages are made once. `half` leaves
    out those before: it is how far apart those lie that the first stage adds.
    """

    def __init__(self, values: Tensor, spare: Tensor, *, half: int = 1) -> None:
        self._result, self._first_half, self._stages = values, half, list[tuple[Tensor, ...]]()
        while half < values.shape[1]:
            self._stages.append((*_halves(self._result, half), *_halves(spare, half)))
            self._result, spare, half = spare, self._result, 2 * half

    def __call__(self, source: Tensor) -> Tensor:
        """H applied to `source`, which is `values` or has its shape; both memories are used up and one of them is returned."""
        for number, (*pair, total, difference) in enumerate(self._stages):
            first, second = pair if number else _halves(source, self._first_half)
            torch.add(first, second, out=total)
            torch.sub(first, second, out=difference)
        return self._result


def _halves(values: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """What is added and subtracted in a stage: of each 2 `half` neighbours along the middle axis the first and the second."""
    batch, size, columns = values.shape
    pairs = values.view(batch * size // (2 * half), 2, half * columns)
    return pairs[:, 0], pairs[:, 1]


def walsh_hadamard(values: Tensor) -> Tensor:
    """H applied along the middle axis of values (batch, n, columns), n a power of two; `values` is used up."""
    transforms = transforms_for(values)
    if transforms is not None:
        return transforms.walsh_hadamard(values)
    return WalshHadamard(values, torch.empty_like(values))(values)


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
