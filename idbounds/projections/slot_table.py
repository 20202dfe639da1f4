"""Families with one entry a row: the table holds w itself, permuted and with signs, so that a row is one of its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.table import VARIANTS, TableProjection
from idbounds.projections.threads import threads_for
from idbounds.projections.tiles import tile
from idbounds.projections.units import RUN, SIGNS

#: Where a variant is small, the table holds so many stretches all the same: with both signs 64 KiB in float32.
_STRETCHES = 256


class SlotTable(TableProjection):
    """The part of it that one-hot families share: every entry of the table is one coordinate of w, a slot, with a sign.

    A variant has 32 ceil(d / 32) slots; slot j holds coordinate j mod d before it is permuted. The table's second half is the
    first with all signs turned: a run's own sign says from which half it is taken, so a row costs no operation on its sign.
    """

    mixes = False

    # As in `TableProjection`; with two operations a tile, each should be long, and there is one memory a tile, not two.
    tile_rows = 2**20

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        slots = self._make_slots().reshape(-1) % self.d
        signs = fair_signs(self._stream("slot signs"), 0, len(slots))
        squares = self._column_squares(slots.reshape(-1, RUN))
        dead = np.flatnonzero(squares == 0)
        if dead.size:
            raise ConfigError(
                f"{dead.size} of d = {self.d} coordinates would move no weight, because no tensor of this layout has "
                f"{self.groups * RUN} weights; choose a smaller d, or a dense family such as 'fastfood'"
            )
        factors = torch.from_numpy(math.sqrt(self.d) / np.sqrt(squares))
        self._made = _Slots(torch.from_numpy(slots), torch.from_numpy(signs), factors)
        self._slots: dict[tuple[torch.device, torch.dtype], _Slots] = {}

    @property
    def groups(self) -> int:
        """Stretches of 32 slots in one variant."""
        return -(-self.d // RUN)

    @property
    def variants(self) -> int:
        """Variants in the table: 16, or as many as make 256 stretches."""
        return max(VARIANTS, 1 << max(_STRETCHES // self.groups, 1).bit_length() - 1)

    def _make_slots(self) -> NDArray[np.int64]:
        """Which slot each entry of the table's first half holds: (variants, slots)."""
        raise NotImplementedError

    def _column_squares(self, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """||column j||^2 for j < d, if every entry were ± sqrt(d) times the tensor's scale; `slots` are the stretches."""
        whole_segment = np.bincount(slots[: self.groups].reshape(-1), minlength=self.d)
        squares = np.zeros(self.d)
        # By name, so that the sum does not depend on the order in which tensors are listed.
        for name in sorted(self.sizes):
            segments, rest = divmod(self.sizes[name], self.groups * RUN)
            first = segments * self.groups
            stretches = self.places(name, range(first, first - (-rest // RUN)))
            partial = np.bincount(slots[stretches].reshape(-1)[:rest], minlength=self.d)
            squares += self.d * self.scale(name) ** 2 * (segments * whole_segment + partial)
        return squares

    def _expand(self, w: Tensor) -> Tensor:
        return w * self._slots_like(w).factors

    def _fold(self, expanded: Tensor) -> Tensor:
        return expanded * self._slots_like(expanded).factors

    def scaled(self, expanded: Tensor, name: str, *, moves: bool) -> Tensor:
        """The table: made when its scale is known, so that the scale is put on d numbers."""
        return self.table(super().scaled(expanded, name, moves=moves))

    def table(self, numbers: Tensor) -> Tensor:
        """Of the numbers of all coordinates, in memory of its own. A large one's takes as long to get as to fill."""
        slots, signs, _ = self._slots_like(numbers)
        table = self._empty_table(numbers)
        plus, minus = table.view(2, -1)
        with threads_for(table.numel()):
            torch.index_select(numbers, 0, slots, out=plus).mul_(signs)
            torch.neg(plus, out=minus)
            return table.add_(0.0)  # -0.0 is +0.0 then

    def _collected(self, total: Tensor) -> Tensor:
        slots, signs, _ = self._slots_like(total)
        plus, minus = total.view(2, -1)
        with threads_for(total.numel()):
            return total.new_zeros(self.d).index_add_(0, slots, plus.sub_(minus).mul_(signs))

    def _empty_table(self, like: Tensor) -> Tensor:
        return like.new_empty(2 * self.variants * self.groups, RUN)

    def _has_negative_zeros(self, scaled: Tensor) -> bool:  # noqa: ARG002 - never
        return False

    def _drawn(self, name: str, units: range) -> tuple[NDArray[np.signedinteger], ...]:
        """Places in the table with both halves, by the signs of the runs."""
        words = range(units.start // SIGNS, -(-units.stop // SIGNS))
        bits = self.bits(name, words)[units.start - words.start * SIGNS :][: len(units)]
        return (self.places(name, units) + bits * np.int32(self.variants * self.groups),)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        for units, (places,) in self._units(name, start, stop, expanded.device, self._drawn):
            made, (first, _) = tile(len(units), RUN, like=expanded), self._rows_of(units)
            torch.index_select(expanded, 0, places, out=made)
            yield made.view(-1)[max(start - first, 0) : stop - first]

    def _add_adjoint(self, total: Tensor, g: Tensor, name: str, start: int) -> None:
        for units, (places,) in self._units(name, start, start + g.numel(), g.device, self._drawn):
            # Rows are added in the order of their places: from a copy in the cache in half the time that they take from memory.
            # 64 bits, for with 32 it takes several times as long.
            near = tile(len(units), RUN, like=g).copy_(self._padded(g, start, units))
            total.index_add_(0, places.long(), near)

    def _slots_like(self, vector: Tensor) -> _Slots:
        key = (vector.device, vector.dtype)
        if key not in self._slots:
            coordinates, signs, factors = self._made
            self._slots[key] = _Slots(coordinates.to(vector.device), signs.to(vector.device), factors.to(vector))
        return self._slots[key]


class _Slots(NamedTuple):
    """For each entry of the table's first half its coordinate of w, and its sign; and of each coordinate its factor."""

    coordinates: Tensor
    signs: Tensor
    factors: Tensor
