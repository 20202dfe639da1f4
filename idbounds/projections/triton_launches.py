"""Launches of the kernels in triton_kernels.py: one serves many tensors, and what its programs read is on the device.

A model has hundreds of tensors, and a launch takes longer than the product of most of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from idbounds.projections.compiled import is_capturing
from idbounds.projections.units import COLUMNS, LINES, RUN, Piece, Tensorwise

#: Rows of a unit where they are mixed.
MIXED = LINES * COLUMNS
#: Addresses and numbers of rows that are multiples of it allow the widest loads in every dtype.
ALIGNED = 16

#: Runs and warps of a program of whole runs: 32 numbers a thread, as where they are mixed; Triton's default of 4 warps.
_PLAIN_RUNS, _PLAIN_WARPS = 128, 4
#: Where they are mixed, a program is one warp of 32 threads; each takes 16 bytes, the widest load, of every line.
_WARP_BYTES = 32 * 16
#: Below so many stretches, place times multiplier plus offset is below 2^32.
_NARROW = 2**16

DTYPES = {
    torch.float64: tl.float64,
    torch.float32: tl.float32,
    torch.bfloat16: tl.bfloat16,
    torch.float16: tl.float16,
}


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
    number = rows.shape[-1] | rows.data_ptr() | (start % (MIXED if about.mixes else RUN))
    if base is not None:
        number |= base.data_ptr()
    return _Kind(rows.dtype, None if base is None else base.dtype, number % ALIGNED == 0)


def launches(pieces: Sequence[Piece]) -> list[Launch]:
    """One for all pieces of a kind, and one for each with indices."""
    kinds: dict[_Kind, list[Piece]] = {}
    found = list[Launch]()
    for piece in pieces:
        if piece.indices is None:
            kinds.setdefault(_kind_of(piece), []).append(piece)
        else:
            found.append(_LookUp([piece], _kind_of(piece)))
    return found + [Launch(some, kind) for kind, some in kinds.items()]


class _Read(NamedTuple):
    """What the programs of a launch read, on the device."""

    addresses: Tensor  # of the rows of all pieces, and then of all bases
    plan: _Plan


class Launch:
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
                dtype=DTYPES[self.kind.dtype], aligned=self.kind.aligned, rotates=about.rotates, units=units,
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
        numbers = (_numbers if is_capturing(device) else _kept_numbers)(tuple(addresses), device)
        return _Read(numbers, _plan_for(ranges, MIXED if self.about.mixes else RUN, units, device))


def _numbers(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    return _on(device, torch.tensor(numbers))


#: Often torch gives a gradient the memory that it had a step before.
_kept_numbers = lru_cache(maxsize=1024)(_numbers)


class _LookUp(Launch):
    """For the rows of a matrix that indices name. What its programs read is made where the indices are, in every run."""

    def __init__(self, pieces: Sequence[Piece], kind: _Kind) -> None:
        super().__init__(pieces, kind)
        self.count, self._columns = pieces[0].rows.shape

    def _read_by_programs(self, device: torch.device, units: int) -> _Read:
        (about, _, rows, base, indices), unit = self.pieces[0], MIXED if self.about.mixes else RUN
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
