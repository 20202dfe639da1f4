"""The products of `TableProjection` compiled by numba: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so the same bits (the adjoint: up to the order in which
units are summed). Kernels work on whole units, runs of 32 rows or mixtures of 2048; a unit that the range cuts is made in
full and cut here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.numba_hadamard import hadamard_4
from idbounds.projections.numba_vectors import (
    LANES,
    flipped,
    load,
    prefetch,
    prefetch_to_write,
    store,
    without_negative_zeros,
)
from idbounds.projections.units import COLUMNS, LINES, RUN, SIGNS, Piece, Tensorwise

_Numbers = NDArray[Any]

_MIXED = LINES * COLUMNS
_HALF = _MIXED // 2
#: How far ahead of what is used numbers are asked for, 8 KiB in float32: by hand, on an AMD EPYC the best of 1 to 16 KiB.
_AHEAD = 2048


LOOKS_UP = False


def writing(pieces: Sequence[Piece]) -> Callable[[Tensor], None]:
    """What makes of a table, for each piece, its rows: those of P, or base - those of P."""

    def write(table: Tensor) -> None:
        entries = table.detach().numpy().reshape(-1)
        for about, start, out, base, _ in pieces:
            # Torch never frees memory early again once .numpy() has shown it; FSDP does so with weights that it has gathered.
            under = None if base is None else np.ascontiguousarray(np.from_dlpack(base))
            _write_piece(entries, about, start, out.numpy(), under)

    return write


def add_adjoint(total: Tensor, pieces: Sequence[Piece]) -> None:
    """For each piece: total += the transposed rows of P times the piece's, which may be of any dtype."""
    entries = total.numpy().reshape(-1)
    for about, start, g, *_ in pieces:
        _add_piece(entries, about, start, np.ascontiguousarray(g.to(total.dtype).numpy()))


