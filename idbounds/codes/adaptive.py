"""The codes `adaptive` and `ternary`: Krichevsky-Trofimov counts of magnitudes that learn as they go."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
from idbounds.codes.base import Code
from idbounds.codes.chain import Chain
from idbounds.core.errors import ConfigError


class Adaptive(Code):
    """All integers through one `Chain`; nothing is sent beforehand."""

    name: ClassVar[str] = "adaptive"
    title: ClassVar[str] = "adaptive counts of magnitudes"

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """One integer after the other."""
        chain = Chain()
        for value in values.tolist():
            chain.encode(value, coder)

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """One integer after the other."""
        chain = Chain()
        return np.array([chain.decode(coder) for _ in range(d)], dtype=np.int64)


class Ternary(Code):
    """Values in {-1, 0, 1}: the chain's first question alone, so that "larger than 1?" is never asked or paid for."""

    name: ClassVar[str] = "ternary"
    title: ClassVar[str] = "adaptive counts of -1, 0, 1"

    def can_encode(self, values: NDArray[np.int64]) -> bool:
        """No magnitude above 1."""
        return bool(np.all(np.abs(values) <= 1))

    def encode(self, values: NDArray[np.int64], *, coder: ArithmeticEncoder) -> None:
        """Zero or not by two counts 2 n + 1, then a sign at one bit."""
        if not self.can_encode(values):
            raise ConfigError(f"ternary values are -1, 0 and 1, got {int(np.abs(values).max())} in magnitude; use another code")
        zeros, others = 1, 1
        for value in values.tolist():
            if value:
                coder.encode(zeros, others, total=zeros + others)
                coder.encode(int(value < 0), 1, total=2)
                others += 2
            else:
                coder.encode(0, zeros, total=zeros + others)
                zeros += 2

    def decode(self, coder: ArithmeticDecoder, *, d: int) -> NDArray[np.int64]:
        """The same in reverse."""
        zeros, others = 1, 1
        values = np.zeros(d, dtype=np.int64)
        for index in range(d):
            if coder.decide(zeros, others):
                values[index] = 1 - 2 * coder.decide(1, 1)
                others += 2
            else:
                zeros += 2
        return values
