"""The Walsh-Hadamard transform on a GPU, by Triton: the additions of `hadamard.py` in the same order, so the same bits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: The largest factor of H: so many numbers a thread has, and of each its neighbours in 16 bytes.
_LINES = 32
#: Columns of a program: 4 for each thread of a warp, 16 bytes in float32.
_COLUMNS_AT_ONCE = 128


def walsh_hadamard(values: Tensor) -> Tensor:
    """H along the middle axis of contiguous values (batch, n, columns), n a power of two, in place.

    H is a product of factors of at most 32: each is a launch that has all numbers of a butterfly in one thread.
    """
    _, size, stride = values.shape
    with torch.cuda.device(values.get_device()):  # -1, for the CPU, leaves the device as it is
        while size > 1:
            lines = min(_LINES, size)
            count = values.numel() // lines
            _transform[(triton.cdiv(count, _COLUMNS_AT_ONCE),)](
                values, count, stride, lines=lines, columns=_COLUMNS_AT_ONCE, stages=lines.bit_length() - 1,
                num_warps=1, enable_fp_fusion=False,
            )  # fmt: skip
            size, stride = size // lines, stride * lines
    return values


@triton.jit
def hadamard(values: tl.tensor, stages: tl.constexpr) -> tl.tensor:
    """H along the last axis of (columns, 2^stages). A stage takes the lowest bit of the line and leaves it as the highest."""
    columns: tl.constexpr = values.shape[0]
    lines: tl.constexpr = values.shape[1]
    for _ in tl.static_range(stages):
        even, odd = tl.split(tl.reshape(values, (columns, lines // 2, 2)))
        values = tl.reshape(tl.permute(tl.join(even + odd, even - odd), (0, 2, 1)), (columns, lines))
    return values


@triton.jit
def _transform(
    values: tl.tensor, count: tl.tensor, stride: tl.tensor, lines: tl.constexpr, columns: tl.constexpr, stages: tl.constexpr
) -> None:
    """H of size `lines`, a power of two, over numbers that lie `stride` apart, for `count` groups of them."""
    group = tl.program_id(0).to(tl.int64) * columns + tl.arange(0, columns)
    first = group // stride * (stride * lines) + group % stride
    at = first[:, None] + tl.arange(0, lines)[None, :] * stride
    inside = (group < count)[:, None]
    tl.store(values + at, hadamard(tl.load(values + at, mask=inside), stages), mask=inside)
