"""The products of `TableProjection` compiled by numba: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so the same bits (the adjoint: up to the order in which
units are summed). Kernels work on whole units, runs of 32 rows or mixtures of 2048; a unit that the range cuts is made in
full and cut here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.numba_hadamard import four_slices, hadamard_4
from idbounds.projections.units import COLUMNS, LINES, RUN, SIGNS, Piece, Tensorwise

_Numbers = NDArray[Any]

_MIXED = LINES * COLUMNS
_HALF = _MIXED // 2


def write_rows(table: Tensor, pieces: Sequence[Piece]) -> None:
    """For each piece: its rows = those of P, or base - those of P."""
    entries = table.detach().numpy().reshape(-1)
    for about, start, out, base in pieces:
        # Torch never frees memory early again once .numpy() has shown it; FSDP does so with the weights that it has gathered.
        _write_piece(entries, about, start, out.numpy(), None if base is None else np.from_dlpack(base))


def add_adjoint(total: Tensor, pieces: Sequence[Piece]) -> None:
    """For each piece: total += the transposed rows of P times the piece's, which may be of any dtype."""
    entries = total.numpy().reshape(-1)
    for about, start, g, _ in pieces:
        _add_piece(entries, about, start, g.to(total.dtype).numpy())


def _write_piece(entries: _Numbers, about: Tensorwise, start: int, out: _Numbers, base: _Numbers | None) -> None:
    kernel, unit = (_write_mixed, _MIXED) if about.mixes else (_write_whole_runs, RUN)
    arguments, (first, last) = _arguments(about), _whole_units(start, start + out.size, unit)
    if first < last:
        whole = slice(first - start, last - start)
        kernel(entries, None if base is None else base[whole], out[whole], first // unit, *arguments)
    for row, part, within in _cut_units(start, start + out.size, unit):
        rows = np.empty(unit, dtype=out.dtype)
        kernel(entries, None, rows, row // unit, *arguments)
        out[part] = rows[within] if base is None else base[part] - rows[within]


def _add_piece(entries: _Numbers, about: Tensorwise, start: int, g: _Numbers) -> None:
    kernel, unit = (_add_mixed, _MIXED) if about.mixes else (_add_whole_runs, RUN)
    arguments, (first, last) = _arguments(about), _whole_units(start, start + g.size, unit)
    if first < last:
        kernel(entries, g[first - start : last - start], first // unit, *arguments)
    for row, part, within in _cut_units(start, start + g.size, unit):
        padded = np.zeros(unit, dtype=g.dtype)
        padded[within] = g[part]
        kernel(entries, padded, row // unit, *arguments)


def _whole_units(start: int, stop: int, unit: int) -> tuple[int, int]:
    """The rows that make up whole units: [first, last), both multiples of the unit."""
    first = -(-start // unit) * unit
    return first, max(first, stop // unit * unit)


def _cut_units(start: int, stop: int, unit: int) -> list[tuple[int, slice, slice]]:
    """For each unit that the range cuts: its first row, which of the range it has, and where in the unit that lies."""
    rows = sorted({edge // unit * unit for edge in (start, stop) if edge % unit})
    bounds = [(row, max(start, row), min(stop, row + unit)) for row in rows]
    return [(row, slice(low - start, high - start), slice(low - row, high - row)) for row, low, high in bounds]


def _arguments(about: Tensorwise) -> tuple[Any, ...]:
    return (
        about.groups,
        about.variants,
        np.uint64(about.sign_key),
        np.uint64(about.segment_key),
        about.multiplier,
        about.rotates,
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
def _place(key: Any, unit: Any, groups: Any, variants: Any, multiplier: Any, rotates: Any) -> Any:
    """(segment, first stretch of its variant, stretch within) of a unit."""
    segment = unit // groups
    word = _splitmix(key, segment)
    offset = np.int64(((word >> np.uint64(32)) * np.uint64(groups)) >> np.uint64(32)) if rotates else np.int64(0)
    variant = np.int64(word & np.uint64(variants - 1))
    return segment, variant * groups, (offset + (unit - segment * groups) * multiplier) % groups


@numba.njit(nogil=True, cache=True)
def _write_whole_runs(
    table: Any, base: Any, out: Any, first: Any, groups: Any, variants: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any,
) -> None:  # fmt: skip
    # Without a branch in it, and with a length that the compiler does not know and so does not unroll, the loop over lanes
    # becomes vector operations; whether there is a base is known, since each type of argument has a version of its own.
    zero, half = np.zeros(1, out.dtype)[0], groups * variants
    segment, variant, stretch = _place(segment_key, first, groups, variants, multiplier, rotates)
    next_segment, signs = (segment + 1) * groups, _splitmix(sign_key, first // SIGNS) >> np.uint64(first % SIGNS)
    for run in range(first, first + out.size // RUN):
        if run == next_segment:
            segment, variant, stretch = _place(segment_key, run, groups, variants, multiplier, rotates)
            next_segment += groups
        if run % SIGNS == 0:
            signs = _splitmix(sign_key, run // SIGNS)
        entry, row = (np.int64(signs & np.uint64(1)) * half + variant + stretch) * RUN, (run - first) * RUN
        source, target = table[entry : entry + RUN], out[row : row + RUN]
        if base is None:
            for lane in range(target.size):
                target[lane] = source[lane] + zero
        else:
            under = base[row : row + RUN]
            for lane in range(target.size):
                target[lane] = under[lane] - (source[lane] + zero)
        signs >>= np.uint64(1)
        stretch += multiplier
        if stretch >= groups:
            stretch -= groups


@numba.njit(nogil=True, cache=True)
def _add_whole_runs(
    total: Any, g: Any, first: Any, groups: Any, variants: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any,
) -> None:  # fmt: skip
    half = groups * variants
    segment, variant, stretch = _place(segment_key, first, groups, variants, multiplier, rotates)
    next_segment, signs = (segment + 1) * groups, _splitmix(sign_key, first // SIGNS) >> np.uint64(first % SIGNS)
    for run in range(first, first + g.size // RUN):
        if run == next_segment:
            segment, variant, stretch = _place(segment_key, run, groups, variants, multiplier, rotates)
            next_segment += groups
        if run % SIGNS == 0:
            signs = _splitmix(sign_key, run // SIGNS)
        entry, row = (np.int64(signs & np.uint64(1)) * half + variant + stretch) * RUN, (run - first) * RUN
        target, source = total[entry : entry + RUN], g[row : row + RUN]
        for lane in range(target.size):
            target[lane] += source[lane]
        signs >>= np.uint64(1)
        stretch += multiplier
        if stretch >= groups:
            stretch -= groups


@numba.njit(inline="always")
def _signs_and_two_stages(table: Any, entry: Any, word: Any, buffer: Any) -> None:
    """The table's numbers with the signs of their lines, and of H_32 the stages over neighbouring lines."""
    for four in range(0, LINES, 4):
        place, shift = four * COLUMNS, np.uint32(SIGNS - 1 - four)
        in_0, in_1, in_2, in_3 = four_slices(table, entry + place, COLUMNS, COLUMNS)
        out_0, out_1, out_2, out_3 = four_slices(buffer, place, COLUMNS, COLUMNS)
        for column in range(COLUMNS):
            out_0[column], out_1[column], out_2[column], out_3[column] = hadamard_4(
                _flip(in_0[column], word, shift), _flip(in_1[column], word, shift - np.uint32(1)),
                _flip(in_2[column], word, shift - np.uint32(2)), _flip(in_3[column], word, shift - np.uint32(3)),
            )  # fmt: skip


@numba.njit(inline="always")
def _two_stages(source: Any, target: Any, step: Any) -> None:
    """Of H_32 the stages over rows that are step / 64 and 2 step / 64 apart."""
    for begin in range(0, _MIXED, 4 * step):
        in_0, in_1, in_2, in_3 = four_slices(source, begin, step, step)
        out_0, out_1, out_2, out_3 = four_slices(target, begin, step, step)
        for place in range(step):
            out_0[place], out_1[place], out_2[place], out_3[place] = hadamard_4(
                in_0[place], in_1[place], in_2[place], in_3[place]
            )


@numba.njit(inline="always")
def _last_stage(buffer: Any, base: Any, out: Any, zero: Any) -> None:
    """The stage over the two halves, and the result."""
    upper, lower = buffer[:_HALF], buffer[_HALF:]
    out_0, out_1 = out[:_HALF], out[_HALF:]
    if base is None:
        for place in range(_HALF):
            out_0[place] = (upper[place] + lower[place]) + zero
        for place in range(_HALF):
            out_1[place] = (upper[place] - lower[place]) + zero
    else:
        base_0, base_1 = base[:_HALF], base[_HALF:]
        for place in range(_HALF):
            out_0[place] = base_0[place] - ((upper[place] + lower[place]) + zero)
        for place in range(_HALF):
            out_1[place] = base_1[place] - ((upper[place] - lower[place]) + zero)


@numba.njit(nogil=True, cache=True)
def _write_mixed(
    table: Any, base: Any, out: Any, first: Any, groups: Any, variants: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any,
) -> None:  # fmt: skip
    buffer = np.zeros(_MIXED, out.dtype)
    zero = buffer[0]
    for mixture in range(out.size // _MIXED):
        unit, row = first + mixture, mixture * _MIXED
        _, variant, stretch = _place(segment_key, unit, groups, variants, multiplier, rotates)
        _signs_and_two_stages(table, (variant + stretch) * _MIXED, np.uint32(_splitmix(sign_key, unit)), buffer)
        _two_stages(buffer, buffer, 4 * COLUMNS)
        under = None if base is None else base[row : row + _MIXED]
        _last_stage(buffer, under, out[row : row + _MIXED], zero)


@numba.njit(nogil=True, cache=True)
def _add_mixed(
    total: Any, g: Any, first: Any, groups: Any, variants: Any, sign_key: Any, segment_key: Any,
    multiplier: Any, rotates: Any,
) -> None:  # fmt: skip
    buffer = np.empty(_MIXED, g.dtype)
    for mixture in range(g.size // _MIXED):
        unit, row = first + mixture, mixture * _MIXED
        _two_stages(g[row : row + _MIXED], buffer, COLUMNS)
        _two_stages(buffer, buffer, 4 * COLUMNS)
        _, variant, stretch = _place(segment_key, unit, groups, variants, multiplier, rotates)
        entry, word = (variant + stretch) * _MIXED, np.uint32(_splitmix(sign_key, unit))
        for line in range(LINES // 2):
            place, shift = line * COLUMNS, np.uint32(SIGNS - 1 - line)
            upper, lower = buffer[place : place + COLUMNS], buffer[_HALF + place : _HALF + place + COLUMNS]
            total_0 = total[entry + place : entry + place + COLUMNS]
            total_1 = total[entry + _HALF + place : entry + _HALF + place + COLUMNS]
            for column in range(COLUMNS):
                total_0[column] += _flip(upper[column] + lower[column], word, shift)
                total_1[column] += _flip(upper[column] - lower[column], word, shift - np.uint32(LINES // 2))
