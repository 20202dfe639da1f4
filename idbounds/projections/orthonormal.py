"""Dense random columns that are orthonormal to rounding, made again where they are needed and never stored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream, gaussian_atoms
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection

#: Multiplications D d^2 that the first product may take beforehand: about half a minute on two cores.
LARGEST_SETUP = 10**12

#: Entries made at once: 1 MiB in float32, so that a tile stays in the second-level cache through the passes of its sum.
_TILE_ENTRIES = 2**18


class Orthonormal(Projection):
    """A random orthonormal frame: a product of d Householder reflections, one for each column of a Gaussian matrix.

    Formula: P = H_1 H_2 … H_d E σ, E the first d columns of the identity, H_j = I - 2 v_j v_j^T / ||v_j||^2 with
        v_j = x_j + sign(x_jj) ||x_j|| e_j, x_j Gaussian in the rows from j on and 0 above, σ_j = -sign(x_jj). With
        V = [v_1 … v_d] and V₁ its first d rows, P w = E σ w - V y, where U y = V₁^T σ w and the triangle U is that of
        V^T V with its diagonal halved. Row 0 is the first row of the largest tensor; the others follow by size, then name.
    Shapes: any d <= D; D = d gives a random orthogonal matrix. Rows of a tensor depend on the whole layout.
    Scale: ||P w|| = ||w|| (P^T P = I) to rounding. With ``allocation="global"`` the frame is uniformly distributed, but
        for the grid of the Gaussians (odd multiples of 2^-8). With ``"per_tensor"`` the Gaussians of a tensor carry
        its scale, so that tensors much larger than d have about equal shares; m rows never have more than m / d.
    Cost: each product as ``dense``: D d random numbers. Before the first, D d^2 multiplications for V^T V (ConfigError
        above 10^12), then 2 d^2 numbers of state; d^2 multiplications for each product besides.
    Randomness: stream ``orthonormal/gaussians``, by tensor. V^T V is a sum of few-digit numbers, exact in float64 in any
        order within a tile; the rest is + - * / and square roots in a fixed order, no LAPACK. So P w has the same bits
        on every device.
    Source: Stewart, SIAM J. Numer. Anal. 17, 1980, for the distribution; Schreiber & Van Loan 1989 and Joffrain et al.
        2006 for U.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("orthonormal", d=5, D=40, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(5)), torch.ones(5))
        True
    """

    family: ClassVar[str] = "orthonormal"
    independent_tensors: ClassVar[bool] = False

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        if self.D * self.d**2 > LARGEST_SETUP:
            raise ConfigError(
                f"orthonormal columns take D d^2 = {self.D} * {self.d}^2 = {self.D * self.d**2:.1e} multiplications before "
                f"the first product; the limit is {LARGEST_SETUP:.0e}. Choose a smaller d, or the family 'fastfood'"
            )
        # The largest first: with allocation "per_tensor" the triangle of zeros then lies where rows weigh least.
        self._order = sorted(self.sizes, key=lambda name: (-self.sizes[name], name))
        starts = np.cumsum([0, *(self.sizes[name] for name in self._order)]).tolist()
        self._first_row = dict(zip(self._order, starts, strict=False))

    def _expand(self, w: Tensor) -> Tensor:
        """(-y, σ w - c y): what the Gaussians are multiplied by, and what is added to the first d rows."""
        factor = self._factor
        turned = factor.signs * _as_numbers(w)
        y = _combine(factor.top, turned)
        for j in reversed(range(self.d)):
            y[j] /= factor.upper[j, j]
            y[:j] -= y[j] * factor.upper[:j, j]
        return torch.from_numpy(np.stack([-y, turned - factor.shifts * y])).to(w)

    def _fold(self, expanded: Tensor) -> Tensor:
        factor = self._factor
        by_gaussians, added = _as_numbers(expanded)
        y = -by_gaussians - factor.shifts * added
        for j in range(self.d):
            y[j] /= factor.upper[j, j]
            y[j + 1 :] -= y[j] * factor.upper[j, j + 1 :]
        return torch.from_numpy(factor.signs * (_combine(factor.top.T, y) + added)).to(expanded)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        multipliers, added = expanded
        for row, gaussians in self._tiles(name, start, stop):
            products = torch.from_numpy(gaussians).to(expanded).mul_(multipliers)
            piece = _sum_of_columns(products)
            top = self._top_rows(name, row, row + len(piece))
            piece[: top.stop - top.start] += added[top] * (1.0 / self.scale(name))
            yield piece

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(2, self.d)
        for row, gaussians in self._tiles(name, start, start + g.numel()):
            values = g[row - start : row - start + len(gaussians)]
            total[0] += values @ torch.from_numpy(gaussians).to(g)
            top = self._top_rows(name, row, row + len(gaussians))
            total[1, top] += values[: top.stop - top.start] * (1.0 / self.scale(name))
        return total

    def _top_rows(self, name: str, start: int, stop: int) -> slice:
        """Which of the first d rows of P the rows [start, stop) of a tensor are."""
        first = min(self._first_row[name] + start, self.d)
        return slice(first, min(self._first_row[name] + stop, self.d))

    def _tiles(self, name: str, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(first row, entries of X), X the Gaussians with zeros above the diagonal of P's first d rows."""
        stream = Stream(seed=self.spec.seed, purpose="orthonormal/gaussians", name=name)
        step = max(1, _TILE_ENTRIES // self.d)
        for row in range(start, stop, step):
            rows = min(step, stop - row)
            words = stream.uint16(row * self.d, rows * self.d)
            entries = odd_gaussians().take(words, mode="wrap").reshape(rows, self.d)
            top = self._top_rows(name, row, row + rows)
            if top.stop > top.start:
                entries = np.tril(entries, k=top.start)
            yield row, entries

    @cached_property
    def _factor(self) -> _Factor:
        square, top = np.zeros((self.d, self.d)), np.zeros((self.d, self.d))
        for name in self._order:
            within = np.zeros((self.d, self.d))
            for row, gaussians in self._tiles(name, 0, self.size(name)):
                wide = gaussians.astype(np.float64)
                # At most 2^18 products below 2^21 in units of 2^-16: exact, however BLAS orders them. That of torch, since
                # numpy's would wait for the cores on which torch's own threads spin.
                columns = torch.from_numpy(wide)
                within += (columns.T @ columns).numpy()
                rows = self._top_rows(name, row, row + len(wide))
                top[rows] = self.scale(name) * wide[: rows.stop - rows.start]
            square += self.scale(name) ** 2 * within
        signs = np.copysign(1.0, np.diag(top))
        shifts = signs * np.sqrt(np.diag(square))
        # ||x||^2 + 2 |x_jj| ||x|| + ||x||^2 = ||v_j||^2, halved; and where v_i and v_j meet in row j, the shift of v_j.
        upper = np.triu(square + top.T * shifts)
        return _Factor(signs=-signs, shifts=shifts, top=top + np.diag(shifts), upper=upper)


class _Factor(NamedTuple):
    signs: NDArray[np.float64]  # σ
    shifts: NDArray[np.float64]  # c: V = X + E c
    top: NDArray[np.float64]  # V₁, lower triangular
    upper: NDArray[np.float64]  # U


@lru_cache(maxsize=1)
def odd_gaussians() -> NDArray[np.float32]:
    """The atoms that stand for N(0, 1), moved to odd multiples of 2^-8: few digits, so that sums are exact, and none is 0."""
    atoms = gaussian_atoms()
    table: NDArray[np.float32] = np.copysign((2 * np.floor(np.abs(atoms) * 2**7) + 1) / 2**8, atoms)
    table.setflags(write=False)
    return table


def _as_numbers(vector: Tensor) -> NDArray[np.float64]:
    """On the CPU in float64: these are d numbers, and so their bits are those of every device."""
    return vector.to("cpu", torch.float64).numpy()


def _combine(rows: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of rows times factors, in order: a matrix product's last bits depend on the library."""
    total = np.zeros(rows.shape[1])
    for row, factor in zip(rows, factors, strict=True):
        total += factor * row
    return total


def _sum_of_columns(values: Tensor) -> Tensor:
    """Sums along the rows, halving their length each time, in place: additions in one order on every device."""
    width = values.shape[1]
    while width > 1:
        half = width // 2
        values[:, :half] += values[:, width - half : width]
        width -= half
    return values[:, 0].clone()
