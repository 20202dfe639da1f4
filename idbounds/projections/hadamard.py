"""The unnormalised Walsh-Hadamard transform by butterflies. The order of additions is part of the definition of P."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from idbounds.projections.compiled import transforms_for

#: Where so many numbers in a row are added to as many, sums and differences are made by one operation, in three quarters of the
#: time of two; where there are fewer, in up to twice that time. By hand, on an AMD EPYC.
_WIDE = 256


class WalshHadamard:
    """H along the middle axis of memory (batch, n, columns), n a power of two, as often as it is called.

    Along that axis, so that every addition runs over contiguous columns. The views of its stages are made once. `half` leaves
    out those before: it is how far apart those lie that the first stage adds.
    """

    def __init__(self, values: Tensor, spare: Tensor, *, half: int = 1) -> None:
        self._first_half, self._first_result = half, spare
        self._result, self._rest = values, list[Callable[[], Tensor]]()
        while half < values.shape[1]:
            if half > self._first_half:
                self._rest += _butterflies(self._result, spare, half)
            self._result, spare, half = spare, self._result, 2 * half

    def __call__(self, source: Tensor) -> Tensor:
        """H applied to `source`, which is `values` or has its shape; both memories are used up and one of them is returned."""
        if self._first_half < source.shape[1]:
            for operation in _butterflies(source, self._first_result, self._first_half):
                operation()
        for operation in self._rest:
            operation()
        return self._result


def _butterflies(source: Tensor, result: Tensor, half: int) -> list[Callable[[], Tensor]]:
    """A stage, not yet done: of each 2 `half` neighbours along the middle axis the sums and the differences of the halves."""
    batch, size, columns = source.shape
    pairs, made = (values.view(batch * size // (2 * half), 2, half * columns) for values in (source, result))
    if half * columns >= _WIDE:
        # a + 1 b and a + (-1) b: the products are exact, so the bits are those of a + b and a - b. The two factors are made on
        # the device, for while a CUDA graph is captured nothing can be copied to it.
        signs = torch.linspace(1.0, -1.0, 2, dtype=source.dtype, device=source.device).unsqueeze(1)
        return [partial(torch.addcmul, pairs[:, :1], pairs[:, 1:], signs, out=made)]
    first, second = pairs[:, 0], pairs[:, 1]
    return [partial(torch.add, first, second, out=made[:, 0]), partial(torch.sub, first, second, out=made[:, 1])]


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
