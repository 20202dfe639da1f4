"""Families whose rows come in units, each a stretch of one small table made from w, with random signs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.streams import Stream, splitmix
from idbounds.core.values import ProjectionSpec
from idbounds.projections.adjoint_sum import Gradient
from idbounds.projections.base import Projection
from idbounds.projections.compiled import kernels_for
from idbounds.projections.point import Write
from idbounds.projections.threads import run_in_parts
from idbounds.projections.units import COLUMNS, LINES, RUN, Piece, Tensorwise

#: The table holds at least so many variants of w, differently permuted or mixed. Each has signs of its own.
VARIANTS = 16

#: Places and signs of so many units are drawn at once: for some tiles, since numpy's calls cost a small one more than its rows.
_UNITS_DRAWN = 2**15


class _Order(NamedTuple):
    """In which order the units of a tensor's segments take the stretches; a segment begins somewhere, and goes around."""

    segments: NDArray[np.int32]  # a view of each variant's order twice: row 2 groups v + i is a segment that begins at index i
    index_of: NDArray[np.uint64]  # of each stretch in the order


@lru_cache(maxsize=8)
def _order(groups: int, variants: int, multiplier: int) -> _Order:
    """Kept for the tensors at hand only: a model has hundreds, and most of them an order of their own."""
    order = np.arange(groups) * multiplier % groups
    twice = np.tile(order, 2) + groups * np.arange(variants)[:, None]
    return _Order(sliding_window_view(twice.astype(np.int32).reshape(-1), groups), np.argsort(order).astype(np.uint64))


