"""Kronecker products of two random factors: a tensor's rows of P w are one thin matrix product."""

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

_ALLOWED = {"orthonormal": (0, 1), "terms": (1, 2)}

#: c₁, the multiplications a weight: with more the product is slower than memory, with fewer the rows of one tensor,
#: as an (r₁, r₂) matrix, have a lower rank still.
_RANK = 8

#: Right factors that need more random numbers than this for each weight make c₁ double instead: one takes about as long
#: as twenty multiplications.
_RIGHT_SHARE = 1 / 20

#: At most so many columns, so that W Bᵀ (88 KiB in float32) stays in the second-level cache, and so that few rows of a
#: huge tensor are quick to reach. No multiple of 1024: rows 4 KiB apart would share their places in the cache.
_MAX_COLUMNS = 2816

#: Weights in a tile: 1 MiB in float32. By hand, of 2^15 to 2^19 the best on two cores of an AMD EPYC.
_TILE_WEIGHTS = 2**18

#: Rows of A in a tile are a multiple of this, so that every tile of A begins at a multiple of 64 bytes: a matrix
#: product's bits may depend on how its operands are aligned.
_ALIGNED_ROWS = 16


class Kronecker(Projection):
    """Each tensor's rows are those of A ⊗ B, two small random matrices of its own.

    Formula: row i of a tensor is scale (A[i // r₂] ⊗ B[i mod r₂]); with w padded by zeros and reshaped to W (c₁, c₂), its
        rows of P w are those of scale vec(A W Bᵀ), cut to the tensor's size. A (r₁, c₁) and B (r₂, c₂) have standard
        Gaussian entries. ``orthonormal=1``: their columns are made orthogonal, of lengths √r₁ and √r₂ (where a factor
        is wider than high: its rows, of length √c). ``terms=2``: the sum of two such products over √2, with
        factors of their own; the second acts on a random signed permutation of w.
    Shapes: integers with c₁ c₂ >= d and r₁ r₂ >= size, for each tensor: c₁ is 8, more where the tensor is small beside
        d², at most √d; r₂ near √(size c₁ / c₂), where the factors have fewest numbers, and at most 2816; r₁ >= c₁ and
        r₂ >= c₂ where size >= c₁ c₂, so that one tensor alone has rank d.
    Scale: E||P w||² = ||w||². With ``orthonormal=1``, P^T P = I where every tensor has r₁ r₂ weights, r₁ >= terms c₁.
    Cost: terms c₁ multiplications and additions a weight each way, and r₂ d for each tensor; r₁ c₁ + r₂ c₂ random numbers
        a tensor, made for each product and dropped. ``orthonormal=1`` keeps them, after some 8 (r₂ c₂² + r₁ c₁²)
        operations at first use: seconds where c₂ is above 1000.
    Randomness: streams ``kronecker/left`` and ``kronecker/right`` (by tensor), ``kronecker/reorder`` (for ``terms=2``).
        With one term an entry of P is one product a b, so P's entries have the same bits everywhere. The bits of P w are
        those of a matrix product: the same for any chunk and number of threads, but another BLAS or device may round
        its sums differently; so may the sum of two products that is an entry with ``terms=2``.
    Source: RDKronQR and RDKron of Lotfi et al., NeurIPS 2022, there with factors for the whole layout.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("kronecker", d=64, D=4096, seed=0, orthonormal=1)
        >>> torch.allclose(P.T @ (P @ torch.ones(64)), torch.ones(64), atol=1e-5)
        True
    """

    family: ClassVar[str] = "kronecker"
    default_options: ClassVar[dict[str, int]] = {"orthonormal": 0, "terms": 1}

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        for option, allowed in _ALLOWED.items():
            if self.options[option] not in allowed:
                raise ConfigError(f"{option} must be one of {allowed} for 'kronecker', got {self.options[option]}")
        self.terms = self.options["terms"]
        self._orthonormal: dict[str, tuple[Tensor, Tensor]] = {}
        stream = Stream(seed=spec.seed, purpose="kronecker/reorder")
        self._order = torch.from_numpy(stream.permutation(0, self.d))
        signs = 1.0 - 2.0 * (stream.words(self.d, self.d) & np.uint64(1)).astype(np.float64)
        self._signs = torch.from_numpy(signs / math.sqrt(2))

    def shapes(self, name: str) -> Shapes:
        """Sizes of the two factors of tensor `name`."""
        size, root = self.size(name), math.isqrt(self.d)
        c1 = min(_RANK, root)
        while c1 < root and (self.d / c1) ** 2 > _RIGHT_SHARE * size:
            c1 = min(2 * c1, root)
        c2 = -(-self.d // c1)
        # The first: for full rank. The second: fewest numbers r₁ c₁ + r₂ c₂ with r₁ r₂ = size.
        r2 = max(-(-min(size, c1 * c2) // c1), min(math.isqrt(size * c1 // c2), _MAX_COLUMNS))
        return Shapes(c1=c1, c2=c2, r1=-(-size // r2), r2=r2)

    def _expand(self, w: Tensor) -> Tensor:
        if self.terms == 1:
            return w.clone().unsqueeze(0)
        return torch.stack([w * math.sqrt(0.5), w[self._order.to(w.device)] * self._signs.to(w)])

    def _fold(self, expanded: Tensor) -> Tensor:
        if self.terms == 1:
            return expanded[0].clone()
        second = torch.empty_like(expanded[1])
        second[self._order.to(second.device)] = expanded[1] * self._signs.to(second)
        return expanded[0] * math.sqrt(0.5) + second

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        right = self._right_product(expanded, name)
        for left, begin, end in self._tiles(name, start, stop, like=expanded):
            yield (left @ right).view(-1)[begin:end]

    def _write(self, expanded: Tensor, base: Tensor | None, out: Tensor, name: str, start: int) -> None:
        # The base class keeps the sign of zeros in `base` at w = 0, which a fused product need not.
        if base is None or not bool(expanded.any()):
            super()._write(expanded, base, out, name, start)
            return
        right, columns, position = self._right_product(expanded, name), self.shapes(name).r2, 0
        for left, begin, end in self._tiles(name, start, start + out.numel(), like=expanded):
            part, count = slice(position, position + end - begin), len(left) * columns
            position = part.stop
            if end - begin == count:
                torch.addmm(base[part].view(-1, columns), left, right, alpha=-1, out=out[part].view(-1, columns))
            else:
                padded = base.new_zeros(count)
                padded[begin:end] = base[part]
                out[part] = padded.view(-1, columns).addmm_(left, right, alpha=-1).view(-1)[begin:end]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        c1, c2, _, r2 = self.shapes(name)
        total, position = g.new_zeros(self.terms * c1, r2), 0
        for left, begin, end in self._tiles(name, start, start + g.numel(), like=g):
            values = g[position : position + end - begin]
            position += end - begin
            if end - begin < len(left) * r2:
                values = torch.cat([g.new_zeros(begin), values, g.new_zeros(len(left) * r2 - end)])
            total.addmm_(left.T, values.view(-1, r2))
        matrices = total.view(self.terms, c1, r2) @ self._right(name, like=g)
        return matrices.view(self.terms, c1 * c2)[:, : self.d]

    def _right_product(self, expanded: Tensor, name: str) -> Tensor:
        """W Bᵀ, those of the terms below one another: (terms c₁, r₂)."""
        c1, c2, _, r2 = self.shapes(name)
        padded = expanded.new_zeros(self.terms, c1 * c2)
        padded[:, : self.d] = expanded
        return (padded.view(self.terms, c1, c2) @ self._right(name, like=expanded).transpose(1, 2)).reshape(-1, r2)

    def _tiles(self, name: str, start: int, stop: int, *, like: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """(rows of A, begin, end): whole tiles at fixed places, and which of their weights are wanted."""
        _, _, r1, r2 = self.shapes(name)
        if start == stop:
            return
        height = max(_ALIGNED_ROWS, _TILE_WEIGHTS // r2 // _ALIGNED_ROWS * _ALIGNED_ROWS)
        origin = start // (height * r2) * height
        left = self._left(name, origin, min(-(-stop // (height * r2)) * height, r1) - origin, like=like)
        for tile in torch.split(left, height):
            yield tile, max(start - origin * r2, 0), min(stop - origin * r2, len(tile) * r2)
            origin += height

    def _left(self, name: str, first: int, count: int, *, like: Tensor) -> Tensor:
        """Rows [first, first + count) of A, those of the terms side by side: (count, terms c₁)."""
        if self.options["orthonormal"]:
            return self._orthonormal_factors(name)[0][first : first + count].to(like, copy=True)
        return self._left_entries(name, first, count).to(like)

    def _right(self, name: str, *, like: Tensor) -> Tensor:
        """B of each term: (terms, r₂, c₂)."""
        if self.options["orthonormal"]:
            return self._orthonormal_factors(name)[1].to(like)
        return self._right_entries(name).to(like)

    def _left_entries(self, name: str, first: int, count: int) -> Tensor:
        return self._gaussians("left", name, first, count, self.terms * self.shapes(name).c1)

    def _right_entries(self, name: str) -> Tensor:
        _, c2, _, r2 = self.shapes(name)
        return self._gaussians("right", name, 0, self.terms, r2, c2)

    def _gaussians(self, purpose: str, name: str, first: int, *shape: int) -> Tensor:
        """Entries of a factor, from its row `first` on, in memory of torch's: numpy's may lack its alignment."""
        made = torch.empty(shape)
        stream = Stream(seed=self.spec.seed, purpose=f"kronecker/{purpose}", name=name)
        stream.normal(first * math.prod(shape[1:]), made.numel(), out=made.view(-1).numpy())
        return made

    def _orthonormal_factors(self, name: str) -> tuple[Tensor, Tensor]:
        if name not in self._orthonormal:
            # The columns of all A together, so that the terms are orthogonal to one another too.
            left = orthogonalised(self._left_entries(name, 0, self.shapes(name).r1).numpy())
            right = np.stack([orthogonalised(entries) for entries in self._right_entries(name).numpy()])
            self._orthonormal[name] = (torch.from_numpy(left), torch.from_numpy(right))
        return self._orthonormal[name]


class Shapes(NamedTuple):
    """A is (r1, c1), B is (r2, c2)."""

    c1: int
    c2: int
    r1: int
    r2: int


def orthogonalised(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Columns made orthogonal, each of length √rows; of a matrix wider than high, the rows, of length √columns.

    Modified Gram-Schmidt, twice (once leaves errors that grow with the condition number; Giraud, Langou & Rozložník
    2005 show that twice is enough). Elementwise operations in a fixed order: the same bits on every machine.
    """
    high = matrix.shape[0] >= matrix.shape[1]
    columns = np.array(matrix if high else matrix.T, dtype=np.float64)
    for _ in range(2):
        for j in range(columns.shape[1]):
            unit, rest = columns[:, j : j + 1], columns[:, j + 1 :]
            unit /= np.sqrt(_column_sums(unit * unit))
            rest -= unit * _column_sums(unit * rest)
    columns *= math.sqrt(len(columns))
    return columns if high else np.ascontiguousarray(columns.T)


def _column_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the first axis by halves, lower onto upper; `values` is used up."""
    while len(values) > 1:
        half = (len(values) + 1) // 2
        values[: len(values) - half] += values[half:]
        values = values[:half]
    return values
