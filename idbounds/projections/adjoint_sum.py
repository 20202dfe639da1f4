"""P^T g of many tensors, added up as their gradients arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from idbounds.projections.threads import run_in_parts

if TYPE_CHECKING:
    from idbounds.projections.base import Projection


class AdjointSum:
    """The sum of P_i^T g_i over tensors i, before `_fold`.

    A model has a hundred tensors, most of them smaller than the table that their rows are made from. So one table is filled
    by all tensors that have the same scale, and is scaled once: to make one for each tensor took longer than the products.

    Backward passes through one graph have a sum each, so what a pass that failed has left behind is in no other's.
    """

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._passes: dict[int, _Sum] = {}

    def add(self, g: Tensor, name: str, start: int) -> None:
        """Rows from `start` on of tensor `name`, transposed, times g."""
        self._passes.setdefault(_current_pass(), _Sum(self._projection)).add(g, name, start)

    def take(self) -> Tensor | None:
        """The sum of what this pass has added, None if that is nothing. Afterwards nothing is in it."""
        finished = self._passes.pop(_current_pass(), None)
        return None if finished is None else finished.total()


def _current_pass() -> int:
    """A number for each backward pass, as torch.utils.checkpoint tells them apart; -1 outside of any."""
    return torch._C._current_graph_task_id()


class _Sum:
    """A table for each part of a product that has a thread of its own: bits depend on their number, not on their timing."""

    def __init__(self, projection: Projection) -> None:
        self._projection, self._scale = projection, 0.0
        self._tables: list[Tensor] = []
        self._scaled: Tensor | None = None

    def add(self, g: Tensor, name: str, start: int) -> None:
        projection, scale = self._projection, self._projection.scale(name)
        if scale != self._scale:
            self._scaled, self._tables, self._scale = self.total(), [], scale
        tables = self._tables

        def part(number: int, begin: int, end: int) -> Tensor:
            earlier = tables[number] if number < len(tables) else None
            return projection._add_adjoint_rows(earlier, g[begin - start : end - start], name, begin)

        made = run_in_parts(part, start, start + g.numel(), edge=projection.tile_rows, device=g.device)
        self._tables = [*made, *tables[len(made) :]]

    def total(self) -> Tensor | None:
        total: Tensor | None = None
        for table in self._tables:
            total = table if total is None else total + table
        if total is None:
            return self._scaled
        scaled = total * self._scale
        return scaled if self._scaled is None else self._scaled + scaled
