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
from idbounds.projections.signs import RUN, flip_signs, sign_words

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

    tile_rows = 2**17

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

    def runs(self, name: str, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """(which stretch of the table, word of signs) for runs [first, first + count) of a tensor."""
        about = self.tensorwise(name)
        words = self._stream("signs", name).splitmix(first, count)
        segment, place = np.divmod(np.arange(first, first + count, dtype=np.int64), about.groups)
        first_segment = first // about.groups
        per_segment = self._stream("segments", name).splitmix(
            first_segment, -(-(first + count) // about.groups) - first_segment
        )
        segment_words = per_segment[segment - first_segment]
        stretch = place * about.multiplier
        if about.rotates:
            # The high half of a word, as a fraction of 2^32, times the number of stretches.
            offsets = ((segment_words >> np.uint64(32)) * np.uint64(about.groups)) >> np.uint64(32)
            stretch += offsets.astype(np.int64)
        variants = words >> np.uint64(32) if about.variant_per_run else segment_words
        return (variants % np.uint64(VARIANTS)).astype(np.int64) * about.groups + stretch % about.groups, words

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
        for first, count, begin, end in self._tiles(start, stop):
            stretches, words = self.runs(name, first, count)
            values = expanded.index_select(0, torch.from_numpy(stretches).to(expanded.device))
            values = flip_signs(values, sign_words(words, expanded.device))
            if self.mixes:
                values = walsh_hadamard(values.view(-1, MIXED_ROWS, MIXED_COLUMNS))
            yield values.view(-1)[begin:end]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(VARIANTS * self.groups, RUN)
        kernels = kernels_for(g)
        if kernels is not None:
            kernels.add_adjoint(total, g, self.tensorwise(name), start)
            return total
        for first, count, begin, end in self._tiles(start, start + g.numel()):
            stretches, words = self.runs(name, first, count)
            values = g[first * RUN + begin - start : first * RUN + end - start]
            if end - begin < count * RUN or self.mixes:
                padded = g.new_zeros(count * RUN)
                padded[begin:end] = values
                values = padded
            if self.mixes:
                values = walsh_hadamard(values.view(-1, MIXED_ROWS, MIXED_COLUMNS))
            values = flip_signs(values.view(-1, RUN), sign_words(words, g.device))
            total.index_add_(0, torch.from_numpy(stretches).to(g.device), values)
        return total

    def _tiles(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """(first run, number of runs, begin, end): whole runs, or whole mixtures, and which of their rows are wanted."""
        unit = RUN * (MIXED_RUNS if self.mixes else 1)
        for row in range(start - start % self.tile_rows, stop, self.tile_rows):
            first = max(start - start % unit, row)
            last = min(-(-stop // unit) * unit, row + self.tile_rows)
            yield first // RUN, (last - first) // RUN, max(start - first, 0), min(stop, last) - first


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
            stretches, _ = self.runs(name, segments * self.groups, -(-rest // RUN))
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
