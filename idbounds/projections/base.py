"""What a projection is: a fixed random linear map P: R^d -> R^D, made row by row and never stored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.values import ProjectionSpec
from idbounds.projections import derivatives
from idbounds.projections.adjoint_sum import AdjointSum, Gradient
from idbounds.projections.point import Point, Write
from idbounds.projections.threads import one_thread, run_in_parts

_DTYPES = (torch.float32, torch.float64)

#: A torch tensor or a numpy array; what goes in comes out.
Vector = TypeVar("Vector", Tensor, NDArray[np.floating])


class Projection(ABC):
    """P: R^d -> R^D, seen as one block of rows for each named tensor of a layout.

    Rows of a tensor depend on the seed, the tensor's name and the row's index, and on nothing else but
    the scale, which the layout fixes.

    Scale: E||P w||^2 = ||w||^2 over the randomness of P, for every family, d and D. With
    ``allocation="global"`` every row has expected squared norm d / D (Li et al. 2018); with
    ``"per_tensor"`` every tensor carries the same share of ||P w||^2 (as in SAID), so that biases move
    as far as matrices.

    A family implements `_rows` and `_adjoint_rows` for one tensor without the scale. What all tensors need of w, it
    computes once in `_expand`, whose transpose is `_fold`.
    """

    family: ClassVar[str]
    version: ClassVar[int] = 1
    #: Options of the family and their defaults; only integers, so that a spec has one spelling.
    default_options: ClassVar[dict[str, int]] = {}
    #: Rows of a tensor do not depend on which other tensors there are, but for the scale.
    independent_tensors: ClassVar[bool] = True
    #: Rows are made in pieces of so many; work is divided among threads at their edges.
    tile_rows: int = 2**18

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

    @cached_property
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
        return 1.0 / math.sqrt(len(self.sizes) * self.size(name))

    def size(self, name: str) -> int:
        """Number of rows of tensor `name`."""
        try:
            return self.sizes[name]
        except KeyError:
            raise KeyError(f"no tensor {name!r} in the layout; it has {list(self.sizes)[:5]}…") from None

    def at(self, w: Tensor) -> Point:
        """P w, not yet made: take its rows tensor by tensor. What the tensors share is computed here, once."""
        self._check_vector(w, self.d, "w")
        return Point(self, derivatives.expand(self, w))

    def rows(self, w: Tensor, *, name: str = "", start: int = 0, stop: int | None = None) -> Tensor:
        """Rows [start, stop) of P for tensor `name`, times w: shape (stop - start,). Differentiable in w."""
        return self.at(w).rows(name=name, start=start, stop=stop)

    def move(self, theta_0: Tensor, w: Tensor, *, name: str) -> Tensor:
        """theta_0 + P w for tensor `name`; see `Point.move`."""
        return self.at(w).move(theta_0, name=name)

    def adjoint_rows(self, g: Tensor, *, name: str = "", start: int = 0) -> Tensor:
        """P[start : start + len(g)]^T g for tensor `name`: shape (d,). Differentiable in g."""
        return derivatives.fold(self, self._adjoint_of(g, name, start))

    def matvec(self, w: Vector) -> Vector:
        """P w, shape (D,), tensors in the order of the layout."""
        point = self.at(torch.as_tensor(w))
        image = torch.cat([point.rows(name=name) for name in self.sizes])
        return image if isinstance(w, Tensor) else image.numpy()

    def rmatvec(self, g: Vector) -> Vector:
        """P^T g, shape (d,)."""
        gradient = torch.as_tensor(g)
        self._check_vector(gradient, self.D, "g")
        pieces = torch.split(gradient, list(self.sizes.values()))
        total: Tensor | None = None
        for name, piece in zip(self.sizes, pieces, strict=True):
            part = self._adjoint_of(piece, name, 0)
            total = part if total is None else total + part
        assert total is not None, "a layout has at least one tensor"
        adjoint = derivatives.fold(self, total)
        return adjoint if isinstance(g, Tensor) else adjoint.numpy()

    def to_dense(self, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """P as a (D, d) matrix, for small sizes."""
        identity = torch.eye(self.d, dtype=dtype)
        return torch.stack([self.matvec(column) for column in identity], dim=1)

    def as_linear_operator(self) -> LinearOperator:
        """P for scipy.sparse.linalg, in float64."""

        def apply(vector: NDArray[np.float64]) -> NDArray[np.floating]:
            return self.matvec(np.ascontiguousarray(vector.reshape(-1), dtype=np.float64))

        def apply_transposed(vector: NDArray[np.float64]) -> NDArray[np.floating]:
            return self.rmatvec(np.ascontiguousarray(vector.reshape(-1), dtype=np.float64))

        return LinearOperator(self.shape, matvec=apply, rmatvec=apply_transposed, dtype=np.float64)

    def __matmul__(self, w: Vector) -> Vector:
        return self.matvec(w)

    @property
    def T(self) -> _Transpose:  # noqa: N802
        """P^T, for ``P.T @ g``."""
        return _Transpose(self)

    def _expand(self, w: Tensor) -> Tensor:
        """What the rows of every tensor are made from: w itself, or a linear image of it, in storage of its own."""
        return w.clone()

    def _fold(self, expanded: Tensor) -> Tensor:
        """The transpose of `_expand`."""
        return expanded.clone()

    @abstractmethod
    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        """Unscaled rows [start, stop) times w, in consecutive pieces that the caller may overwrite.

        E of each entry squared is ||w||^2. A row's bits must not depend on start and stop.
        """

    def _has_negative_zeros(self, scaled: Tensor) -> bool:  # noqa: ARG002 - families ask
        """Whether `_rows` of what `scaled` gives may have -0.0, as sign flips make them."""
        return True

    @abstractmethod
    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        """Unscaled rows, transposed, times g; of the shape that `_expand` gives."""

    def _add_adjoint_rows(self, total: Tensor | None, g: Tensor, name: str, start: int) -> Tensor:
        """`_adjoint_rows`, added to a total, which may be changed."""
        rows = self._adjoint_rows(g, name, start)
        return rows if total is None else total + rows

    def _add_adjoints(self, total: Tensor | None, gradients: Sequence[Gradient], *, dtype: torch.dtype) -> Tensor:
        """`_add_adjoint_rows` of gradients, at least one, that may be of any dtype; the total has `dtype`."""
        with one_thread():
            for g, name, start, _ in gradients:
                total = self._add_adjoint_rows(total, g.to(dtype), name, start)
        assert total is not None, "there is a gradient"
        return total

    def _collected(self, total: Tensor) -> Tensor:
        """A total of `_add_adjoint_rows`, used up, in the shape that `_expand` gives."""
        return total

    def _write(self, expanded: Tensor, base: Tensor | None, out: Tensor, name: str, start: int) -> None:
        """Write P w, or base - P w, to `out`: the rows from `start` on. `expanded` has the scale in it already."""
        position, has_negative_zeros = 0, self._has_negative_zeros(expanded)
        for piece in self._rows(expanded, name, start, start + out.numel()):
            part = slice(position, position + piece.numel())
            position = part.stop
            # Adding +0.0 makes all zeros +0.0 and changes nothing else.
            if base is None:
                torch.add(piece, 0.0, out=out[part])
            else:
                torch.sub(base[part], piece.add_(0.0) if has_negative_zeros else piece, out=out[part])

    def factor(self, name: str, *, moves: bool) -> float:
        """The scale of tensor `name`, negative where `assemble` moves a base."""
        return -self.scale(name) if moves else self.scale(name)

    def scaled(self, expanded: Tensor, name: str, *, moves: bool) -> Tensor:
        """What `assemble` takes: the scale is put on the short side of P."""
        # Adding +0.0 makes every zero +0.0.
        return (expanded * self.factor(name, moves=moves)).add_(0.0)

    def assemble(
        self, scaled: Tensor, base: Tensor | None, name: str, start: int, stop: int, out: Tensor | None = None
    ) -> Tensor:
        """P w, or base + P w, without derivative, in `out` or in new memory; from `scaled(..., moves=base is not None)`.

        base - P(-w) and not base + P w, because -0.0 - 0.0 is -0.0 while -0.0 + 0.0 is +0.0: at w = 0 every bit stays.
        """
        result = scaled.new_empty(stop - start) if out is None else out

        def part(_: int, begin: int, end: int) -> None:
            within = slice(begin - start, end - start)
            self._write(scaled, None if base is None else base[within], result[within], name, begin)

        run_in_parts(part, start, stop, edge=self.tile_rows, device=result.device)
        return result

    def assembling(self, writes: Sequence[Write], *, like: Tensor) -> Callable[[Tensor], None]:  # noqa: ARG002 - families ask
        """`assemble` for tensors that have one scale, all of which move a base or none, again and again.

        What is returned takes `scaled`, of the dtype and on the device of `like`. Bases and what is written may be narrower:
        the sum is made in that dtype and cast last.
        """

        def assemble(scaled: Tensor) -> None:
            for name, out, base in writes:
                wide = base if base is None else base.to(scaled.dtype)
                if out.dtype == scaled.dtype:
                    self.assemble(scaled, wide, name, 0, out.numel(), out)
                else:
                    out.copy_(self.assemble(scaled, wide, name, 0, out.numel()))

        return assemble

    def looks_up(self, like: Tensor) -> bool:  # noqa: ARG002 - families ask
        """Whether `looked_up` is there for tensors on a device, and `_add_adjoints` for gradients with indices."""
        return False

    def looked_up(self, scaled: Tensor, theta_0: Tensor, indices: Tensor, name: str) -> Tensor:
        """theta_0 + P w in the rows of a matrix that indices name, without a look at the indices; as `LookedUp.moved_rows`."""
        raise NotImplementedError

    def assemble_adjoint(self, g: Tensor, name: str, start: int) -> Tensor:
        """P^T g before `_fold`, without derivative."""
        total = AdjointSum(self, g.dtype)
        total.add([Gradient(g, name, start)])
        made = total.take()
        assert made is not None
        return made

    def _adjoint_of(self, g: Tensor, name: str, start: int) -> Tensor:
        if g.ndim != 1:
            raise ValueError(f"g must be a vector, got shape {tuple(g.shape)}")
        self._check_range(name, start, start + g.numel())
        self._check_vector(g, g.numel(), "g")
        return derivatives.adjoint_rows(self, g, name, start)

    def _check_range(self, name: str, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.size(name):
            raise ValueError(f"rows [{start}, {stop}) are not within [0, {self.size(name)}) of tensor {name!r}")

    @staticmethod
    def _check_vector(vector: Tensor, length: int, what: str) -> None:
        if vector.shape != (length,):
            raise ValueError(f"{what} must have shape ({length},), got {tuple(vector.shape)}")
        if vector.dtype not in _DTYPES:
            raise ValueError(f"{what} must be float32 or float64, got {vector.dtype}; the projection is done in full precision")


class _Transpose:
    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def __matmul__(self, g: Vector) -> Vector:
        return self._projection.rmatvec(g)