class TableProjection(Projection):
    """The common part of these families: w -> table, and which stretch of it each unit of rows takes.

    A segment is as many units as a variant of the table has stretches, and takes each stretch once.
    """

    rotates: ClassVar[bool]
    reorders: ClassVar[bool]
    mixes: ClassVar[bool]

    # Of 2^16 to 2^20 the one with which a product through torch was quickest, by hand on two cores of an AMD EPYC: an
    # operation shorter than some 30 microseconds is soon done, and the next one waits for Python.
    tile_rows = 2**19

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        self._tensorwise: dict[str, Tensorwise] = {}

    @property
    def unit(self) -> int:
        """Rows of a unit, and numbers of a stretch."""
        return LINES * COLUMNS if self.mixes else RUN

    @property
    def groups(self) -> int:
        """Stretches in one variant of the table."""
        raise NotImplementedError

    @property
    def variants(self) -> int:
        """Variants in the table; a power of two."""
        return VARIANTS

    def tensorwise(self, name: str) -> Tensorwise:
        """What the units of tensor `name` are made from."""
        if name not in self._tensorwise:
            self._tensorwise[name] = Tensorwise(
                groups=self.groups,
                variants=self.variants,
                sign_key=self._stream("signs", name).splitmix_key,
                segment_key=self._stream("segments", name).splitmix_key,
                multiplier=self._multiplier(name),
                rotates=self.rotates,
                mixes=self.mixes,
            )
        return self._tensorwise[name]

    def places(self, name: str, units: range) -> NDArray[np.int32]:
        """Which stretch, counted through all variants, each unit of a tensor takes. (No table has 2^31 of them.)"""
        about = self.tensorwise(name)
        first_segment, skip = divmod(units.start, about.groups)
        segments = np.arange(first_segment, -(-units.stop // about.groups), dtype=np.uint64)
        words = splitmix(about.segment_key, segments)
        order = _order(about.groups, about.variants, about.multiplier)
        starts = (words & np.uint64(about.variants - 1)) * np.uint64(2 * about.groups)
        if about.rotates:
            # The high half of a word, as a fraction of 2^32, times the number of stretches.
            offsets = ((words >> np.uint64(32)) * np.uint64(about.groups)) >> np.uint64(32)
            starts += order.index_of.take(offsets.view(np.int64))
        return order.segments[starts.view(np.int64)].reshape(-1)[skip : skip + len(units)]

    def bits(self, name: str, words: range) -> NDArray[np.uint8]:
        """Bits of signs, 1 for minus, from the low halves of these words of a tensor: 32 each."""
        made = splitmix(self.tensorwise(name).sign_key, np.arange(words.start, words.stop, dtype=np.uint64))
        return np.unpackbits(made.astype("<u4").view(np.uint8), bitorder="little")

    def _stream(self, what: str, name: str = "") -> Stream:
        return Stream(seed=self.spec.seed, purpose=f"{self.family}/{what}", name=name)

    def _multiplier(self, name: str) -> int:
        """The first of the tensor's random numbers that is coprime to the number of stretches."""
        if not self.reorders:
            return 1
        candidates = (self._stream("order", name).words(0, 256) % np.uint64(self.groups)).tolist()
        return next((one for one in candidates if math.gcd(one, self.groups) == 1), 1)

    def _write(self, expanded: Tensor, base: Tensor | None, out: Tensor, name: str, start: int) -> None:
        kernels = kernels_for(expanded)
        if kernels is None:
            super()._write(expanded, base, out, name, start)
        else:
            kernels.writing([Piece(self.tensorwise(name), start, out, base)])(expanded)

    def assembling(self, writes: Sequence[Write], *, like: Tensor) -> Callable[[Tensor], None]:
        """All at once, each thread a share; on a CPU what is in another dtype one by one."""
        kernels = kernels_for(like)
        if kernels is None:
            return super().assembling(writes, like=like)
        alone, together = list[Write](), list[Piece]()
        for one in writes:
            if like.device.type == "cpu" and any(it is not None and it.dtype != like.dtype for it in (one.out, one.base)):
                alone.append(one)
            else:
                together.append(Piece(self.tensorwise(one.name), 0, one.out, one.base))
        one_by_one, rows = super().assembling(alone, like=like), sum(piece.rows.numel() for piece in together)
        shares: dict[tuple[int, int], Callable[[Tensor], None]] = {}

        def assemble(scaled: Tensor) -> None:
            def part(_: int, begin: int, end: int) -> None:
                if (begin, end) not in shares:
                    shares[begin, end] = kernels.writing(_share(together, begin, end))
                shares[begin, end](scaled)

            if kernels_for(scaled) is kernels:
                one_by_one(scaled)
                run_in_parts(part, 0, rows, edge=self.tile_rows, device=scaled.device)
            else:
                self.assembling(writes, like=scaled)(scaled)

        return assemble

    def looks_up(self, like: Tensor) -> bool:
        """Where compiled kernels do."""
        kernels = kernels_for(like)
        return kernels is not None and kernels.LOOKS_UP

    def looked_up(self, scaled: Tensor, theta_0: Tensor, indices: Tensor, name: str) -> Tensor:
        """As `writing` would write them, in the dtype of theta_0."""
        kernels, rows = kernels_for(scaled), theta_0.new_empty(len(indices), theta_0.shape[1])
        assert kernels is not None, "it looks up"
        kernels.writing([Piece(self.tensorwise(name), 0, rows, theta_0.contiguous(), indices)])(scaled)
        return rows

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        return self._collected(self._add_adjoint_rows(None, g, name, start))

    def _add_adjoint_rows(self, total: Tensor | None, g: Tensor, name: str, start: int) -> Tensor:
        if total is None:
            total = self._empty_table(g).zero_()
        kernels = kernels_for(g)
        if kernels is None:
            self._add_adjoint(total, g, name, start)
        else:
            kernels.add_adjoint(total, [Piece(self.tensorwise(name), start, g)])
        return total

    def _add_adjoints(self, total: Tensor | None, gradients: Sequence[Gradient], *, dtype: torch.dtype) -> Tensor:
        kernels = kernels_for(gradients[0].g)
        if kernels is None:
            return super()._add_adjoints(total, gradients, dtype=dtype)
        if total is None:
            total = self._empty_table(gradients[0].g.new_empty((), dtype=dtype)).zero_()
        pieces = [Piece(self.tensorwise(name), start, g, indices=indices) for g, name, start, indices in gradients]
        kernels.add_adjoint(total, pieces)
        return total

    def _empty_table(self, like: Tensor) -> Tensor:
        """Memory for sums of transposed rows: of the shape that `_expand` gives, or of another that `_collected` knows."""
        raise NotImplementedError

    def _add_adjoint(self, total: Tensor, g: Tensor, name: str, start: int) -> None:
        """Add to a table the transposed rows from `start` on, times g, through torch."""
        raise NotImplementedError

    def _units(
        self, name: str, start: int, stop: int, device: torch.device, draw: Callable[[str, range], tuple[NDArray[Any], ...]]
    ) -> Iterator[tuple[range, tuple[Tensor, ...]]]:
        """For each tile of rows [start, stop): its units, and their part of what is drawn, a number or more for each."""
        wanted, in_tile = range(start // self.unit, -(-stop // self.unit)), self.tile_rows // self.unit
        for some in _parts(wanted, _UNITS_DRAWN):
            drawn = [torch.from_numpy(array).to(device) for array in draw(name, some)]
            for units in _parts(some, in_tile):
                yield units, tuple(array[units.start - some.start : units.stop - some.start] for array in drawn)

    def _rows_of(self, units: range) -> tuple[int, int]:
        return units.start * self.unit, units.stop * self.unit

    def _padded(self, g: Tensor, start: int, units: range) -> Tensor:
        """Of g, whose rows begin at `start`, those of some units, as (units, rows of a unit); 0 where g has none."""
        first, last = self._rows_of(units)
        begin, end = max(first, start), min(last, start + g.numel())
        piece = g[begin - start : end - start]
        if end - begin < last - first:
            piece = torch.nn.functional.pad(piece, (begin - first, last - end))
        return piece.view(len(units), self.unit)


def _share(pieces: Sequence[Piece], begin: int, end: int) -> list[Piece]:
    """Of pieces, one after another, the rows [begin, end)."""
    share, offset = [], 0
    for piece in pieces:
        size = piece.rows.numel()
        within = slice(max(begin - offset, 0), min(end - offset, size))
        offset += size
        if within == slice(0, size):
            share.append(piece)  # views of all its rows would cost a small tensor more than they do
        elif within.start < within.stop:
            base = None if piece.base is None else piece.base[within]
            share.append(piece._replace(start=piece.start + within.start, rows=piece.rows[within], base=base))
    return share


def _parts(numbers: range, size: int) -> Iterator[range]:
    """Consecutive numbers, cut at the multiples of `size`."""
    for low in range(numbers.start - numbers.start % size, numbers.stop, size):
        yield range(max(low, numbers.start), min(low + size, numbers.stop))
