"""P^T g of many tensors, added up as their gradients arrive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from idbounds.projections.threads import run_in_parts

if TYPE_CHECKING:
    from idbounds.projections.base import Projection

#: Gradients of one dtype wait until they have so many bytes. On a GPU a launch for each would take longer than the products of
#: most of them. On a CPU those with more do not wait: between two products of matrices nothing of the way to a kernel is in a
#: cache, and to go it takes as long as some 2^20 numbers.
_WAITING = {"cuda": 2**25, "cpu": 2**22}


def small_together(tensors: Sequence[Tensor]) -> Iterator[slice]:
    """Neighbours whose gradients wait for one another to arrive: half the bytes that may wait for a product, or one alone."""
    start, size = 0, 0
    for index, tensor in enumerate(tensors):
        size += tensor.nbytes
        if index > start and size > _WAITING.get(tensor.device.type, 0) // 2:
            yield slice(start, index)
            start, size = index, tensor.nbytes
    if tensors:
        yield slice(start, len(tensors))


class Gradient(NamedTuple):
    """The gradient of rows of a tensor: of those from `start` on, or of the rows of a matrix that indices name."""

    g: Tensor
    name: str
    start: int
    indices: Tensor | None = None  # where the projection `looks_up`; g is as wide as the matrix then


class AdjointSum:
    """The sum of P_i^T g_i over tensors i, in `dtype`, before `_fold`.

    A model has a hundred tensors, most of them smaller than the table that their rows are made from. So one table is filled
    by all tensors that have the same scale, and is scaled once: to make one for each tensor took longer than the products.

    Backward passes through one graph have a sum each, so what a pass that failed has left behind is in no other's.
    """

    def __init__(self, projection: Projection, dtype: torch.dtype) -> None:
        self._projection, self._dtype = projection, dtype
        self._passes: dict[int, _Sum] = {}

    def add(self, gradients: Iterable[Gradient]) -> None:
        """The rows of each gradient, which may be of any dtype, transposed, times it."""
        current = _current_pass()
        if current not in self._passes:
            self._passes[current] = _Sum(self._projection, self._dtype)
        for gradient in gradients:
            self._passes[current].add(gradient)

    def take(self) -> Tensor | None:
        """The sum of what this pass has added, None if that is nothing. Afterwards nothing is in it."""
        finished = self._passes.pop(_current_pass(), None)
        return None if finished is None else finished.total()


def _current_pass() -> int:
    """A number for each backward pass, as torch.utils.checkpoint tells them apart; -1 outside of any."""
    return torch._C._current_graph_task_id()


class _Waiting:
    """Gradients of one dtype, which kernels take together, that wait for their product."""

    def __init__(self) -> None:
        self.gradients: list[Gradient] = []
        self.size = 0  # in bytes


class _Sum:
    """A table for each part of a product that has a thread of its own: bits depend on their number, not on their timing."""

    def __init__(self, projection: Projection, dtype: torch.dtype) -> None:
        self._projection, self._dtype, self._scale = projection, dtype, 0.0
        self._tables: list[Tensor] = []
        self._waiting: defaultdict[torch.dtype, _Waiting] = defaultdict(_Waiting)
        self._scaled: Tensor | None = None

    def add(self, gradient: Gradient) -> None:
        scale = self._projection.scale(gradient.name)
        if scale != self._scale:
            self._scaled, self._tables, self._scale = self.total(), [], scale
        size, most = gradient.g.nbytes, _WAITING.get(gradient.g.device.type, 0)
        waiting = self._waiting[gradient.g.dtype]
        if gradient.g.device.type == "cpu" and size > most:
            self._multiply(waiting)  # in the order in which they arrived, so that waiting changes no bit
            self._multiply_in_parts(gradient)
            return
        waiting.gradients.append(gradient)
        waiting.size += size
        if waiting.size >= most:
            self._multiply(waiting)

    def _multiply_in_parts(self, gradient: Gradient) -> None:
        g, name, start = gradient.g.to(self._dtype), gradient.name, gradient.start
        projection, tables = self._projection, self._tables

        def part(number: int, begin: int, end: int) -> Tensor:
            earlier = tables[number] if number < len(tables) else None
            return projection._add_adjoint_rows(earlier, g[begin - start : end - start], name, begin)

        made = run_in_parts(part, start, start + g.numel(), edge=projection.tile_rows, device=g.device)
        self._tables = [*made, *tables[len(made) :]]

    def _multiply(self, waiting: _Waiting) -> None:
        if waiting.gradients:
            table = self._tables[0] if self._tables else None
            self._tables[:1] = [self._projection._add_adjoints(table, waiting.gradients, dtype=self._dtype)]
            waiting.gradients, waiting.size = [], 0

    def total(self) -> Tensor | None:
        for waiting in self._waiting.values():
            self._multiply(waiting)
        total: Tensor | None = None
        for table in self._tables:
            total = table if total is None else total + table
        if total is None:
            return self._scaled
        scaled = self._projection._collected(total) * self._scale
        return scaled if self._scaled is None else self._scaled + scaled
