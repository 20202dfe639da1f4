"""The rows of a projection times one w."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    def held(self, memories: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What `write_all` has put into memory, in any shape and dtype, by the tensors' names: the same memory, differentiable
        in w. Their gradients live until all of them have arrived.
        """
        return derivatives.held_rows(self._projection, self._source, tuple(memories.values()), tuple(memories))

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
        (theta,) = point.held({name: out})
        return theta

    def looked_up(self, theta_0: Tensor, indices: Tensor, *, name: str, padding: int | None = None) -> Tensor:
        """The rows of the matrix theta_0 + P w that indices, (n,), name: (n, columns), as `move` makes them, without the rest.

        As in `torch.nn.Embedding` the row `padding` has no gradient.

        Raises:
            IndexError: an index names no row.
        """
        point = self._wide_enough_for(theta_0)
        scaled = point._scaled_for(name, moves=True)
        return derivatives.looked_up(self._projection, point._source, scaled, theta_0, indices, name, padding)

    def in_precision(self, dtype: torch.dtype) -> Point:
        """This point, with w in a dtype."""
        expanded = self._source.expanded
        return self if dtype == expanded.dtype else Point(self._projection, expanded.to(dtype))

    def _wide_enough_for(self, theta_0: Tensor) -> Point:
        """This point in the wider precision of theta_0 and w."""
        return self.in_precision(torch.promote_types(theta_0.dtype, self._source.expanded.dtype))

    def _scaled_for(self, name: str, *, moves: bool) -> Tensor:
        """As `assemble` takes it; kept for the next tensor, which has the same scale unless norms are shared by tensor."""
        factor = self._projection.factor(name, moves=moves)
        if self._scaled is None or self._scaled[0] != factor:
            self._scaled = (factor, self._projection.scaled(self._source.expanded.detach(), name, moves=moves))
        return self._scaled[1]

    def write(self, out: Tensor, *, name: str, theta_0: Tensor | None = None) -> None:
        """P w, or theta_0 + P w, for tensor `name` into memory that is there already; see `write_all`."""
        self.write_all([Write(name, out, theta_0)])

    def write_all(self, writes: Sequence[Write]) -> None:
        """P w, or theta_0 + P w where there is a base, for several tensors into memory that is there; without derivative.

        Filling fresh memory takes the operating system longer than the product takes. The sum is made as `move` makes it,
        and cast to the dtype of the memory last.
        """
        self.writing(writes).write(self)

    def writing(self, writes: Sequence[Write]) -> Writing:
        """What `write_all` does with these, for any point of the projection with w of this dtype on this device.

        A base that is not contiguous in memory is copied, now.
        """
        return Writing(self._projection, writes, like=self._source.expanded)


class _Alike(NamedTuple):
    """Tensors that are written from w in one precision and at one scale."""

    precision: torch.dtype
    name: str  # of one of them
    moves: bool
    assemble: Callable[[Tensor], None]


class Writing:
    """Rows of several tensors, to be written to the same memory for one w after another. What can be known once is."""

    def __init__(self, projection: Projection, writes: Sequence[Write], *, like: Tensor) -> None:
        alike: dict[tuple[torch.dtype, float], list[Write]] = {}
        for name, out, base in writes:
            size = projection.size(name)
            for what, tensor in (("out", out), ("theta_0", base)):
                if tensor is not None and tensor.numel() != size:
                    raise ValueError(f"{what} must hold the {size} numbers of tensor {name!r}, got {tensor.numel()}")
            if not out.is_contiguous():
                raise ValueError("out must be contiguous in memory; write to a contiguous tensor and copy it")
            precision = like.dtype if base is None else torch.promote_types(base.dtype, like.dtype)
            flat = Write(name, out.view(-1), None if base is None else base.detach().reshape(-1))
            alike.setdefault((precision, projection.factor(name, moves=base is not None)), []).append(flat)
        self._alike = []
        for (precision, _), some in alike.items():
            assemble = projection.assembling(some, like=like.to(precision))
            self._alike.append(_Alike(precision, some[0].name, some[0].base is not None, assemble))

    @torch.no_grad()
    def write(self, point: Point) -> None:
        """Write them for a point."""
        for precision, name, moves, assemble in self._alike:
            assemble(point.in_precision(precision)._scaled_for(name, moves=moves))
