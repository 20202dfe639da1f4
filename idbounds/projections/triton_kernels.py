"""The products of `TableProjection` on a GPU, by Triton: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so P w has the same bits. The adjoint adds into the table
by atomic operations: on a GPU the order of its sums, and so their last bits, may differ from call to call.

One launch serves many tensors: a model has hundreds, and a launch takes longer than the product of most of them. Where each
tensor lies is read from a table of addresses, and which of them a program works on from a plan.

The numbers of a program stand as (runs, 32 lanes), or, where they are mixed, as (units, 64 columns, 32 lines): a thread has 16
bytes of each of the 32 lines, so that butterflies need no other thread and one hash serves all that a thread has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.compiled import is_capturing
from idbounds.projections.triton_hadamard import hadamard
from idbounds.projections.units import COLUMNS, LINES, RUN, SIGNS, Piece, Tensorwise

# A kernel reads a global only as a `constexpr`.
_STEP, _FIRST, _SECOND = (tl.constexpr(int(word)) for word in (SPLITMIX_STEP, SPLITMIX_FIRST, SPLITMIX_SECOND))
_RUN, _SIGNS, _LINES, _COLUMNS = tl.constexpr(RUN), tl.constexpr(SIGNS), tl.constexpr(LINES), tl.constexpr(COLUMNS)
_MIXED, _STAGES = tl.constexpr(LINES * COLUMNS), tl.constexpr(LINES.bit_length() - 1)

#: Runs and warps of a program of whole runs: 32 numbers a thread, as where they are mixed; Triton's default of 4 warps.
_PLAIN_RUNS, _PLAIN_WARPS = 128, 4
#: Where they are mixed, a program is one warp of 32 threads; each takes 16 bytes, the widest load, of every line.
_WARP_BYTES = 32 * 16
#: Addresses and numbers of rows that are multiples of it allow the widest loads in every dtype.
_ALIGNED = tl.constexpr(16)
#: Numbers that a plan has of a piece.
_FIELDS = tl.constexpr(7)
#: Below so many stretches, place times multiplier plus offset is below 2^32.
_NARROW = 2**16
#: Numbers of which Triton must not make versions by value: 1 would become a constant without a type.
_PLAIN_NUMBERS = ["count", "groups", "variants"]

_DTYPES = {
    torch.float64: tl.float64,
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


LOOKS_UP = True


def writing(pieces: Sequence[Piece]) -> Callable[[Tensor], None]:
    """What makes of a table, for each piece, its rows: those of P, or base - those of P, in the table's dtype and cast last."""
    whole = [piece if piece.base is None else piece._replace(base=piece.base.contiguous()) for piece in pieces]
    launches = _launches(whole)

    def write(table: Tensor) -> None:
        for one in launches:
            base_dtype = None if one.kind.base_dtype is None else _DTYPES[one.kind.base_dtype]
            kernel = _write_mixed if one.about.mixes else _write_plain
            one.run(kernel, table.contiguous(), base_dtype=base_dtype, count=one.count)

    return write


def add_adjoint(total: Tensor, pieces: Sequence[Piece]) -> None:
    """For each piece: total += the transposed rows of P times the piece's."""
    whole = [piece if piece.rows.is_contiguous() else piece._replace(rows=piece.rows.contiguous()) for piece in pieces]
    for one in _launches(whole):
        one.run(_add_mixed if one.about.mixes else _add_plain, total)


class _Plan(NamedTuple):
    """What the programs of a launch do."""

    pieces: Tensor  # of each program, which piece it works on
    fields: Tensor  # of each piece, _FIELDS numbers: see `_plan`


_Ranges = tuple[tuple[Tensorwise, int, int], ...]


def _plan_for(ranges: _Ranges, unit: int, units: int, device: torch.device) -> _Plan:
    """For ranges (tensor, first row, number of rows). Kept: a model's are the same at every step; 4 bytes in 4096 rows.

    What is made while a graph is captured has its numbers in the graph's replays only, and belongs to it.
    """
    return (_plan if is_capturing(device) else _kept_plan)(ranges, unit, units, device)


