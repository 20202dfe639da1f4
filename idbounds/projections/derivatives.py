"""The derivatives of a projection: each linear map's is its transpose, and the transpose's is the map again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.projections.adjoint_sum import AdjointSum, Gradient
from idbounds.projections.lookup import LookedUp

if TYPE_CHECKING:
    from idbounds.projections.base import Projection


def expand(projection: Projection, w: Tensor) -> Tensor:
    """`projection._expand`, differentiable."""
    return _apply(_Expand, w, projection) if _is_followed(w) else projection._expand(w.detach())


def fold(projection: Projection, expanded: Tensor) -> Tensor:
    """`projection._fold`, differentiable."""
    return _apply(_Fold, expanded, projection) if _is_followed(expanded) else projection._fold(expanded.detach())


class Source(NamedTuple):
    """What the rows of several tensors are made from, and how their gradients come back to it.

    The gradients of rows go into `total`, where autograd would add up a table for each tensor. `ticket` is a number without
    a value: through it autograd asks for the total when all of them have arrived.
    """

    expanded: Tensor
    ticket: Tensor
    total: AdjointSum


def source(projection: Projection, expanded: Tensor) -> Source:
    """For `rows` and `held_rows`."""
    total = AdjointSum(projection, expanded.dtype)
    return Source(expanded, _apply(_Collect, expanded, total) if _is_followed(expanded) else expanded, total)


def rows(projection: Projection, source: Source, scaled: Tensor, name: str, start: int, stop: int) -> Tensor:
    """`projection.assemble` of `scaled`, which is made from `source.expanded` and differentiable in it."""
    return _apply(_Rows, *source, scaled, projection, name, start, stop)


def held_rows(projection: Projection, source: Source, memories: Sequence[Tensor], names: Sequence[str]) -> tuple[Tensor, ...]:
    """All rows of each tensor, written to memory, of any dtype: that memory itself, differentiable in `source.expanded`.

    One node of autograd's graph for all of them: a model has hundreds, and a node in Python costs more than the product of
    most. It takes their gradients when the last of them has arrived.
    """
    held: tuple[Tensor, ...] = _HeldRows.apply(*source, memories, projection, names)  # type: ignore[no-untyped-call]
    return held


def looked_up(
    projection: Projection, source: Source, scaled: Tensor, theta_0: Tensor, indices: Tensor, name: str, padding: int | None
) -> Tensor:
    """`LookedUp.moved_rows`, differentiable in `source.expanded`, from which `scaled` is made."""
    return _apply(_LookedUp, *source, scaled, projection, theta_0, indices, name, padding)


def adjoint_rows(projection: Projection, g: Tensor, name: str, start: int) -> Tensor:
    """`projection.assemble_adjoint`, differentiable in g."""
    if _is_followed(g):
        return _apply(_AdjointRows, g, projection, name, start)
    return projection.assemble_adjoint(g.detach(), name, start)


class _Context(Protocol):
    projection: Projection
    total: AdjointSum
    name: str
    names: Sequence[str]
    start: int
    stop: int
    dtype: torch.dtype
    looked_up: LookedUp

    def set_materialize_grads(self, value: bool) -> None: ...


class _Expand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, w: Tensor, projection: Projection) -> Tensor:
        ctx.projection = projection
        return projection._expand(w.detach())

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return fold(ctx.projection, grad.contiguous()), None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, expanded: Tensor, projection: Projection) -> Tensor:
        ctx.projection = projection
        return projection._fold(expanded.detach())

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return expand(ctx.projection, grad.contiguous()), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, expanded: Tensor, total: AdjointSum) -> Tensor:
        ctx.total = total
        ctx.set_materialize_grads(False)
        return expanded.new_empty(())

    @staticmethod
    def backward(ctx: _Context, _: None) -> tuple[Tensor | None, ...]:
        return ctx.total.take(), None


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        expanded: Tensor,
        ticket: Tensor,  # noqa: ARG004 - it is here for its edge in autograd's graph
        total: AdjointSum,
        scaled: Tensor,
        projection: Projection,
        name: str,
        start: int,
        stop: int,
    ) -> Tensor:
        ctx.projection, ctx.total, ctx.name, ctx.start, ctx.dtype = projection, total, name, start, expanded.dtype
        return projection.assemble(scaled, None, name, start, stop)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _to_source(ctx, [Gradient(grad.contiguous(), ctx.name, ctx.start)]), *[None] * 7


class _HeldRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        expanded: Tensor,
        ticket: Tensor,  # noqa: ARG004
        total: AdjointSum,
        memories: Sequence[Tensor],
        projection: Projection,
        names: Sequence[str],
    ) -> tuple[Tensor, ...]:
        ctx.projection, ctx.total, ctx.names, ctx.dtype = projection, total, names, expanded.dtype
        ctx.set_materialize_grads(False)
        return tuple(memory.detach() for memory in memories)

    @staticmethod
    def backward(ctx: _Context, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        # In the order in which they would arrive one by one, where tensors were asked for in the order of their names.
        of_tensors = reversed(list(zip(grads, ctx.names, strict=True)))
        arrived = [Gradient(grad.reshape(-1), name, 0) for grad, name in of_tensors if grad is not None]
        return _to_source(ctx, arrived), *[None] * 5


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        expanded: Tensor,
        ticket: Tensor,  # noqa: ARG004
        total: AdjointSum,
        scaled: Tensor,
        projection: Projection,
        theta_0: Tensor,
        indices: Tensor,
        name: str,
        padding: int | None,
    ) -> Tensor:
        ctx.projection, ctx.total, ctx.name, ctx.dtype = projection, total, name, expanded.dtype
        if not projection.looks_up(scaled):
            ctx.looked_up = LookedUp(indices, name=name, shape=theta_0.shape, padding=padding)
            return ctx.looked_up.moved_rows(projection, scaled, theta_0.detach())
        # A copy: the backward pass looks at them again, and their owner may have written the next batch to their memory.
        ctx.looked_up = LookedUp(indices.clone(), name=name, shape=theta_0.shape, padding=padding)
        ctx.looked_up.require_in_range()
        return projection.looked_up(scaled, theta_0.detach(), indices, name)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.projection.looks_up(grad) and not torch.is_grad_enabled():
            gradients: Iterable[Gradient] = [ctx.looked_up.gradient(grad)]
        else:
            gradients = ctx.looked_up.gradients_in_blocks(grad, dtype=ctx.dtype)
        return _to_source(ctx, gradients), *[None] * 8


def _to_source(ctx: _Context, gradients: Iterable[Gradient]) -> Tensor | None:
    """From gradients of rows that of `expanded`, or None where it is in the total.

    What is to be differentiated again has no part in that.
    """
    if torch.is_grad_enabled():
        made = [adjoint_rows(ctx.projection, g.to(ctx.dtype), name, start) for g, name, start, _ in gradients]
        return torch.stack(made).sum(0) if made else None
    ctx.total.add(gradients)
    return None


class _AdjointRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, g: Tensor, projection: Projection, name: str, start: int) -> Tensor:
        ctx.projection, ctx.name, ctx.start, ctx.stop = projection, name, start, start + g.numel()
        return projection.assemble_adjoint(g.detach(), name, start)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        projection, expanded = ctx.projection, grad.contiguous()
        scaled = projection.scaled(expanded.detach(), ctx.name, moves=False)
        made = rows(projection, source(projection, expanded), scaled, ctx.name, ctx.start, ctx.stop)
        return made, None, None, None


def _is_followed(tensor: Tensor) -> bool:
    """Whether autograd records what is made from it. Where not, the classes here would cost as much as small products."""
    return tensor.requires_grad and torch.is_grad_enabled()


def _apply(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    """`function.apply`, which torch leaves untyped."""
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result
