"""The rows of a projection times one w."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from idbounds.projections import derivatives

if TYPE_CHECKING:
    from idbounds.projections.base import Projection


class Point:
    """P w for one w, made tensor by tensor as it is asked for. Differentiable in w."""

    def __init__(self, projection: Projection, expanded: Tensor) -> None:
        self._projection = projection
        self._source = derivatives.source(projection, expanded)
        self._scaled: tuple[float, Tensor] | None = None

    @cached_property
    def detached(self) -> Point:
        """The same point, without derivative."""
        return Point(self._projection, self._source.expanded.detach())

    def held(self, memory: Tensor, *, name: str) -> Tensor:
        """What `write` has put into memory, in any shape and dtype: the same memory, differentiable in w."""
        return derivatives.held_rows(self._projection, self._source, memory, name)

    def rows(self, *, name: str = "", start: int = 0, stop: int | None = None) -> Tensor:
        """Rows [start, stop) of P for tensor `name`, times w: shape (stop - start,)."""
        stop = self._projection.size(name) if stop is None else stop
        self._projection._check_range(name, start, stop)
        return self._rows(None, name, start, stop)

    def move(self, theta_0: Tensor, *, name: str) -> Tensor:
        """theta_0 + P w for tensor `name`, in the shape and dtype of theta_0.

        The sum is made in the wider precision of the two and cast last. At w = 0 it is theta_0 in every bit.
        """
        size, expanded = self._projection.size(name), self._source.expanded
        if theta_0.numel() != size:
            raise ValueError(f"tensor {name!r} has {size} weights in the layout, got {theta_0.numel()}")
        precision = torch.promote_types(theta_0.dtype, expanded.dtype)
        point = self if precision == expanded.dtype else Point(self._projection, expanded.to(precision))
        moved = point._rows(theta_0.detach().reshape(-1).to(precision), name, 0, size)
        return moved.view(theta_0.shape).to(theta_0.dtype)

    def _rows(self, base: Tensor | None, name: str, start: int, stop: int) -> Tensor:
        return derivatives.rows(self._projection, self._source, self._scaled_for(name, base), base, name, start, stop)

    def _scaled_for(self, name: str, base: Tensor | None) -> Tensor:
        """As `assemble` takes it; kept for the next tensor, which has the same scale unless norms are shared by tensor."""
        moves = base is not None
        factor = self._projection.factor(name, moves=moves)
        if self._scaled is None or self._scaled[0] != factor:
            self._scaled = (factor, self._projection.scaled(self._source.expanded.detach(), name, moves=moves))
        return self._scaled[1]

    @torch.no_grad()
    def write(self, out: Tensor, *, name: str, theta_0: Tensor | None = None) -> None:
        """P w, or theta_0 + P w, for tensor `name` into memory that is there already; without derivative.

        Filling fresh memory takes the operating system longer than the product takes. In a dtype other than w's, the sum is
        made as `move` makes it, in fresh memory.
        """
        size = self._projection.size(name)
        for what, tensor in (("out", out), ("theta_0", theta_0)):
            if tensor is not None and tensor.numel() != size:
                raise ValueError(f"{what} must hold the {size} numbers of tensor {name!r}, got {tensor.numel()}")
        dtype = self._source.expanded.dtype
        if {out.dtype, dtype if theta_0 is None else theta_0.dtype} != {dtype}:
            made = self.rows(name=name) if theta_0 is None else self.move(theta_0, name=name)
            out.copy_(made.view(out.shape))
            return
        if not out.is_contiguous():
            raise ValueError("out must be contiguous in memory; write to a contiguous tensor and copy it")
        base = None if theta_0 is None else theta_0.detach().reshape(-1)
        self._projection.assemble(self._scaled_for(name, base), base, name, 0, size, out.view(-1))
