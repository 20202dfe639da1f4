"""The products of `TableProjection` on a GPU, by Triton: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so P w has the same bits. The adjoint adds into the table
by atomic operations: on a GPU the order of its sums, and so their last bits, may differ from call to call.

The numbers of a program stand as (runs, 32 lanes), or, where they are mixed, as (units, 64 columns, 32 lines): a thread has 16
bytes of each of the 32 lines, so that butterflies need no other thread and one hash serves all that a thread has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.table import COLUMNS, LINES, RUN, SIGNS

if TYPE_CHECKING:
    from idbounds.projections.table import Tensorwise

# A kernel reads a global only as a `constexpr`.
_STEP, _FIRST, _SECOND = (tl.constexpr(int(word)) for word in (SPLITMIX_STEP, SPLITMIX_FIRST, SPLITMIX_SECOND))
_RUN, _SIGNS, _LINES, _COLUMNS = tl.constexpr(RUN), tl.constexpr(SIGNS), tl.constexpr(LINES), tl.constexpr(COLUMNS)
_MIXED, _STAGES = tl.constexpr(LINES * COLUMNS), tl.constexpr(LINES.bit_length() - 1)

#: Runs and warps of a program of whole runs: 32 numbers a thread, as where they are mixed; Triton's default of 4 warps.
_PLAIN_RUNS, _PLAIN_WARPS = 128, 4
#: Where they are mixed, a program is one warp of 32 threads; each takes 16 bytes, the widest load, of every line.
_WARP_BYTES = 32 * 16
#: Below so many stretches, place times multiplier plus offset is below 2^32.
_NARROW = 2**16
#: Numbers of which Triton must not make versions by value: 1 would become a constant without a type.
_PLAIN_NUMBERS = ["first", "groups", "variants", "sign_key", "segment_key", "multiplier"]


def write_rows(table: Tensor, base: Tensor | None, out: Tensor, about: Tensorwise, start: int) -> None:
    """out = rows [start, start + len(out)) of P, or base - rows."""
    under = None if base is None else base.contiguous()
    _launch(_write_mixed if about.mixes else _write_plain, (table.contiguous(), under, out), out, about, start)


def add_adjoint(total: Tensor, g: Tensor, about: Tensorwise, start: int) -> None:
    """total += the transposed rows [start, start + len(g)) times g."""
    _launch(_add_mixed if about.mixes else _add_plain, (total, g.contiguous()), g, about, start)


def _launch(kernel: Any, tensors: tuple[Tensor | None, ...], like: Tensor, about: Tensorwise, start: int) -> None:
    """Run a kernel over the rows from `start` on, as many as `like` has, from the unit that holds the first of them."""
    unit, units = (LINES * COLUMNS, _WARP_BYTES // (COLUMNS * like.element_size())) if about.mixes else (RUN, _PLAIN_RUNS)
    first = start // unit
    skip = start - first * unit
    with torch.cuda.device(like.get_device()):  # -1, for the CPU, leaves the device as it is
        kernel[(triton.cdiv(skip + like.numel(), units * unit),)](
            *tensors, skip, skip + like.numel(), first, about.groups, about.variants, about.sign_key, about.segment_key,
            about.multiplier, rotates=about.rotates, units=units, index=tl.uint32 if about.groups < _NARROW else tl.uint64,
            num_warps=1 if about.mixes else _PLAIN_WARPS, enable_fp_fusion=False,
        )  # fmt: skip


@triton.jit
def _splitmix(key: tl.tensor, position: tl.tensor) -> tl.tensor:
    word = key.to(tl.uint64) + (position.to(tl.uint64) + 1) * _STEP
    word = (word ^ (word >> 30)) * _FIRST
    word = (word ^ (word >> 27)) * _SECOND
    return word ^ (word >> 31)


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
def _hadamard(values: tl.tensor) -> tl.tensor:
    """H_32 along the last axis of (columns, 32). Each stage takes the lowest bit of the line and leaves it as the highest."""
    columns: tl.constexpr = values.shape[0]
    for _ in tl.static_range(_STAGES):
        even, odd = tl.split(tl.reshape(values, (columns, _LINES // 2, 2)))
        values = tl.reshape(tl.permute(tl.join(even + odd, even - odd), (0, 2, 1)), (columns, _LINES))
    return values


@triton.jit
def _store(out: tl.tensor, base: tl.tensor, position: tl.tensor, skip: tl.tensor, stop: tl.tensor, values: tl.tensor) -> None:
    inside = (position >= skip) & (position < stop)
    # Without fast-math nothing takes + 0.0 away, since it makes +0.0 of -0.0.
    rows = values + 0.0
    if base is not None:
        rows = tl.load(base + (position - skip), mask=inside) - rows
    tl.store(out + (position - skip), rows, mask=inside)


@triton.jit
def _plain(
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry) of a program's numbers, as (runs, 32)."""
    before = tl.program_id(0).to(tl.int64) * units
    begin, after, lanes = first.to(tl.int64) + before, tl.arange(0, units), tl.arange(0, _RUN)[None, :]
    run = begin + after
    signs = (_splitmix(sign_key, run // _SIGNS) >> (run % _SIGNS).to(tl.uint64)) & 1
    stretch = _stretches(begin, after, groups, variants, segment_key, multiplier, rotates, index)
    entry = (signs.to(tl.int64) * groups * variants + stretch) * _RUN
    return before * _RUN + (after[:, None] * _RUN + lanes), entry[:, None] + lanes


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_plain(
    table: tl.tensor, base: tl.tensor, out: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    position, entry = _plain(first, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    _store(out, base, position, skip, stop, tl.load(table + entry))


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_plain(
    total: tl.tensor, g: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    position, entry = _plain(first, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    inside = (position >= skip) & (position < stop)
    values = tl.load(g + (position - skip), mask=inside, other=0.0)
    tl.atomic_add(total + entry, values, mask=inside, sem="relaxed")


@triton.jit
def _mixed(
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry, minus) of a program's numbers, as (units, 64, 32); minus: 1 where a line's sign is."""
    before = tl.program_id(0).to(tl.int64) * units
    begin, unit = first.to(tl.int64) + before, tl.arange(0, units)[:, None, None]
    columns, lines = tl.arange(0, _COLUMNS)[None, :, None], tl.arange(0, _LINES)[None, None, :]
    minus = (_splitmix(sign_key, begin + unit) >> lines.to(tl.uint64)) & 1
    stretch = _stretches(begin, unit, groups, variants, segment_key, multiplier, rotates, index)
    within = lines * _COLUMNS + columns
    return before * _MIXED + (unit * _MIXED + within), stretch * _MIXED + within, minus


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_mixed(
    table: tl.tensor, base: tl.tensor, out: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, minus = _mixed(first, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    columns: tl.constexpr = units * _COLUMNS
    values = tl.load(table + entry)
    values = tl.where(minus == 1, -values, values)
    mixed = _hadamard(tl.reshape(values, (columns, _LINES)))
    _store(out, base, tl.reshape(position, (columns, _LINES)), skip, stop, mixed)


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_mixed(
    total: tl.tensor, g: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, variants: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor,
    multiplier: tl.tensor, rotates: tl.constexpr, units: tl.constexpr, index: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, minus = _mixed(first, groups, variants, sign_key, segment_key, multiplier, rotates, units, index)
    columns: tl.constexpr = units * _COLUMNS
    inside = (position >= skip) & (position < stop)
    values = tl.load(g + (position - skip), mask=inside, other=0.0)
    mixed = tl.reshape(_hadamard(tl.reshape(values, (columns, _LINES))), (units, _COLUMNS, _LINES))
    tl.atomic_add(total + entry, tl.where(minus == 1, -mixed, mixed), sem="relaxed")
