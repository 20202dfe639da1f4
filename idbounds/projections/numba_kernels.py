"""The products of `TableProjection` compiled by numba: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so the same bits (the adjoint: up to the order in which
runs are summed). A run that the range cuts goes through a buffer, so that only wanted rows are read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.signs import RUN
from idbounds.projections.table import MIXED_COLUMNS, MIXED_ROWS, MIXED_RUNS, VARIANTS

if TYPE_CHECKING:
    from idbounds.projections.table import Tensorwise

_MIXED_NUMBERS = MIXED_ROWS * MIXED_COLUMNS


def write_rows(table: Tensor, base: Tensor | None, out: Tensor, about: Tensorwise, start: int) -> None:
    """out = rows [start, start + len(out)) of P, or base - rows."""
    flat, target = table.detach().numpy().reshape(-1), out.numpy()
    source = target if base is None else base.numpy()
    kernel = _write_mixed if about.mixes else _write_plain
    kernel(flat, source, base is not None, target, start, *_arguments(about))


def add_adjoint(total: Tensor, g: Tensor, about: Tensorwise, start: int) -> None:
    """total += the transposed rows [start, start + len(g)) times g."""
    kernel = _adjoint_mixed if about.mixes else _adjoint_plain
    kernel(total.numpy().reshape(-1), g.numpy(), start, *_arguments(about))


def _arguments(about: Tensorwise) -> tuple[Any, ...]:
    return (
        about.groups,
        np.uint64(about.sign_key),
        np.uint64(about.segment_key),
        about.multiplier,
        about.rotates,
        about.variant_per_run,
    )


@intrinsic
def _flip(_: Any, value: Any, word: Any, shift: Any) -> Any:  # noqa: ARG001 - the compiler reads them from the signature
    """`value` with its sign flipped if bit (31 - shift) of the 32-bit `word` is set."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, bits, left = arguments
        width = 32 if signature.args[0] == types.float32 else 64
        integer = ir.IntType(width)
        shifted = builder.shl(bits, left)
        masked = builder.and_(shifted, ir.Constant(ir.IntType(32), 0x80000000))
        if width == 64:
            masked = builder.shl(builder.zext(masked, integer), ir.Constant(integer, 32))
        flipped = builder.xor(builder.bitcast(number, integer), masked)
        return builder.bitcast(flipped, number.type)

    return value(value, types.uint32, types.uint32), generate


@numba.njit(inline="always")
def _splitmix(key: Any, position: Any) -> Any:
    word = key + (np.uint64(position) + np.uint64(1)) * SPLITMIX_STEP
    word = (word ^ (word >> np.uint64(30))) * SPLITMIX_FIRST
    word = (word ^ (word >> np.uint64(27))) * SPLITMIX_SECOND
    return word ^ (word >> np.uint64(31))


@numba.njit(inline="always")
def _segment(key: Any, segment: Any, groups: Any, rotates: Any) -> Any:
    """(variant, offset) of a segment."""
    word = _splitmix(key, segment)
    offset = np.int64(((word >> np.uint64(32)) * np.uint64(groups)) >> np.uint64(32)) if rotates else np.int64(0)
    return np.int64(word % np.uint64(VARIANTS)), offset


@numba.njit(nogil=True, cache=True)
def _write_plain(
    table: Any, base: Any, has_base: Any, out: Any, start: Any, groups: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any, variant_per_run: Any,
) -> None:  # fmt: skip
    stop = start + out.size
    run, segment = start // RUN, np.int64(-1)
    variant = stretch = np.int64(0)
    buffer = np.empty(RUN, out.dtype)
    while run * RUN < stop:
        if run // groups != segment:
            segment = run // groups
            variant, stretch = _segment(segment_key, segment, groups, rotates)
            stretch = (stretch + (run - segment * groups) * multiplier) % groups
        word = _splitmix(sign_key, run)
        signs = np.uint32(word)
        chosen = np.int64((word >> np.uint64(32)) % np.uint64(VARIANTS)) if variant_per_run else variant
        entry = (chosen * groups + stretch) * RUN
        row = run * RUN - start
        if row >= 0 and row + RUN <= out.size:
            if has_base:
                for lane in range(RUN):
                    out[row + lane] = base[row + lane] - (_flip(table[entry + lane], signs, np.uint32(31 - lane)) + 0)
            else:
                for lane in range(RUN):
                    out[row + lane] = _flip(table[entry + lane], signs, np.uint32(31 - lane)) + 0
        else:
            for lane in range(RUN):
                buffer[lane] = _flip(table[entry + lane], signs, np.uint32(31 - lane)) + 0
            _copy_part(buffer, base, has_base, out, row)
        run += 1
        stretch += multiplier
        while stretch >= groups:
            stretch -= groups


