"""The `Code` abstraction: a quantiser and an entropy model that together make a self-delimiting bit stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.bits import BitReader, BitWriter
from idbounds.core.values import LedgerItem


@dataclass(frozen=True)
class Quantized:
    """What a code sends: (d,) int64 symbols, and the index of the step (or codebook) they refer to."""

    symbols: NDArray[np.int64]
    step_index: int


class Code(ABC):
    """A prefix-free code for coefficient vectors of known length d.

    Laws, checked by `idbounds.testing.code_suite`: `decode(encode(x) + any bits)` gives x and consumes exactly
    the bits of x; the ledger's lines sum to those bits; `dequantize` gives the same float32 everywhere.
    """

    name: ClassVar[str]

    @abstractmethod
    def quantize(self, w: ArrayLike, *, step_index: int) -> Quantized:
        """Nearest representable vector to w, (d,)."""

    @abstractmethod
    def dequantize(self, quantized: Quantized) -> NDArray[np.float32]:
        """The (d,) float32 coefficients that the decoder hands to the projection."""

    @abstractmethod
    def step(self, quantized: Quantized) -> float:
        """The step in units of the coefficients."""

    @abstractmethod
    def encode(self, quantized: Quantized, *, writer: BitWriter) -> tuple[LedgerItem, ...]:
        """Write the vector; one ledger line for each part, in bits."""

    @abstractmethod
    def decode(self, reader: BitReader, *, d: int) -> Quantized:
        """Read a vector of length d. Raises CorruptMessageError."""
