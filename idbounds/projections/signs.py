"""Random signs, one bit each, put on by flipping the sign bits of floating-point numbers."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: One word of signs serves so many consecutive numbers.
RUN = 32

_SIGN_BIT = {torch.float32: (torch.int32, -(2**31)), torch.float64: (torch.int64, -(2**63))}


def sign_words(words: NDArray[np.uint64], device: torch.device) -> Tensor:
    """The low halves of 64-bit words as an int32 column: bit l is the sign of number l of a run."""
    return torch.from_numpy(words.astype(np.uint32).view(np.int32)).to(device).unsqueeze(1)


def flip_signs(values: Tensor, words: Tensor, *, out: Tensor, masks: Tensor) -> Tensor:
    """values (runs, 32) with the sign of number l of a run flipped where bit l of the run's word is 1, into `out`.

    `masks`, scratch space, has the integer type of the values' size; `out` may be the values themselves.
    """
    integer, sign_bit = _SIGN_BIT[values.dtype]
    width = 8 * values.element_size()
    shifts = torch.arange(width - 1, width - 1 - RUN, -1, dtype=integer, device=values.device)
    torch.bitwise_left_shift(words.to(integer), shifts, out=masks).bitwise_and_(sign_bit)
    torch.bitwise_xor(values.view(integer), masks, out=out.view(integer))
    return out


class Scratch(NamedTuple):
    """Three pieces of memory for runs of 32 numbers: what a product of one tile needs."""

    values: Tensor
    spare: Tensor
    masks: Tensor


_of_this_thread = threading.local()


def scratch(runs: int, like: Tensor) -> Scratch:
    """Scratch space of this thread, kept: taking fresh memory for every tile costs more than filling it."""
    if not hasattr(_of_this_thread, "kept"):
        _of_this_thread.kept = {}
    kept: dict[tuple[torch.dtype, torch.device], Scratch] = _of_this_thread.kept
    key = (like.dtype, like.device)
    if key not in kept or len(kept[key].values) < runs:
        values = torch.empty(runs, RUN, dtype=like.dtype, device=like.device)
        kept[key] = Scratch(values, torch.empty_like(values), torch.empty_like(values, dtype=_SIGN_BIT[like.dtype][0]))
    return Scratch(*(memory[:runs] for memory in kept[key]))