@numba.njit(nogil=True, cache=True)
def _adjoint_plain(
    total: Any, g: Any, start: Any, groups: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any, variant_per_run: Any,
) -> None:  # fmt: skip
    stop = start + g.size
    run, segment = start // RUN, np.int64(-1)
    variant = stretch = np.int64(0)
    while run * RUN < stop:
        if run // groups != segment:
            segment = run // groups
            variant, stretch = _segment(segment_key, segment, groups, rotates)
            stretch = (stretch + (run - segment * groups) * multiplier) % groups
        word = _splitmix(sign_key, run)
        signs = np.uint32(word)
        chosen = np.int64((word >> np.uint64(32)) % np.uint64(VARIANTS)) if variant_per_run else variant
        entry = (chosen * groups + stretch) * RUN
        row = run * RUN - start
        if row >= 0 and row + RUN <= g.size:
            for lane in range(RUN):
                total[entry + lane] += _flip(g[row + lane], signs, np.uint32(31 - lane))
        else:
            for lane in range(max(0, -row), min(RUN, g.size - row)):
                total[entry + lane] += _flip(g[row + lane], signs, np.uint32(31 - lane))
        run += 1
        stretch += multiplier
        while stretch >= groups:
            stretch -= groups


@numba.njit(nogil=True, cache=True)
def _write_mixed(
    table: Any, base: Any, has_base: Any, out: Any, start: Any, groups: Any, sign_key: Any, segment_key: Any,
    _multiplier: Any, rotates: Any, _variant_per_run: Any,
) -> None:  # fmt: skip
    buffer = np.empty(_MIXED_NUMBERS, out.dtype)
    first = start // _MIXED_NUMBERS
    for mixture in range(first, -(-(start + out.size) // _MIXED_NUMBERS)):
        run = mixture * MIXED_RUNS
        segment = run // groups
        variant, _ = _segment(segment_key, segment, groups, rotates)
        entry = (variant * groups + run - segment * groups) * RUN
        for part in range(MIXED_RUNS):
            signs = np.uint32(_splitmix(sign_key, run + part))
            for lane in range(RUN):
                place = part * RUN + lane
                buffer[place] = _flip(table[entry + place], signs, np.uint32(31 - lane))
        _mix(buffer)
        row = mixture * _MIXED_NUMBERS - start
        if row >= 0 and row + _MIXED_NUMBERS <= out.size:
            if has_base:
                for place in range(_MIXED_NUMBERS):
                    out[row + place] = base[row + place] - (buffer[place] + 0)
            else:
                for place in range(_MIXED_NUMBERS):
                    out[row + place] = buffer[place] + 0
        else:
            _copy_part(buffer, base, has_base, out, row)


@numba.njit(nogil=True, cache=True)
def _adjoint_mixed(
    total: Any, g: Any, start: Any, groups: Any, sign_key: Any, segment_key: Any,
    _multiplier: Any, rotates: Any, _variant_per_run: Any,
) -> None:  # fmt: skip
    buffer = np.empty(_MIXED_NUMBERS, g.dtype)
    first = start // _MIXED_NUMBERS
    for mixture in range(first, -(-(start + g.size) // _MIXED_NUMBERS)):
        row = mixture * _MIXED_NUMBERS - start
        if row >= 0 and row + _MIXED_NUMBERS <= g.size:
            for place in range(_MIXED_NUMBERS):
                buffer[place] = g[row + place]
        else:
            buffer[:] = 0
            for place in range(max(0, -row), min(_MIXED_NUMBERS, g.size - row)):
                buffer[place] = g[row + place]
        _mix(buffer)
        run = mixture * MIXED_RUNS
        segment = run // groups
        variant, _ = _segment(segment_key, segment, groups, rotates)
        entry = (variant * groups + run - segment * groups) * RUN
        for part in range(MIXED_RUNS):
            signs = np.uint32(_splitmix(sign_key, run + part))
            for lane in range(RUN):
                place = part * RUN + lane
                total[entry + place] += _flip(buffer[place], signs, np.uint32(31 - lane))


@numba.njit(nogil=True, cache=True)
def _mix(buffer: Any) -> None:
    """The Hadamard matrix of size 32 along the first axis of (32, 64), in place."""
    half = MIXED_COLUMNS
    while half < _MIXED_NUMBERS:
        for begin in range(0, _MIXED_NUMBERS, 2 * half):
            upper = buffer[begin : begin + half]
            lower = buffer[begin + half : begin + 2 * half]
            for place in range(half):
                one, other = upper[place], lower[place]
                upper[place] = one + other
                lower[place] = one - other
        half *= 2


@numba.njit(nogil=True, cache=True)
def _copy_part(buffer: Any, base: Any, has_base: Any, out: Any, row: Any) -> None:
    """Write those of the buffer's rows, the first of which is row `row` of out, that lie in out."""
    for place in range(max(0, -row), min(buffer.size, out.size - row)):
        out[row + place] = base[row + place] - (buffer[place] + 0) if has_base else buffer[place] + 0
