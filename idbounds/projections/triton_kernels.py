"""The products of `TableProjection` on a GPU, by Triton: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so P w has the same bits. The adjoint adds into the table
by atomic operations: on a GPU the order of its sums, and so their last bits, may differ from call to call.

One launch serves many tensors: see triton_launches.py. Where each tensor lies is read from a table of addresses, and which of
them a program works on from a plan.

The numbers of a program stand as (runs, 32 lanes), or, where they are mixed, as (units, 64 columns, 32 lines): a thread has 16
bytes of each of the 32 lines, so that butterflies need no other thread and one hash serves all that a thread has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import triton
import triton.language as tl
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.triton_hadamard import hadamard
from idbounds.projections.triton_launches import ALIGNED, DTYPES, MIXED, launches
from idbounds.projections.units import COLUMNS, LINES, RUN, SIGNS, Piece

# A kernel reads a global only as a `constexpr`.
_STEP, _FIRST, _SECOND = (tl.constexpr(int(word)) for word in (SPLITMIX_STEP, SPLITMIX_FIRST, SPLITMIX_SECOND))
_RUN, _SIGNS, _LINES, _COLUMNS = tl.constexpr(RUN), tl.constexpr(SIGNS), tl.constexpr(LINES), tl.constexpr(COLUMNS)
_MIXED, _ALIGNED, _STAGES = tl.constexpr(MIXED), tl.constexpr(ALIGNED), tl.constexpr(LINES.bit_length() - 1)

#: Numbers that a plan has of a piece.
_FIELDS = tl.constexpr(7)
#: Numbers of which Triton must not make versions by value: 1 would become a constant without a type.
_PLAIN_NUMBERS = ["count", "groups", "variants"]

LOOKS_UP = True


def writing(pieces: Sequence[Piece]) -> Callable[[Tensor], None]:
    """What makes of a table, for each piece, its rows: those of P, or base - those of P, in the table's dtype and cast last."""
    whole = [piece if piece.base is None else piece._replace(base=piece.base.contiguous()) for piece in pieces]
    of_kinds = launches(whole)

    def write(table: Tensor) -> None:
        for one in of_kinds:
            base_dtype = None if one.kind.base_dtype is None else DTYPES[one.kind.base_dtype]
            kernel = _write_mixed if one.about.mixes else _write_plain
            one.run(kernel, table.contiguous(), base_dtype=base_dtype, count=one.count)

    return write


def add_adjoint(total: Tensor, pieces: Sequence[Piece]) -> None:
    """For each piece: total += the transposed rows of P times the piece's."""
    whole = [piece if piece.rows.is_contiguous() else piece._replace(rows=piece.rows.contiguous()) for piece in pieces]
    for one in launches(whole):
        one.run(_add_mixed if one.about.mixes else _add_plain, total)


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