def _plan(ranges: _Ranges, unit: int, units: int, device: torch.device) -> _Plan:
    fields, programs = [], [0]
    for about, start, length in ranges:
        skip = start % unit
        fields.append((sum(programs), start // unit, skip, skip + length, about.sign_key, about.segment_key, about.multiplier))
        programs.append(triton.cdiv(skip + length, units * unit))
    pieces = np.repeat(np.arange(len(ranges), dtype=np.int32), programs[1:])
    words = np.array(fields, dtype=np.uint64).view(np.int64)
    return _Plan(_on(device, torch.from_numpy(pieces)), _on(device, torch.from_numpy(words)))


_kept_plan = lru_cache(maxsize=1024)(_plan)


class _Kind(NamedTuple):
    """What all pieces of a launch have in common."""

    dtype: torch.dtype
    base_dtype: torch.dtype | None
    aligned: bool


def _kind_of(piece: Piece) -> _Kind:
    about, start, rows, base, _ = piece
    number = rows.shape[-1] | rows.data_ptr() | (start % (_MIXED.value if about.mixes else RUN))
    if base is not None:
        number |= base.data_ptr()
    return _Kind(rows.dtype, None if base is None else base.dtype, number % _ALIGNED.value == 0)


def _launches(pieces: Sequence[Piece]) -> list[_Launch]:
    """One for all pieces of a kind, and one for each with indices."""
    kinds: dict[_Kind, list[Piece]] = {}
    found = list[_Launch]()
    for piece in pieces:
        if piece.indices is None:
            kinds.setdefault(_kind_of(piece), []).append(piece)
        else:
            found.append(_LookUp([piece], _kind_of(piece)))
    return found + [_Launch(some, kind) for kind, some in kinds.items()]


class _Read(NamedTuple):
    """What the programs of a launch read, on the device."""

    addresses: Tensor  # of the rows of all pieces, and then of all bases
    plan: _Plan


class _Launch:
    """A kernel for pieces of one kind, as often as it is run. `table` is that of all rows, or the sum of transposed rows."""

    def __init__(self, pieces: Sequence[Piece], kind: _Kind) -> None:
        self.pieces, self.kind, self.about = pieces, kind, pieces[0].about
        self.count = len(pieces)  # of stretches of rows that have an address
        self._read: dict[tuple[torch.device, int], _Read] = {}

    def run(self, kernel: Any, table: Tensor, **more: Any) -> None:
        """Launch it."""
        about = self.about
        units = _WARP_BYTES // (COLUMNS * table.element_size()) if about.mixes else _PLAIN_RUNS
        addresses, plan = self._read_by_programs(table.device, units)
        if not plan.pieces.numel():
            return
        with torch.cuda.device(table.get_device()):  # -1, for the CPU, leaves the device as it is
            kernel[(plan.pieces.numel(),)](
                table, addresses, plan.pieces, plan.fields, about.groups, about.variants,
                dtype=_DTYPES[self.kind.dtype], aligned=self.kind.aligned, rotates=about.rotates, units=units,
                index=tl.uint32 if about.groups < _NARROW else tl.uint64, **more,
                num_warps=1 if about.mixes else _PLAIN_WARPS, enable_fp_fusion=False,
            )  # fmt: skip

    def _read_by_programs(self, device: torch.device, units: int) -> _Read:
        """Kept for the next run. What is made while a graph is captured has its numbers in the graph's replays only."""
        if is_capturing(device):
            return self._made(device, units)
        if (device, units) not in self._read:
            self._read[device, units] = self._made(device, units)
        return self._read[device, units]

    def _made(self, device: torch.device, units: int) -> _Read:
        ranges = tuple((piece.about, piece.start, piece.rows.numel()) for piece in self.pieces)
        addresses = [piece.rows.data_ptr() for piece in self.pieces]
        addresses += [piece.base.data_ptr() for piece in self.pieces if piece.base is not None]
        unit = _MIXED.value if self.about.mixes else RUN
        return _Read(_on(device, torch.tensor(addresses)), _plan_for(ranges, unit, units, device))


class _LookUp(_Launch):
    """For the rows of a matrix that indices name. What its programs read is made where the indices are, in every run."""

    def __init__(self, pieces: Sequence[Piece], kind: _Kind) -> None:
        super().__init__(pieces, kind)
        self.count, self._columns = pieces[0].rows.shape

    def _read_by_programs(self, device: torch.device, units: int) -> _Read:
        (about, _, rows, base, indices), unit = self.pieces[0], _MIXED.value if self.about.mixes else RUN
        # Where rows are not whole units, the first one may begin with the last number of a unit.
        programs = triton.cdiv(self._columns + (unit - 1 if self._columns % unit else 0), unit * units)
        assert indices is not None
        number, starts = torch.arange(self.count, device=device), indices * self._columns
        skip = starts % unit
        keys = np.array([about.sign_key, about.segment_key, about.multiplier], dtype=np.uint64).view(np.int64)
        of_rows = torch.stack([number * programs, starts // unit, skip, skip + self._columns], dim=1)
        fields = torch.cat([of_rows, _on(device, torch.from_numpy(keys)).expand(self.count, -1)], dim=1)
        pieces = torch.arange(self.count * programs, dtype=torch.int32, device=device) // programs
        addresses = rows.data_ptr() + number * (self._columns * rows.element_size())
        if base is not None:
            addresses = torch.cat([addresses, base.data_ptr() + starts * base.element_size()])
        return _Read(addresses, _Plan(pieces, fields))


#: What graphs of launches read at every replay.
_READ_BY_GRAPHS: list[Tensor] = []


def _on(device: torch.device, numbers: Tensor) -> Tensor:
    """Numbers on a device. While a graph is captured only pinned memory can be copied, and it must stay."""
    if is_capturing(device):
        numbers = numbers.pin_memory()
        _READ_BY_GRAPHS.append(numbers)
    return numbers.to(device, non_blocking=True)


@triton.jit
def _splitmix(key: tl.tensor, position: tl.tensor) -> tl.tensor:
    word = key.to(tl.uint64) + (position.to(tl.uint64) + 1) * _STEP
    word = (word ^ (word >> 30)) * _FIRST
    word = (word ^ (word >> 27)) * _SECOND
    return word ^ (word >> 31)


@triton.jit
def _job(pieces: tl.tensor, fields: tl.tensor, units: tl.constexpr, aligned: tl.constexpr) -> tl.tensor:
    """A program's piece, its units before the program's, and the piece's fields: see `_plan`."""
    piece = tl.load(pieces + tl.program_id(0))
    at = fields + piece * _FIELDS
    before = (tl.program_id(0) - tl.load(at)) * units
    skip, stop = tl.load(at + 2), tl.load(at + 3)
    if aligned:
        skip, stop = tl.multiple_of(skip, _ALIGNED), tl.multiple_of(stop, _ALIGNED)
    return piece, before, tl.load(at + 1) + before, skip, stop, tl.load(at + 4), tl.load(at + 5), tl.load(at + 6)


@triton.jit
def _numbers_at(addresses: tl.tensor, index: tl.tensor, dtype: tl.constexpr, aligned: tl.constexpr) -> tl.tensor:
    """The pointer to a piece's numbers."""
    pointer = tl.load(addresses + index).to(tl.pointer_type(dtype))
    if aligned:
        pointer = tl.multiple_of(pointer, _ALIGNED)
    return pointer


@triton.jit
def _stretches(
    begin: tl.tensor, after: tl.tensor, groups: tl.tensor, variants: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Which stretch of the table, counted through all variants, the units begin + after take."""
    # One long division a program; those of the units are short, from the start of the first unit's segment.
    first_segment = begin // groups
    place = (begin - first_segment * groups).to(index) + after.to(index)
    stretches = groups.to(index)
    segment = place // stretches
    word = _splitmix(segment_key, first_segment.to(tl.uint64) + segment.to(tl.uint64))
    stretch = (place - segment * stretches) * multiplier.to(index)
    if rotates:
        stretch += (((word >> 32) * groups.to(tl.uint64)) >> 32).to(index)
    return (word & (variants.to(tl.uint64) - 1)).to(tl.int64) * groups + (stretch % stretches).to(tl.int64)


@triton.jit
def _store(
    rows: tl.tensor, addresses: tl.tensor, piece: tl.tensor, count: tl.tensor, position: tl.tensor,
    skip: tl.tensor, stop: tl.tensor, dtype: tl.constexpr, base_dtype: tl.constexpr, aligned: tl.constexpr,
) -> None:  # fmt: skip
    inside, at = (position >= skip) & (position < stop), position - skip
    # Without fast-math nothing takes + 0.0 away, since it makes +0.0 of -0.0.
    rows += 0.0
    if base_dtype is not None:
        base = _numbers_at(addresses, count + piece, base_dtype, aligned)
        rows = tl.load(base + at, mask=inside).to(rows.dtype) - rows
    tl.store(_numbers_at(addresses, piece, dtype, aligned) + at, rows.to(dtype), mask=inside)


@triton.jit
def _loaded(
    addresses: tl.tensor, piece: tl.tensor, position: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    dtype: tl.constexpr, aligned: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    inside = (position >= skip) & (position < stop)
    return tl.load(_numbers_at(addresses, piece, dtype, aligned) + (position - skip), mask=inside, other=0.0)


@triton.jit
def _plain(
    before: tl.tensor, begin: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry) of a program's numbers, as (runs, 32)."""
    after, lanes = tl.arange(0, units), tl.arange(0, _RUN)[None, :]
    run = begin + after
    signs = (_splitmix(sign_key, run // _SIGNS) >> (run % _SIGNS).to(tl.uint64)) & 1
    stretch = _stretches(begin, after, groups, variants, segment_key, multiplier, rotates, index)
    entry = (signs.to(tl.int64) * groups * variants + stretch) * _RUN
    return before * _RUN + (after[:, None] * _RUN + lanes), entry[:, None] + lanes


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_plain(
    table: tl.tensor, addresses: tl.tensor, pieces: tl.tensor, fields: tl.tensor, groups: tl.tensor, variants: tl.tensor,
    count: tl.tensor, dtype: tl.constexpr, base_dtype: tl.constexpr, aligned: tl.constexpr, rotates: tl.constexpr,
    units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    piece, before, begin, skip, stop, sign_key, segment_key, multiplier = _job(pieces, fields, units, aligned)
    position, entry = _plain(before, begin, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    _store(tl.load(table + entry), addresses, piece, count, position, skip, stop, dtype, base_dtype, aligned)


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_plain(
    total: tl.tensor, addresses: tl.tensor, pieces: tl.tensor, fields: tl.tensor, groups: tl.tensor, variants: tl.tensor,
    dtype: tl.constexpr, aligned: tl.constexpr, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    piece, before, begin, skip, stop, sign_key, segment_key, multiplier = _job(pieces, fields, units, aligned)
    position, entry = _plain(before, begin, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    values = _loaded(addresses, piece, position, skip, stop, dtype, aligned)
    # What lies outside is not there: a run may have no row of the piece.
    tl.atomic_add(total + entry, values.to(total.dtype.element_ty), mask=(position >= skip) & (position < stop), sem="relaxed")


@triton.jit
def _mixed(
    before: tl.tensor, begin: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry, minus) of a program's numbers, as (units, 64, 32); minus: 1 where a line's sign is."""
    unit = tl.arange(0, units)[:, None, None]
    columns, lines = tl.arange(0, _COLUMNS)[None, :, None], tl.arange(0, _LINES)[None, None, :]
    minus = (_splitmix(sign_key, begin + unit) >> lines.to(tl.uint64)) & 1
    stretch = _stretches(begin, unit, groups, variants, segment_key, multiplier, rotates, index)
    within = lines * _COLUMNS + columns
    return before * _MIXED + (unit * _MIXED + within), stretch * _MIXED + within, minus


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_mixed(
    table: tl.tensor, addresses: tl.tensor, pieces: tl.tensor, fields: tl.tensor, groups: tl.tensor, variants: tl.tensor,
    count: tl.tensor, dtype: tl.constexpr, base_dtype: tl.constexpr, aligned: tl.constexpr, rotates: tl.constexpr,
    units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    piece, before, begin, skip, stop, sign_key, segment_key, multiplier = _job(pieces, fields, units, aligned)
    position, entry, minus = _mixed(before, begin, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    values = tl.load(table + entry)
    mixed = hadamard(tl.reshape(tl.where(minus == 1, -values, values), (units * _COLUMNS, _LINES)), _STAGES)
    position = tl.reshape(position, (units * _COLUMNS, _LINES))
    _store(mixed, addresses, piece, count, position, skip, stop, dtype, base_dtype, aligned)


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_mixed(
    total: tl.tensor, addresses: tl.tensor, pieces: tl.tensor, fields: tl.tensor, groups: tl.tensor, variants: tl.tensor,
    dtype: tl.constexpr, aligned: tl.constexpr, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    piece, before, begin, skip, stop, sign_key, segment_key, multiplier = _job(pieces, fields, units, aligned)
    position, entry, minus = _mixed(before, begin, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    values = _loaded(addresses, piece, position, skip, stop, dtype, aligned).to(total.dtype.element_ty)
    mixed = tl.reshape(hadamard(tl.reshape(values, (units * _COLUMNS, _LINES)), _STAGES), (units, _COLUMNS, _LINES))
    tl.atomic_add(total + entry, tl.where(minus == 1, -mixed, mixed), sem="relaxed")
