"""Random signs, one bit each, put on by flipping the sign bits of floating-point numbers."""

from __future__ import annotations

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


def flip_signs(values: Tensor, words: Tensor) -> Tensor:
    """A copy of values (runs, 32) in which number l of a run has its sign flipped where bit l of the run's word is 1."""
    integer, sign_bit = _SIGN_BIT[values.dtype]
    width = 8 * values.element_size()
    shifts = torch.arange(width - 1, width - 1 - RUN, -1, dtype=integer, device=values.device)
    masks = torch.bitwise_left_shift(words.to(integer), shifts).bitwise_and_(sign_bit)
    return masks.bitwise_xor_(values.view(integer)).view(values.dtype)
