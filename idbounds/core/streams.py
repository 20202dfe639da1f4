"""Counter-based random streams: the same bits for any chunk, order, thread count, device and process.

A stream is named by what it is for (seed, purpose, tensor name), never by when it was drawn. Its words
are the outputs of Philox-4x64-10 (Salmon et al., SC 2011) at a position, so any slice of it can be
made without making what lies before. numpy's raw Philox output is covered by its stream-compatibility
policy (NEP 19), and `tests/golden/streams.json` guards the bits here.

Gaussians come from a table of 2^16 equally likely atoms instead of a transcendental function, because
`log` and `cos` may differ in the last place between processors and a projection must not.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: Part of every key: changing the meaning of any stream must change this, so that old messages stay decodable.
STREAM_VERSION = "idbounds-stream-1"

_Word = TypeVar("_Word", bound=np.unsignedinteger)

_WORDS_PER_COUNTER = 4  # Philox-4x64 yields four 64-bit words for each counter value.

#: So many at once that their words stay in a core's cache, 128 KiB, and take no memory beside what is made.
_NORMALS_AT_ONCE = 2**16

# SplitMix64: Steele, Lea & Flood, OOPSLA 2014, with the multipliers of Stafford's variant 13.
SPLITMIX_STEP = np.uint64(0x9E3779B97F4A7C15)
SPLITMIX_FIRST = np.uint64(0xBF58476D1CE4E5B9)
SPLITMIX_SECOND = np.uint64(0x94D049BB133111EB)


class Stream:
    """Random words addressed by position.

    Args:
        seed: any integer in [0, 2^64).
        purpose: what the words are for, e.g. ``"fastfood/signs"``.
        name: which tensor they belong to.
    """

    def __init__(self, *, seed: int, purpose: str, name: str = "") -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in [0, 2**64), got {seed}")
        # The length prefix keeps ("a", "bc") and ("ab", "c") apart.
        text = f"{STREAM_VERSION}|{seed}|{len(purpose)}|{purpose}|{name}"
        digest = hashlib.sha256(text.encode()).digest()
        self._key = int.from_bytes(digest[:16], "little")

    def words(self, start: int, count: int) -> NDArray[np.uint64]:
        """64-bit words at positions [start, start + count)."""
        if start < 0 or count < 0:
            raise ValueError(f"start and count must be non-negative, got {start} and {count}")
        first_counter, skip = divmod(start, _WORDS_PER_COUNTER)
        generator = np.random.Philox(key=self._key, counter=first_counter)
        return np.asarray(generator.random_raw(count + skip)[skip:], dtype=np.uint64)

    @property
    def splitmix_key(self) -> int:
        """The state from which `splitmix` counts, in [0, 2^64)."""
        return self._key & 0xFFFF_FFFF_FFFF_FFFF

    def splitmix(self, start: int, count: int) -> NDArray[np.uint64]:
        """64-bit words at positions [start, start + count) of SplitMix64 seeded with `splitmix_key`.

        Two multiplications a word instead of Philox's twenty: for words that a compiled kernel makes again where it
        needs them.
        """
        return splitmix(self.splitmix_key, np.arange(start, start + count, dtype=np.uint64))

    def uint32(self, start: int, count: int) -> NDArray[np.uint32]:
        """32-bit words at positions [start, start + count); word i is half i % 2 (low first) of 64-bit word i // 2."""
        return self._halves(start, count, np.dtype("<u4"))

    def uint16(self, start: int, count: int) -> NDArray[np.uint16]:
        """16-bit words at positions [start, start + count), low quarter of each 64-bit word first."""
        return self._halves(start, count, np.dtype("<u2"))

    def normal(self, start: int, count: int, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Standard Gaussians (float32) at positions [start, start + count), from `gaussian_atoms`, in `out` if given."""
        made = np.empty(count, dtype=np.float32) if out is None else out
        for low in range(0, count, _NORMALS_AT_ONCE):
            part = made[low : low + _NORMALS_AT_ONCE]
            # No 16-bit word is out of range, so nothing wraps: this mode only spares the check.
            gaussian_atoms().take(self.uint16(start + low, len(part)), out=part, mode="wrap")
        return made

    def fine_normal(self, start: int, count: int) -> NDArray[np.float64]:
        """Standard Gaussians (float64) at positions [start, start + count): quantiles of the midpoints of 2^52 equal parts.

        For a posterior, whose KL divergence a law of 2^16 atoms would make infinite. 52 bits, because the largest midpoint of
        2^53 parts rounds to 1. |z| < 8.2.
        """
        midpoints = ((self.words(start, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        return np.asarray(special.ndtri(midpoints), dtype=np.float64)

    def permutation(self, start: int, size: int) -> NDArray[np.int64]:
        """A uniform permutation of range(size) from the 64-bit words [start, start + size).

        Sorting random keys; two equal keys (probability below size^2 / 2^65) keep their order.
        """
        return np.argsort(self.words(start, size), kind="stable")

    def permutations(self, count: int, size: int) -> NDArray[np.int64]:
        """(count, size): in row k `permutation(k size, size)`."""
        return np.argsort(self.words(0, count * size).reshape(count, size), axis=1, kind="stable")

    def _halves(self, start: int, count: int, dtype: np.dtype[_Word]) -> NDArray[_Word]:
        per_word = 8 // dtype.itemsize
        first_word, skip = divmod(start, per_word)
        last_word = -(-(start + count) // per_word)
        little_endian = self.words(first_word, last_word - first_word).astype("<u8", copy=False)
        return little_endian.view(dtype)[skip : skip + count]


def splitmix(key: int, positions: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Outputs number `positions` (the first is 0) of SplitMix64 with the seed `key`."""
    words = (positions + np.uint64(1)) * SPLITMIX_STEP
    words += np.uint64(key)
    words ^= words >> np.uint64(30)
    words *= SPLITMIX_FIRST
    words ^= words >> np.uint64(27)
    words *= SPLITMIX_SECOND
    words ^= words >> np.uint64(31)
    return words


@lru_cache(maxsize=1)
def gaussian_atoms() -> NDArray[np.float32]:
    """The 2^16 equally likely values that stand for N(0, 1): symmetric, mean 0, variance 1.

    Formula: z_i = c * ndtri((i + 1/2) / 2^16), c such that the mean of z_i^2 is 1; |z| < 4.4.
    Kolmogorov distance to N(0, 1) is below 2^-16 plus the effect of c (c - 1 < 2e-5). Each atom is
    rounded to a multiple of 2^-20, far coarser than the error of `ndtri`, so that the table has the same
    bits whatever library computed it; its hash is checked against the golden file.
    """
    levels = (np.arange(2**15) + 0.5) / 2**16
    lower_half = special.ndtri(levels)
    unit_variance = lower_half / np.sqrt(np.mean(lower_half**2))
    rounded = np.round(unit_variance * 2**20) / 2**20
    table = np.concatenate([rounded, -rounded[::-1]]).astype(np.float32)
    table.setflags(write=False)
    return table
