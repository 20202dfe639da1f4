"""What a projection is: a fixed random linear map P: R^d -> R^D, made row by row and never stored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec

_DTYPES = (torch.float32, torch.float64)


class Projection(ABC):
    """P: R^d -> R^D, seen as one block of rows for each named tensor of a layout.

    Rows of a tensor depend on the seed, the tensor's name and the row's index, and on nothing else but
    the scale, which the layout fixes.

    Scale: E||P w||^2 = ||w||^2 over the randomness of P, for every family, d and D. With
    ``allocation="global"`` every row has expected squared norm d / D (Li et al. 2018); with
    ``"per_tensor"`` every tensor carries the same share of ||P w||^2 (as in SAID), so that biases move
    as far as matrices.

    A family implements `_rows` and `_adjoint_rows` for one tensor without the scale.
    """

    family: ClassVar[str]
    version: ClassVar[int] = 1
    #: Options of the family and their defaults; only integers, so that a spec has one spelling.
    default_options: ClassVar[dict[str, int]] = {}

    def __init__(self, spec: ProjectionSpec) -> None:
        if spec.family != self.family or spec.version != self.version:
            raise ConfigError(
                f"the specification is for {spec.family!r} version {spec.version}, "
                f"this is {self.family!r} version {self.version}"
            )
        if spec.dim > spec.num_rows:
            raise ConfigError(
                f"d must be at most D: got d = {spec.dim} directions for D = {spec.num_rows} weights; choose a smaller d"
            )
        self.sizes = dict(spec.layout)
        if len(self.sizes) < len(spec.layout):
            raise ConfigError("the layout names a tensor twice; give every tensor its own name")
        unknown = set(spec.options) - set(self.default_options)
        if unknown:
            raise ConfigError(
                f"unknown option {sorted(unknown)[0]!r} for {self.family!r}; it has {sorted(self.default_options)}"
            )
        self.spec = spec
        self.options = {**self.default_options, **spec.options}

    @property
    def d(self) -> int:
        """Number of columns."""
        return self.spec.dim

    @property
    def D(self) -> int:  # noqa: N802
        """Number of rows."""
        return self.spec.num_rows

    @property
    def shape(self) -> tuple[int, int]:
        """(D, d)."""
        return (self.D, self.d)

    def scale(self, name: str) -> float:
        """Factor that gives tensor `name` its share of E||P w||^2 = ||w||^2."""
        if self.spec.allocation == "global":
            return 1.0 / math.sqrt(self.D)
        return 1.0 / math.sqrt(len(self.sizes) * self._size(name))

    def rows(self, w: Tensor, *, name: str = "", start: int = 0, stop: int | None = None) -> Tensor:
        """Rows [start, stop) of P for tensor `name`, times w: shape (stop - start,). Differentiable in w."""
        stop = self._size(name) if stop is None else stop
        self._check_range(name, start, stop)
        self._check_vector(w, self.d, "w")
        return _apply(_Rows, w, None, self, name, start, stop)

    def move(self, theta_0: Tensor, w: Tensor, *, name: str) -> Tensor:
        """theta_0 + P w for tensor `name`, in the shape and dtype of theta_0. Differentiable in w.

        The sum is made in the wider precision of the two and cast last. At w = 0 it is theta_0 in every bit: P(-w) is
        subtracted, because -0.0 - 0.0 is -0.0 while -0.0 + 0.0 is +0.0.
        """
        if theta_0.numel() != self._size(name):
            raise ValueError(f"tensor {name!r} has {self._size(name)} weights in the layout, got {theta_0.numel()}")
        self._check_vector(w, self.d, "w")
        precision = torch.promote_types(theta_0.dtype, w.dtype)
        base = theta_0.detach().reshape(-1).to(precision)
        moved = _apply(_Rows, w.to(precision), base, self, name, 0, base.numel())
        return moved.view(theta_0.shape).to(theta_0.dtype)

    def adjoint_rows(self, g: Tensor, *, name: str = "", start: int = 0) -> Tensor:
        """P[start : start + len(g)]^T g for tensor `name`: shape (d,). Differentiable in g."""
        if g.ndim != 1:
            raise ValueError(f"g must be a vector, got shape {tuple(g.shape)}")
        self._check_range(name, start, start + g.numel())
        self._check_vector(g, g.numel(), "g")
        return _apply(_AdjointRows, g, self, name, start)

    def matvec(self, w: Tensor) -> Tensor:
        """P w, shape (D,), tensors in the order of the layout."""
        return torch.cat([self.rows(w, name=name) for name in self.sizes])

    def rmatvec(self, g: Tensor) -> Tensor:
        """P^T g, shape (d,)."""
        self._check_vector(g, self.D, "g")
        pieces = torch.split(g, list(self.sizes.values()))
        total = torch.zeros(self.d, dtype=g.dtype, device=g.device)
        for name, piece in zip(self.sizes, pieces, strict=True):
            total = total + self.adjoint_rows(piece, name=name)
        return total

    def to_dense(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """P as a (D, d) matrix, for small sizes."""
        identity = torch.eye(self.d, dtype=dtype)
        return torch.stack([self.matvec(column) for column in identity], dim=1)

    def __matmul__(self, w: Tensor) -> Tensor:
        return self.matvec(w)

    @property
    def T(self) -> _Transpose:  # noqa: N802
        """P^T, for ``P.T @ g``."""
        return _Transpose(self)

    @abstractmethod
    def _rows(self, w: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        """Unscaled rows [start, stop) times w, in consecutive pieces that the caller may overwrite.

        E of each entry squared is ||w||^2. A row's bits must not depend on start and stop.
        """

    @abstractmethod
    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        """Unscaled rows, transposed, times g."""

    def _assemble(self, w: Tensor, base: Tensor | None, name: str, start: int, stop: int) -> Tensor:
        """P w, or base + P w; the scale is put on w, which is d long where the rows are D long."""
        scaled = w.detach() * (self.scale(name) if base is None else -self.scale(name))
        out, position = w.new_empty(stop - start), 0
        for piece in self._rows(scaled, name, start, stop):
            part = slice(position, position + piece.numel())
            position = part.stop
            # Sign flips make -0.0 of +0.0; adding +0.0 makes all zeros +0.0 and changes nothing else.
            if base is None:
                torch.add(piece, 0.0, out=out[part])
            else:
                torch.sub(base[part], piece.add_(0.0), out=out[part])
        return out

    def _check_range(self, name: str, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self._size(name):
            raise ValueError(f"rows [{start}, {stop}) are not within [0, {self._size(name)}) of tensor {name!r}")

    def _size(self, name: str) -> int:
        try:
            return self.sizes[name]
        except KeyError:
            raise KeyError(f"no tensor {name!r} in the layout; it has {list(self.sizes)[:5]}…") from None

    @staticmethod
    def _check_vector(vector: Tensor, length: int, what: str) -> None:
        if vector.shape != (length,):
            raise ValueError(f"{what} must have shape ({length},), got {tuple(vector.shape)}")
        if vector.dtype not in _DTYPES:
            raise ValueError(f"{what} must be float32 or float64, got {vector.dtype}; the projection is done in full precision")


class _Transpose:
    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def __matmul__(self, g: Tensor) -> Tensor:
        return self._projection.rmatvec(g)


class _Context(Protocol):
    projection: Projection
    name: str
    start: int
    stop: int


class _Rows(torch.autograd.Function):
    """w -> base + P[start:stop] w. Its derivative is the adjoint, and the derivative of that is this again."""

    @staticmethod
    def forward(
        ctx: _Context, w: Tensor, base: Tensor | None, projection: Projection, name: str, start: int, stop: int
    ) -> Tensor:
        ctx.projection, ctx.name, ctx.start = projection, name, start
        with _one_thread():
            return projection._assemble(w, base, name, start, stop)

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        adjoint = _apply(_AdjointRows, grad.contiguous(), ctx.projection, ctx.name, ctx.start)
        return adjoint, None, None, None, None, None


class _AdjointRows(torch.autograd.Function):
    """g -> P[start:]^T g."""

    @staticmethod
    def forward(ctx: _Context, g: Tensor, projection: Projection, name: str, start: int) -> Tensor:
        ctx.projection, ctx.name, ctx.start, ctx.stop = projection, name, start, start + g.numel()
        with _one_thread():
            return projection._adjoint_rows(g.detach(), name, start).mul_(projection.scale(name))

    @staticmethod
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows = _apply(_Rows, grad.contiguous(), None, ctx.projection, ctx.name, ctx.start, ctx.stop)
        return rows, None, None, None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it torch uses one thread.

    A product is thousands of short operations. Sharing each among threads gains a little on an idle machine and
    loses far more where another process holds a core, because every one of them then waits for a thread that is
    not running.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _apply(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    """`function.apply`, which torch leaves untyped."""
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result
