"""The products of `TableProjection` on a GPU, by Triton: one pass over the weights, words of signs made on the way.

The same additions in the same order as the path through torch, so P w has the same bits. The adjoint adds into the table
by atomic operations: on a GPU the order of its sums, and so their last bits, may differ from call to call.

The numbers of a program stand as (runs, 32 lanes), or, where rows are mixed, as (half rows, 32 lanes, 32 rows): a thread
has 16 bytes of each of the 32 rows, so that butterflies need no other thread and one hash serves all of a thread's lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from idbounds.core.streams import SPLITMIX_FIRST, SPLITMIX_SECOND, SPLITMIX_STEP
from idbounds.projections.signs import RUN
from idbounds.projections.table import MIXED_COLUMNS, MIXED_ROWS, MIXED_RUNS, VARIANTS

if TYPE_CHECKING:
    from idbounds.projections.table import Tensorwise

# A kernel reads a global only as a `constexpr`.
_STEP, _FIRST, _SECOND = (tl.constexpr(int(word)) for word in (SPLITMIX_STEP, SPLITMIX_FIRST, SPLITMIX_SECOND))
_RUN, _VARIANTS, _ROWS = tl.constexpr(RUN), tl.constexpr(VARIANTS), tl.constexpr(MIXED_ROWS)
_COLUMNS, _MIXED_RUNS = tl.constexpr(MIXED_COLUMNS), tl.constexpr(MIXED_RUNS)
_STAGES, _PARTS = tl.constexpr(MIXED_ROWS.bit_length() - 1), tl.constexpr(MIXED_COLUMNS // RUN)

#: Runs and warps of a program of whole runs: 32 numbers a thread, as where rows are mixed; Triton's default of 4 warps.
_PLAIN_RUNS, _PLAIN_WARPS = 128, 4
#: Where rows are mixed, a program is one warp of 32 threads; each takes 16 bytes, the widest load, of every row.
_WARP_BYTES = 32 * 16
#: Below so many stretches, place times multiplier plus offset is below 2^32.
_NARROW = 2**16
#: Numbers of which Triton must not make versions by value: 1 would become a constant without a type.
_PLAIN_NUMBERS = ["first", "groups", "sign_key", "segment_key", "multiplier"]


def write_rows(table: Tensor, base: Tensor | None, out: Tensor, about: Tensorwise, start: int) -> None:
    """out = rows [start, start + len(out)) of P, or base - rows."""
    under = None if base is None else base.contiguous()
    _launch(_write_mixed if about.mixes else _write_plain, (table.contiguous(), under, out), out, about, start)


def add_adjoint(total: Tensor, g: Tensor, about: Tensorwise, start: int) -> None:
    """total += the transposed rows [start, start + len(g)) times g."""
    _launch(_add_mixed if about.mixes else _add_plain, (total, g.contiguous()), g, about, start)


def _launch(kernel: Any, tensors: tuple[Tensor | None, ...], like: Tensor, about: Tensorwise, start: int) -> None:
    """Run a kernel over the rows from `start` on, as many as `like` has, from the unit that holds the first of them."""
    if about.mixes:
        unit, runs = MIXED_RUNS, MIXED_RUNS * _WARP_BYTES // (MIXED_COLUMNS * like.element_size())
    else:
        unit, runs = 1, _PLAIN_RUNS
    first = start // (unit * RUN) * unit
    skip = start - first * RUN
    with torch.cuda.device(like.get_device()):  # -1, for the CPU, leaves the device as it is
        kernel[(triton.cdiv(skip + like.numel(), runs * RUN),)](
            *tensors, skip, skip + like.numel(), first, about.groups, about.sign_key, about.segment_key, about.multiplier,
            rotates=about.rotates, variant_per_run=about.variant_per_run, runs=runs,
            index=tl.uint32 if about.groups < _NARROW else tl.uint64,
            bits=tl.uint32 if like.dtype == torch.float32 else tl.uint64,
            num_warps=1 if about.mixes else _PLAIN_WARPS, enable_fp_fusion=False,
        )  # fmt: skip


@triton.jit
def _splitmix(key: tl.tensor, position: tl.tensor) -> tl.tensor:
    word = key.to(tl.uint64) + (position.to(tl.uint64) + 1) * _STEP
    word = (word ^ (word >> 30)) * _FIRST
    word = (word ^ (word >> 27)) * _SECOND
    return word ^ (word >> 31)


@triton.jit
def _entries(
    begin: tl.tensor, after: tl.tensor, words: tl.tensor, groups: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Where in the table the runs begin + after are; `words`, their signs, are read only if variant_per_run."""
    # One long division a program; those of the runs are short, from the start of the first run's segment.
    first_segment = begin // groups
    place = (begin - first_segment * groups).to(index) + after.to(index)
    stretches = groups.to(index)
    segment = place // stretches
    word = _splitmix(segment_key, first_segment.to(tl.uint64) + segment.to(tl.uint64))
    stretch = (place - segment * stretches) * multiplier.to(index)
    if rotates:
        stretch += (((word >> 32) * groups.to(tl.uint64)) >> 32).to(index)
    if variant_per_run:
        word = words >> 32
    return (((word % _VARIANTS).to(tl.int64) * groups) + (stretch % stretches).to(tl.int64)) * _RUN


