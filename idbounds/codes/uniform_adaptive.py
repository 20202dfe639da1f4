"""The code `uniform_adaptive`: a uniform step from a declared grid, then adaptive arithmetic coding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.adaptive import decode_integers, encode_integers
from idbounds.codes.base import Code, Quantized
from idbounds.codes.bits import BitReader, BitWriter
from idbounds.codes.quantizers import UniformStep
from idbounds.core.values import LedgerItem

_STEP_WIDTH = (UniformStep.NUM_STEPS - 1).bit_length()


class UniformAdaptive(Code):
    """Step index in a fixed width, then the integers by `idbounds.codes.adaptive`."""

    name: ClassVar[str] = "uniform_adaptive"
    quantizer: ClassVar[UniformStep] = UniformStep()

    def quantize(self, w: ArrayLike, *, step_index: int) -> Quantized:
        """Round w to multiples of the step at `step_index`."""
        return Quantized(self.quantizer.quantize(w, step=self.quantizer.step(step_index)), step_index)

    def dequantize(self, quantized: Quantized) -> NDArray[np.float32]:
        """Integers times step."""
        return self.quantizer.dequantize(quantized.symbols, step=self.step(quantized))

    def step(self, quantized: Quantized) -> float:
        """The step at the coded index."""
        return self.quantizer.step(quantized.step_index)

    def encode(self, quantized: Quantized, *, writer: BitWriter) -> tuple[LedgerItem, ...]:
        """Write step index and integers."""
        self.quantizer.step(quantized.step_index)  # refuses an index outside the grid
        writer.write(quantized.step_index, width=_STEP_WIDTH)
        before = writer.num_bits
        encode_integers(quantized.symbols, writer=writer)
        d = len(quantized.symbols)
        return (
            LedgerItem(name="step", bits=_STEP_WIDTH, reason=f"one of {UniformStep.NUM_STEPS} declared steps"),
            LedgerItem(
                name="coefficients",
                bits=writer.num_bits - before,
                reason=f"{d} integers, adaptive arithmetic code with its terminating bits",
            ),
        )

    def decode(self, reader: BitReader, *, d: int) -> Quantized:
        """Read step index and d integers."""
        step_index = reader.read(width=_STEP_WIDTH)
        return Quantized(decode_integers(reader, d=d), step_index)
