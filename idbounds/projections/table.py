"""Families whose rows come in runs of 32, each run a stretch of one small table made from w, with random signs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection
from idbounds.projections.compiled import kernels_for
from idbounds.projections.hadamard import walsh_hadamard
from idbounds.projections.signs import RUN, flip_signs, scratch, sign_words

#: The table holds so many variants of w: differently permuted, or differently mixed.
VARIANTS = 16

#: Where the rows are mixed, so many runs are mixed together: 32 rows of 64 numbers, 8 KiB in float32, so that they stay
#: in the first-level cache.
MIXED_ROWS, MIXED_COLUMNS = 32, 64
MIXED_RUNS = MIXED_ROWS * MIXED_COLUMNS // RUN


class Tensorwise(NamedTuple):
    """What the runs of one tensor are made from: the arguments of the compiled kernels too."""

    groups: int  # stretches of 32 entries in a variant of the table; a segment is as many runs
    sign_key: int  # SplitMix64 key; word k has the signs of run k and, in bits 32-35, its variant
    segment_key: int  # SplitMix64 key; word s has the variant of segment s in bits 0-3 and its offset in bits 32-63
    multiplier: int  # run p of a segment takes stretch (multiplier p + offset) mod groups
    rotates: bool  # else every offset is 0
    variant_per_run: bool  # else one for each segment
    mixes: bool  # whether the Hadamard matrix of size 32 is applied across 32 rows of 64


class TableProjection(Projection):
    """The common part of these families: w -> table, and which stretch of it each run of 32 rows takes.

    A segment is as many runs as a variant of the table has stretches, and takes each stretch once.
    """

    rotates: ClassVar[bool]
    reorders: ClassVar[bool]
    variant_per_run: ClassVar[bool]
    mixes: ClassVar[bool]

    # Of 2^16 to 2^21 the one with which a product through torch was quickest, by hand on two cores of an AMD EPYC.
    tile_rows = 2**19

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        self._tensorwise: dict[str, Tensorwise] = {}

    @property
    def groups(self) -> int:
        """Stretches of 32 entries in one variant of the table."""
        raise NotImplementedError

    def tensorwise(self, name: str) -> Tensorwise:
        """What the runs of tensor `name` are made from."""
        if name not in self._tensorwise:
            self._tensorwise[name] = Tensorwise(
                groups=self.groups,
                sign_key=self._stream("signs", name).splitmix_key,
                segment_key=self._stream("segments", name).splitmix_key,
                multiplier=self._multiplier(name),
                rotates=self.rotates,
                variant_per_run=self.variant_per_run,
                mixes=self.mixes,
            )
        return self._tensorwise[name]

    @property
    def unit(self) -> int:
        """So many runs take neighbouring stretches and are made together: 1, or those of a mixture."""
        return MIXED_RUNS if self.mixes else 1

    def words(self, name: str, first: int, count: int) -> NDArray[np.uint64]:
        """The words of signs of the runs of `count` units from unit `first` on."""
        return self._stream("signs", name).splitmix(first * self.unit, count * self.unit)

    def places(self, name: str, words: NDArray[np.uint64], first: int, count: int) -> NDArray[np.int64]:
        """Where in the table, in units, each of units [first, first + count) of a tensor is; `words` are their signs."""
        about, units = self.tensorwise(name), self.groups // self.unit
        first_segment, skip = divmod(first, units)
        segments = -(-(skip + count) // units)
        of_segment = self._stream("segments", name).splitmix(first_segment, segments)
        places = np.arange(units, dtype=np.int64) * about.multiplier % units + np.zeros((segments, 1), np.int64)
        if about.rotates:
            # The high half of a word, as a fraction of 2^32, times the number of places.
            offsets = ((of_segment >> np.uint64(32)) * np.uint64(units)) >> np.uint64(32)
            places += offsets.astype(np.int64)[:, None]
            # Below twice the number of places, so that the smaller of the two, without signs, is the remainder.
            unsigned = places.view(np.uint64)
            np.minimum(unsigned, unsigned - np.uint64(units), out=unsigned)
        if not about.variant_per_run:
            places += (of_segment % np.uint64(VARIANTS)).astype(np.int64)[:, None] * units
        wanted = places.reshape(-1)[skip : skip + count]
        if about.variant_per_run:
            wanted += ((words >> np.uint64(32)) % np.uint64(VARIANTS)).astype(np.int64) * units
        return wanted

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
            kernels.write_rows(expanded, base, out, self.tensorwise(name), start)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        table = expanded.view(-1, self.unit * RUN)
        for first, count, begin, end in self._tiles(start, stop):
            words = self.words(name, first, count)
            places = torch.from_numpy(self.places(name, words, first, count)).to(table.device)
            values, spare, masks = scratch(count * self.unit, table)
            torch.index_select(table, 0, places, out=values.view(count, self.unit * RUN))
            flip_signs(values, sign_words(words, table.device), out=values, masks=masks)
            yield self._mix(values, spare).view(-1)[begin:end]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(VARIANTS * self.groups, RUN)
        kernels = kernels_for(g)
        if kernels is not None:
            kernels.add_adjoint(total, g, self.tensorwise(name), start)
            return total
        for first, count, begin, end in self._tiles(start, start + g.numel()):
            words = self.words(name, first, count)
            places = torch.from_numpy(self.places(name, words, first, count)).to(g.device)
            values, spare, masks = scratch(count * self.unit, g)
            flat, row = values.view(-1), first * self.unit * RUN - start
            flat[:begin], flat[begin:end], flat[end:] = 0, g[row + begin : row + end], 0
            mixed = self._mix(values, spare).view(-1, RUN)
            flip_signs(mixed, sign_words(words, g.device), out=mixed, masks=masks)
            total.view(-1, self.unit * RUN).index_add_(0, places, mixed.view(count, self.unit * RUN))
        return total

    def _mix(self, values: Tensor, spare: Tensor) -> Tensor:
        """The Hadamard matrix of size 32 across the rows of each mixture, where the family mixes."""
        shape = (-1, MIXED_ROWS, MIXED_COLUMNS)
        return walsh_hadamard(values.view(shape), spare.view(shape)) if self.mixes else values

    def _tiles(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """(first unit, number of units, begin, end): whole units, and which of their rows are wanted."""
        rows = RUN * self.unit
        for row in range(start - start % self.tile_rows, stop, self.tile_rows):
            first = max(start - start % rows, row)
            last = min(-(-stop // rows) * rows, row + self.tile_rows)
            yield first // rows, (last - first) // rows, max(start - first, 0), min(stop, last) - first


class SlotTable(TableProjection):
    """The part of it that one-hot families share: every entry of the table is one coordinate of w, a slot.

    A variant has 32 ceil(d / 32) slots; slot j holds coordinate j mod d before it is permuted.
    """

    mixes = False

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        self._slots: dict[torch.device, Tensor] = {torch.device("cpu"): torch.from_numpy(self._make_slots().reshape(-1))}
        squares = self._column_squares()
        dead = np.flatnonzero(squares == 0)
        if dead.size:
            raise ConfigError(
                f"{dead.size} of d = {self.d} coordinates would move no weight, because no tensor of this layout has "
                f"{self.groups * RUN} weights; choose a smaller d, or a dense family such as 'fastfood'"
            )
        self._column_factors = torch.from_numpy(math.sqrt(self.d) / np.sqrt(squares))

    @property
    def groups(self) -> int:
        """Stretches of 32 slots in one variant."""
        return -(-self.d // RUN)

    def _make_slots(self) -> NDArray[np.int64]:
        """Which coordinate each entry of the table holds: (variants, slots)."""
        raise NotImplementedError

    def _column_squares(self) -> NDArray[np.float64]:
        """||column j||^2 for j < d, if every entry were ± sqrt(d) times the tensor's scale."""
        slots = self._slots[torch.device("cpu")].numpy().reshape(-1, RUN)
        whole_segment = np.bincount(slots[: self.groups].reshape(-1), minlength=self.d)
        squares = np.zeros(self.d)
        # By name, so that the sum does not depend on the order in which tensors are listed.
        for name in sorted(self.sizes):
            segments, rest = divmod(self.sizes[name], self.groups * RUN)
            first, count = segments * self.groups, -(-rest // RUN)
            stretches = self.places(name, self.words(name, first, count), first, count)
            partial = np.bincount(slots[stretches].reshape(-1)[:rest], minlength=self.d)
            squares += self.d * self.scale(name) ** 2 * (segments * whole_segment + partial)
        return squares

    def _expand(self, w: Tensor) -> Tensor:
        return (w * self._column_factors.to(w)).index_select(0, self._slots_on(w.device)).view(-1, RUN)

    def _fold(self, expanded: Tensor) -> Tensor:
        total = expanded.new_zeros(self.d).index_add_(0, self._slots_on(expanded.device), expanded.reshape(-1))
        return total * self._column_factors.to(expanded)

    def _slots_on(self, device: torch.device) -> Tensor:
        if device not in self._slots:
            self._slots[device] = self._slots[torch.device("cpu")].to(device)
        return self._slots[device]
