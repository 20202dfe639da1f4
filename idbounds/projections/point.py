"""The rows of a projection times one w."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from idbounds.projections import derivatives

if TYPE_CHECKING:
    from idbounds.projections.base import Projection


class Write(NamedTuple):
    """All rows of a tensor, to be written to memory: P w, or base + P w."""

    name: str
    out: Tensor
    base: Tensor | None


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
        scaled = self._scaled_for(name, moves=False)
        return derivatives.rows(self._projection, self._source, scaled, name, start, stop)

    def move(self, theta_0: Tensor, *, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """theta_0 + P w for tensor `name`, in the shape of theta_0 and, unless another dtype is named, in its dtype.

        The sum is made in the wider precision of theta_0 and w and cast last. At w = 0 it is theta_0 in every bit.
        """
        size = self._projection.size(name)
        if theta_0.numel() != size:
            raise ValueError(f"tensor {name!r} has {size} weights in the layout, got {theta_0.numel()}")
        point = self._wide_enough_for(theta_0)
        out = torch.empty_like(theta_0, dtype=dtype, memory_format=torch.contiguous_format, requires_grad=False)
        point.write(out, name=name, theta_0=theta_0)
        return point.held(out, name=name)

    def looked_up(self, theta_0: Tensor, indices: Tensor, *, name: str, padding: int | None = None) -> Tensor:
        """The rows of the matrix theta_0 + P w that indices, (n,), name: (n, columns), as `move` makes them, without the rest.

        As in `torch.nn.Embedding` the row `padding` has no gradient.

        Raises:
            IndexError: an index names no row.
        """
        point = self._wide_enough_for(theta_0)
        scaled = point._scaled_for(name, moves=True)
        return derivatives.looked_up(self._projection, point._source, scaled, theta_0, indices, name, padding)

    def _wide_enough_for(self, theta_0: Tensor) -> Point:
        """This point in the wider precision of theta_0 and w."""
        expanded = self._source.expanded
        precision = torch.promote_types(theta_0.dtype, expanded.dtype)
        return self if precision == expanded.dtype else Point(self._projection, expanded.to(precision))

    def _scaled_for(self, name: str, *, moves: bool) -> Tensor:
        """As `assemble` takes it; kept for the next tensor, which has the same scale unless norms are shared by tensor."""
        factor = self._projection.factor(name, moves=moves)
        if self._scaled is None or self._scaled[0] != factor:
            self._scaled = (factor, self._projection.scaled(self._source.expanded.detach(), name, moves=moves))
        return self._scaled[1]

    def write(self, out: Tensor, *, name: str, theta_0: Tensor | None = None) -> None:
        """P w, or theta_0 + P w, for tensor `name` into memory that is there already; see `write_all`."""
        self.write_all([Write(name, out, theta_0)])

    @torch.no_grad()
    def write_all(self, writes: Sequence[Write]) -> None:
        """P w, or theta_0 + P w where there is a base, for several tensors into memory that is there; without derivative.

        Filling fresh memory takes the operating system longer than the product takes. The sum is made as `move` makes it,
        and cast to the dtype of the memory last.
        """
        alike: dict[tuple[Point, float], list[Write]] = {}
        for name, out, base in writes:
            size = self._projection.size(name)
            for what, tensor in (("out", out), ("theta_0", base)):
                if tensor is not None and tensor.numel() != size:
                    raise ValueError(f"{what} must hold the {size} numbers of tensor {name!r}, got {tensor.numel()}")
            if not out.is_contiguous():
                raise ValueError("out must be contiguous in memory; write to a contiguous tensor and copy it")
            point = self if base is None else self._wide_enough_for(base)
            flat = Write(name, out.view(-1), None if base is None else base.detach().reshape(-1))
            alike.setdefault((point, self._projection.factor(name, moves=base is not None)), []).append(flat)
        for (point, _), some in alike.items():
            first = some[0]
            self._projection.assemble_all(point._scaled_for(first.name, moves=first.base is not None), some)
