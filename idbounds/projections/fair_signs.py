"""Fair coins of a stream, one bit each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idbounds.core.streams import Stream

_BITS = 64


def fair_signs(stream: Stream, start: int, count: int) -> NDArray[np.int8]:
    """Signs ±1 at positions [start, start + count): sign i is -1 where bit i % 64 (low first) of word i // 64 is 1."""
    first, skip = divmod(start, _BITS)
    words = stream.words(first, -(-(start + count) // _BITS) - first).astype("<u8", copy=False)
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[skip : skip + count]
    return 1 - 2 * bits.view(np.int8)