def _write_piece(entries: _Numbers, about: Tensorwise, start: int, out: _Numbers, base: _Numbers | None) -> None:
    kernel, unit = (_write_mixed, _MIXED) if about.mixes else (_write_whole_runs, RUN)
    arguments, (first, last) = _arguments(about), _whole_units(start, start + out.size, unit)
    if first < last:
        whole = slice(first - start, last - start)
        kernel(entries, None if base is None else base[whole], out[whole], first // unit, arguments)
    for row, part, within in _cut_units(start, start + out.size, unit):
        rows = np.empty(unit, dtype=out.dtype)
        kernel(entries, None, rows, row // unit, arguments)
        out[part] = rows[within] if base is None else base[part] - rows[within]


def _add_piece(entries: _Numbers, about: Tensorwise, start: int, g: _Numbers) -> None:
    kernel, unit = (_add_mixed, _MIXED) if about.mixes else (_add_whole_runs, RUN)
    arguments, (first, last) = _arguments(about), _whole_units(start, start + g.size, unit)
    if first < last:
        kernel(entries, g[first - start : last - start], first // unit, arguments)
    for row, part, within in _cut_units(start, start + g.size, unit):
        padded = np.zeros(unit, dtype=g.dtype)
        padded[within] = g[part]
        kernel(entries, padded, row // unit, arguments)


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


@numba.njit(inline="always")
def _splitmix(key: Any, position: Any) -> Any:
    word = key + (np.uint64(position) + np.uint64(1)) * SPLITMIX_STEP
    word = (word ^ (word >> np.uint64(30))) * SPLITMIX_FIRST
    word = (word ^ (word >> np.uint64(27))) * SPLITMIX_SECOND
    return word ^ (word >> np.uint64(31))


@numba.njit(inline="always")
def _segment(key: Any, segment: Any, groups: Any, variants: Any, rotates: Any) -> Any:
    """Of a segment the first stretch of its variant, and at which within it begins."""
    word = _splitmix(key, segment)
    offset = np.int64(((word >> np.uint64(32)) * np.uint64(groups)) >> np.uint64(32)) if rotates else np.int64(0)
    return np.int64(word & np.uint64(variants - 1)) * groups, offset


@numba.njit(inline="always")
def _begin(unit: Any, places: Any) -> Any:
    """(Segment, first stretch of its variant, stretch within) of a unit. Runs count on from it: a division takes longer."""
    groups, variants, _, segment_key, multiplier, rotates = places
    segment = unit // groups
    variant, offset = _segment(segment_key, segment, groups, variants, rotates)
    return segment, variant, (offset + (unit - segment * groups) * multiplier) % groups


@numba.njit(inline="always")
def _mixture(unit: Any, places: Any) -> Any:
    """Where in the table a mixture's numbers begin, and its word of signs."""
    _, variant, stretch = _begin(unit, places)
    return (variant + stretch) * _MIXED, np.uint32(_splitmix(places[2], unit))


@numba.njit(nogil=True, cache=True)
def _write_whole_runs(table: Any, base: Any, out: Any, first: Any, places: Any) -> None:
    groups, variants, sign_key, segment_key, multiplier, rotates = places
    half = groups * variants
    segment, variant, stretch = _begin(first, places)
    next_segment, signs = (segment + 1) * groups, _splitmix(sign_key, first // SIGNS) >> np.uint64(first % SIGNS)
    for run in range(first, first + out.size // RUN):
        if run == next_segment:
            segment, next_segment = segment + 1, next_segment + groups
            variant, stretch = _segment(segment_key, segment, groups, variants, rotates)
        if run % SIGNS == 0:
            signs = _splitmix(sign_key, run // SIGNS)
        entry, row = (np.int64(signs & np.uint64(1)) * half + variant + stretch) * RUN, (run - first) * RUN
        for lane in range(0, RUN, LANES):
            if base is not None:
                prefetch(base, row + lane + _AHEAD)
            _store_moved(base, out, row + lane, load(table, entry + lane))
        signs >>= np.uint64(1)
        stretch += multiplier
        if stretch >= groups:
            stretch -= groups


@numba.njit(nogil=True, cache=True)
def _add_whole_runs(total: Any, g: Any, first: Any, places: Any) -> None:
    groups, variants, sign_key, segment_key, multiplier, rotates = places
    half = groups * variants
    segment, variant, stretch = _begin(first, places)
    next_segment, signs = (segment + 1) * groups, _splitmix(sign_key, first // SIGNS) >> np.uint64(first % SIGNS)
    for run in range(first, first + g.size // RUN):
        if run == next_segment:
            segment, next_segment = segment + 1, next_segment + groups
            variant, stretch = _segment(segment_key, segment, groups, variants, rotates)
        if run % SIGNS == 0:
            signs = _splitmix(sign_key, run // SIGNS)
        entry, row = (np.int64(signs & np.uint64(1)) * half + variant + stretch) * RUN, (run - first) * RUN
        for lane in range(0, RUN, LANES):
            prefetch(g, row + lane + _AHEAD)
            store(total, entry + lane, load(total, entry + lane) + load(g, row + lane))
        signs >>= np.uint64(1)
        stretch += multiplier
        if stretch >= groups:
            stretch -= groups


@numba.njit(inline="always")
def _store_moved(base: Any, out: Any, row: Any, made: Any) -> None:
    """Whether there is a base is known to the compiler: each type of argument has a version of its own."""
    moved = without_negative_zeros(made)
    if base is not None:
        moved = load(base, row) - moved
    store(out, row, moved)


@numba.njit(inline="always")
def _load_four(numbers: Any, place: Any, step: Any) -> Any:
    return (
        load(numbers, place), load(numbers, place + step), load(numbers, place + 2 * step), load(numbers, place + 3 * step),
    )  # fmt: skip


@numba.njit(inline="always")
def _store_four(numbers: Any, place: Any, step: Any, four: Any) -> None:
    first, second, third, fourth = four
    store(numbers, place, first)
    store(numbers, place + step, second)
    store(numbers, place + 2 * step, third)
    store(numbers, place + 3 * step, fourth)


@numba.njit(inline="always")
def _signed_four(four: Any, word: Any, line: Any, step: Any) -> Any:
    """Lines `line`, `line` + step, … of a mixture, each with its sign."""
    first, second, third, fourth = four
    shift = np.uint32(SIGNS - 1 - line)
    return (
        flipped(first, word, shift), flipped(second, word, np.uint32(shift - step)),
        flipped(third, word, np.uint32(shift - 2 * step)), flipped(fourth, word, np.uint32(shift - 3 * step)),
    )  # fmt: skip


@numba.njit(inline="always")
def _hadamard_8(lower: Any, upper: Any) -> Any:
    """Three stages of butterflies at once, over four lines and four more."""
    a, b, c, d = hadamard_4(lower)
    e, f, g, h = hadamard_4(upper)
    return (a + e, b + f, c + g, d + h), (a - e, b - f, c - g, d - h)


@numba.njit(nogil=True, cache=True)
def _write_mixed(table: Any, base: Any, out: Any, first: Any, places: Any) -> None:
    # H_32 = (H_4 ⊗ I)(I ⊗ H_8), of lines side by side and then of lines that are eight apart, while what the next mixture
    # needs is on its way: in the order in which it lies in memory, which four or eight lines at once would not be.
    buffer = np.empty(_MIXED, out.dtype)
    for mixture in range(out.size // _MIXED):
        entry, word = _mixture(first + mixture, places)
        row, ahead = mixture * _MIXED, (mixture + 1) * _MIXED
        for line in range(0, LINES, 8):
            for place in range(line * COLUMNS, (line + 1) * COLUMNS, LANES):
                lower = _signed_four(_load_four(table, entry + place, COLUMNS), word, line, 1)
                upper = _signed_four(_load_four(table, entry + place + 4 * COLUMNS, COLUMNS), word, line + 4, 1)
                lower, upper = _hadamard_8(lower, upper)
                _store_four(buffer, place, COLUMNS, lower)
                _store_four(buffer, place + 4 * COLUMNS, COLUMNS, upper)
                if base is not None:
                    for _ in range(8):
                        prefetch(base, ahead)
                        ahead += LANES
        ahead = row + _MIXED
        for place in range(0, 8 * COLUMNS, LANES):
            one, two, three, four = hadamard_4(_load_four(buffer, place, 8 * COLUMNS))
            _store_moved(base, out, row + place, one)
            _store_moved(base, out, row + place + 8 * COLUMNS, two)
            _store_moved(base, out, row + place + 16 * COLUMNS, three)
            _store_moved(base, out, row + place + 24 * COLUMNS, four)
            for _ in range(4):
                prefetch_to_write(out, ahead)
                ahead += LANES


@numba.njit(nogil=True, cache=True)
def _add_mixed(total: Any, g: Any, first: Any, places: Any) -> None:
    # As (H_8 ⊗ I)(I ⊗ H_4), so that g is read from its begin to its end.
    buffer = np.empty(_MIXED, g.dtype)
    for mixture in range(g.size // _MIXED):
        entry, word = _mixture(first + mixture, places)
        row, ahead = mixture * _MIXED, (mixture + 1) * _MIXED
        for line in range(0, LINES, 4):
            for place in range(line * COLUMNS, (line + 1) * COLUMNS, LANES):
                _store_four(buffer, place, COLUMNS, hadamard_4(_load_four(g, row + place, COLUMNS)))
                for _ in range(4):
                    prefetch(g, ahead)
                    ahead += LANES
        for line in range(4):
            for place in range(line * COLUMNS, (line + 1) * COLUMNS, LANES):
                lower, upper = _load_four(buffer, place, 4 * COLUMNS), _load_four(buffer, place + _HALF, 4 * COLUMNS)
                lower, upper = _hadamard_8(lower, upper)
                _add_four(total, entry + place, _signed_four(lower, word, line, 4))
                _add_four(total, entry + place + _HALF, _signed_four(upper, word, line + LINES // 2, 4))


@numba.njit(inline="always")
def _add_four(total: Any, place: Any, four: Any) -> None:
    a, b, c, d = _load_four(total, place, 4 * COLUMNS)
    first, second, third, fourth = four
    _store_four(total, place, 4 * COLUMNS, (a + first, b + second, c + third, d + fourth))
