"""The shortest message within an error that is given: every quantiser and declared code, the choice paid for.

What is tried enters no bound: the union covers every message, however it was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idbounds.codes.base import Quantized
from idbounds.codes.chain import MAX_MAGNITUDE
from idbounds.codes.codebook import MAX_ENTRIES
from idbounds.codes.message import encode_message
from idbounds.codes.quantizers import UniformStep, e8, kmeans, ternary, two_steps
from idbounds.codes.registry import get_code
from idbounds.codes.streams import STREAMS
from idbounds.codes.viterbi import trellis
from idbounds.core.errors import ConfigError
from idbounds.core.values import RunSpec

#: Shifts between the two parts of a vector that are tried: steps up to 64 times apart.
_SHIFTS = tuple(shift for shift in range(-6, 7) if shift)
#: Of each family, so many members within the error are written; the coarsest is not always the shortest.
_TRIED = 2
#: What the trellis aims at, in errors that are allowed: its own error is near its aim and mostly below.
AIMS = (1.0, 1.05, 1.1)


def shortest_message(w: ArrayLike, *, max_rms_error: float, d: int, seed: int, spec: RunSpec) -> bytes:
    """The shortest message found whose coefficients are within `max_rms_error` of w, (d,), in root mean square.

    Tried are the two coarsest uniform steps that keep the error, likewise for three values, and codebooks of up to 16 entries,
    in every code that the spec declares; and where it declares the code for them, points of E8, paths of the trellis, and two
    steps at the cut where the spread changes most.

    Raises ConfigError if the finest step of the grid does not keep the error, or w is not d finite numbers.
    """
    values = np.asarray(w, dtype=np.float64)
    if values.shape != (d,) or not np.all(np.isfinite(values)):
        raise ConfigError(f"w must be {d} finite numbers, got shape {values.shape}")
    stream = STREAMS[spec.message_format](spec.menu)
    messages = []
    for code, family in _families(values, stream.grid, max_rms_error):
        codes = [name for name in stream.codes if code in (None, name)]
        if codes:
            kept = (one for one in family if _has_words(codes, one) and rms_error(values, one, stream.grid) <= max_rms_error)
            messages += [
                encode_message(quantized=one.symbols, step_index=one.step_index, d=d, seed=seed, spec=spec, code=code)
                for one in islice(kept, _TRIED)
            ]
    if not messages:
        raise ConfigError(f"no quantiser comes within {max_rms_error!r} of these coefficients; allow a larger error")
    return min(messages, key=len)


def _has_words(codes: Sequence[str], quantized: Quantized) -> bool:
    return any(get_code(code).can_encode(quantized.symbols) for code in codes)


def rms_error(w: NDArray[np.float64], quantized: Quantized, grid: UniformStep) -> float:
    """sqrt(mean((w - decoded)^2)), as the decoder makes its float32 coefficients."""
    decoded = grid.dequantize(quantized.symbols, step=grid.step(quantized.step_index))
    return float(np.sqrt(np.mean((w - decoded) ** 2)))


def _families(
    w: NDArray[np.float64], grid: UniformStep, max_rms_error: float
) -> Iterator[tuple[str | None, Iterator[Quantized]]]:
    """For each quantiser its results from coarse to fine, and the code that was made for them where there is one."""
    indices = _fine_enough(w, grid, max_rms_error)
    yield None, (_rounded(w, index, grid) for index in indices)
    yield None, (ternary(w, step_index=index, grid=grid) for index in indices)
    yield None, (kmeans(w, num_entries=number, grid=grid) for number in range(1, MAX_ENTRIES + 1))
    yield "e8", (e8(w, step_index=index, grid=grid) for index in indices)
    for factor in AIMS:
        aim = factor * max_rms_error
        yield "trellis", (trellis(w, step_index=index, max_rms_error=aim, grid=grid) for index in indices)
    cut = _change_of_spread(w)
    for shift in _SHIFTS:
        yield "two_steps", (two_steps(w, step_index=index, cut=cut, shift=shift, grid=grid) for index in indices)


def _fine_enough(w: NDArray[np.float64], grid: UniformStep, max_rms_error: float) -> list[int]:
    """The steps whose nearest multiples keep the error: at the others no integers do."""
    largest = float(np.abs(w).max())
    indices = (index for index in range(grid.NUM_STEPS) if largest / grid.step(index) <= MAX_MAGNITUDE)
    return [index for index in indices if rms_error(w, _rounded(w, index, grid), grid) <= max_rms_error]


def _rounded(w: NDArray[np.float64], index: int, grid: UniformStep) -> Quantized:
    return Quantized(grid.quantize(w, step=grid.step(index)), index)


def _change_of_spread(w: NDArray[np.float64]) -> int:
    """The cut c that makes c ln s_1 + (d - c) ln s_2 least, s the root mean squares of both parts: Gaussian likelihood."""
    lengths, squares = np.arange(1, len(w) + 1), np.cumsum(w * w)
    rest, left = len(w) - lengths, squares[-1] - squares
    floor = np.finfo(np.float64).tiny
    cost = lengths * np.log(np.maximum(squares / lengths, floor))
    cost += rest * np.log(np.maximum(left / np.maximum(rest, 1), floor))
    return int(np.argmin(cost)) + 1
