"""The code `codebook`: few different integers, each named once, then which of them each coefficient is."""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.enumerative import decode_subset, encode_subset
from idbounds.core.errors import ConfigError

#: Entries are integers from -127 to 127 steps. With the step chosen so that the largest entry lies above 63, an entry is
#: off its centroid by at most 1/128 of the largest, a hundredth of the quantisation error that up to 16 entries leave.
LARGEST_ENTRY = 127
MAX_ENTRIES = 16
_NUM_PLACES = 2 * LARGEST_ENTRY + 1


class Codebook(Code):
    """K in log2 16 bits, the set of K entries in log2 C(255, K) bits, then indices by Dirichlet-1/2 counts.

    P(index i) = (n_i + 1/2) / (n + K/2), kept as the odd integers 2 n_i + 1. The set costs log2 K! bits less than K entries
    of 8 bits one by one, because their order says nothing.
    """

    name: ClassVar[str] = "codebook"
    title: ClassVar[str] = "codebook with its entries, adaptive counts"

    def can_encode(self, values: NDArray[np.int64]) -> bool:
        """At most 16 different integers, none above 127 in magnitude."""
        return len(np.unique(values)) <= MAX_ENTRIES and bool(np.all(np.abs(values) <= LARGEST_ENTRY))

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """The set of entries, then the indices."""
        if not self.can_encode(values):
            raise ConfigError(
                f"a codebook has at most {MAX_ENTRIES} entries of at most {LARGEST_ENTRY} steps, "
                f"got {len(np.unique(values))} up to {int(np.abs(values).max())}; use another code"
            )
        entries, indices = np.unique(values, return_inverse=True)
        coder.encode_below(len(entries) - 1, MAX_ENTRIES)
        encode_subset(np.isin(np.arange(_NUM_PLACES) - LARGEST_ENTRY, entries).astype(int).tolist(), coder)
        weights = [1] * len(entries)
        for index in indices.tolist():
            coder.encode(sum(weights[:index]), weights[index], total=sum(weights))
            weights[index] += 2

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """The set of entries, then the indices."""
        num_entries = coder.decode_below(MAX_ENTRIES) + 1
        entries = np.flatnonzero(decode_subset(_NUM_PLACES, num_entries, coder)) - LARGEST_ENTRY
        weights = [1] * num_entries
        indices = []
        for _ in range(d):
            index = coder.find((0, *accumulate(weights)))
            weights[index] += 2
            indices.append(index)
        return entries[indices].astype(np.int64)