@triton.jit
def _flip(values: tl.tensor, words: tl.tensor, lanes: tl.tensor, bits: tl.constexpr) -> tl.tensor:
    """Values with the sign of lane l flipped where bit l of the word is 1."""
    signs = (words.to(bits) >> lanes.to(bits)) << (bits.primitive_bitwidth - 1)
    return (values.to(bits, bitcast=True) ^ signs).to(values.dtype, bitcast=True)


@triton.jit
def _hadamard(values: tl.tensor) -> tl.tensor:
    """H_32 along the last axis of (columns, 32). Each stage takes the lowest bit of the row and leaves it as the highest."""
    columns: tl.constexpr = values.shape[0]
    for _ in tl.static_range(_STAGES):
        even, odd = tl.split(tl.reshape(values, (columns, _ROWS // 2, 2)))
        values = tl.reshape(tl.permute(tl.join(even + odd, even - odd), (0, 2, 1)), (columns, _ROWS))
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
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry, words, lanes) of a program's numbers, as (runs, 32)."""
    before = tl.program_id(0).to(tl.int64) * runs
    begin, after, lanes = first.to(tl.int64) + before, tl.arange(0, runs), tl.arange(0, _RUN)[None, :]
    words = _splitmix(sign_key, begin + after)
    entry = _entries(begin, after, words, groups, segment_key, multiplier, rotates, variant_per_run, index)
    return before * _RUN + (after[:, None] * _RUN + lanes), entry[:, None] + lanes, words[:, None], lanes


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_plain(
    table: tl.tensor, base: tl.tensor, out: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr, bits: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, words, lanes = _plain(
        first, groups, sign_key, segment_key, multiplier, rotates, variant_per_run, runs, index
    )
    _store(out, base, position, skip, stop, _flip(tl.load(table + entry), words, lanes, bits))


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_plain(
    total: tl.tensor, g: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr, bits: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, words, lanes = _plain(
        first, groups, sign_key, segment_key, multiplier, rotates, variant_per_run, runs, index
    )
    inside = (position >= skip) & (position < stop)
    values = tl.load(g + (position - skip), mask=inside, other=0.0)
    tl.atomic_add(total + entry, _flip(values, words, lanes, bits), mask=inside, sem="relaxed")


@triton.jit
def _mixed(
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """(position, entry, words, lanes) of a program's numbers, as (half rows, 32, 32)."""
    before = tl.program_id(0).to(tl.int64) * runs
    begin = first.to(tl.int64) + before
    half_row = tl.arange(0, runs // _ROWS)[:, None, None]
    lanes, rows = tl.arange(0, _RUN)[None, :, None], tl.arange(0, _ROWS)[None, None, :]
    mixture, within = half_row // _PARTS * _MIXED_RUNS, half_row % _PARTS + rows * _PARTS
    words = _splitmix(sign_key, begin + (mixture + within))
    entry = _entries(begin, mixture, words, groups, segment_key, multiplier, rotates, variant_per_run, index)
    places = within * _RUN + lanes
    return before * _RUN + (mixture * _RUN + places), entry + places, words, lanes


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _write_mixed(
    table: tl.tensor, base: tl.tensor, out: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr, bits: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, words, lanes = _mixed(
        first, groups, sign_key, segment_key, multiplier, rotates, variant_per_run, runs, index
    )
    columns: tl.constexpr = runs * _RUN // _ROWS
    values = _flip(tl.load(table + entry), words, lanes, bits)
    mixed = _hadamard(tl.reshape(values, (columns, _ROWS)))
    _store(out, base, tl.reshape(position, (columns, _ROWS)), skip, stop, mixed)


@triton.jit(do_not_specialize=_PLAIN_NUMBERS)
def _add_mixed(
    total: tl.tensor, g: tl.tensor, skip: tl.tensor, stop: tl.tensor,
    first: tl.tensor, groups: tl.tensor, sign_key: tl.tensor, segment_key: tl.tensor, multiplier: tl.tensor,
    rotates: tl.constexpr, variant_per_run: tl.constexpr, runs: tl.constexpr, index: tl.constexpr, bits: tl.constexpr,
) -> None:  # fmt: skip
    position, entry, words, lanes = _mixed(
        first, groups, sign_key, segment_key, multiplier, rotates, variant_per_run, runs, index
    )
    columns: tl.constexpr = runs * _RUN // _ROWS
    inside = (position >= skip) & (position < stop)
    values = tl.load(g + (position - skip), mask=inside, other=0.0)
    mixed = tl.reshape(_hadamard(tl.reshape(values, (columns, _ROWS))), (runs // _ROWS, _RUN, _ROWS))
    tl.atomic_add(total + entry, _flip(mixed, words, lanes, bits), sem="relaxed")
