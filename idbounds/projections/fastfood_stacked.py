"""Fastfood as Le, Sarlós and Smola publish it: independent blocks, with rows as long as Gaussian ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection
from idbounds.projections.exact_norms import exact_norms
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.hadamard import walsh_hadamard

#: Rows made at once: 512 KiB of float32, so that two copies stay near the second-level cache.
_TILE_ROWS = 2**17

#: At least so many blocks at once, since the transform runs over the blocks side by side: one vector of float32.
_TILE_BLOCKS = 16

#: In smaller blocks G has too few entries for a row to look like a Gaussian one.
_SMALLEST_BLOCK = 32


class FastfoodStacked(Projection):
    """Independent Fastfood blocks of about d rows, with the χ scaling.

    Formula: a block is V w = S H G Π H B [w; 0], H the ±1 Walsh-Hadamard matrix of size m, the smallest power of two that
        holds d, at least 32; B random signs, Π a random permutation, G a Gaussian diagonal,
        S_ii = s_i / (sqrt(m) ||G||) with s_i ~ χ_m, all fresh for each block. Row i of the whole block has norm s_i.
    Shapes: w (d,) is padded with zeros to m. A block is m consecutive rows of a tensor; the last one is cut.
    Scale: every row has E<v, w>^2 = ||w||^2; columns are nearly, not exactly, orthonormal.
    Cost: 2 log2(m) additions a weight each way, and a 64-bit number to sort; no state. Tiles of 2^17 rows, or 16 blocks.
    Randomness: streams ``fastfood_stacked/signs``, ``…/permutations``, ``…/gaussians`` and ``…/lengths``, by tensor, at
        positions fixed by the row. Additions and multiplications in a fixed order, so P w has the same bits on every
        device; χ from 2^12 equally likely values.
    Source: Le, Sarlós & Smola, ICML 2013, section 3.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("fastfood_stacked", d=100, D=10_000, seed=0)
        >>> (P @ torch.ones(100)).shape
        torch.Size([10000])
    """

    family: ClassVar[str] = "fastfood_stacked"

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        # bit_length is exact where log2 in floating point is not (fault B11).
        self.block = max(_SMALLEST_BLOCK, 1 << (self.d - 1).bit_length())
        self.tile_rows = max(_TILE_ROWS, _TILE_BLOCKS * self.block)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        for blocks, begin, end in self._tiles(name, start, stop, like=expanded):
            values = torch.zeros_like(blocks.lengths)
            values[: self.d] = blocks.signs * expanded.unsqueeze(1)
            values = walsh_hadamard(values.unsqueeze(0))[0].gather(0, blocks.permutations).mul_(blocks.gaussians)
            values = walsh_hadamard(values.unsqueeze(0))[0].mul_(blocks.lengths)
            yield values.t().reshape(-1)[begin:end]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total, position = g.new_zeros(self.d), 0
        for blocks, begin, end in self._tiles(name, start, start + g.numel(), like=g):
            padded = g.new_zeros(blocks.lengths.numel())
            padded[begin:end] = g[position : position + end - begin]
            position += end - begin
            values = padded.view(-1, self.block).t() * blocks.lengths
            values = walsh_hadamard(values.contiguous().unsqueeze(0))[0].mul_(blocks.gaussians)
            values = torch.empty_like(values).scatter_(0, blocks.permutations, values)
            total += (walsh_hadamard(values.unsqueeze(0))[0][: self.d] * blocks.signs).sum(1)
        return total

    def _tiles(self, name: str, start: int, stop: int, *, like: Tensor) -> Iterator[tuple[_Blocks, int, int]]:
        """(whole blocks, begin, end): which of their rows are wanted."""
        for row in range(start - start % self.tile_rows, stop, self.tile_rows):
            first, last = max(start, row) // self.block, -(-min(stop, row + self.tile_rows) // self.block)
            edge = first * self.block
            yield self._draw(name, first, last - first, like), max(start, row) - edge, min(stop, row + self.tile_rows) - edge

    def _draw(self, name: str, first: int, count: int, like: Tensor) -> _Blocks:
        m = self.block

        def stream(what: str) -> Stream:
            return Stream(seed=self.spec.seed, purpose=f"fastfood_stacked/{what}", name=name)

        def columns(numbers: NDArray[np.generic]) -> Tensor:
            """Numbers of one block after the other as a matrix with a column for each block."""
            return torch.from_numpy(np.ascontiguousarray(numbers.reshape(count, m).T)).to(like.device)

        where, how_many = first * m, count * m
        gaussians = stream("gaussians").normal(where, how_many).reshape(count, m)
        lengths = chi_atoms(m).take(stream("lengths").uint16(where, how_many) % len(chi_atoms(m)))
        return _Blocks(
            signs=columns(fair_signs(stream("signs"), where, how_many))[: self.d],
            permutations=columns(_permutations(stream("permutations").words(where, how_many).reshape(count, m))),
            gaussians=columns(gaussians / exact_norms(gaussians)[:, None]).to(like),
            lengths=columns(lengths).to(like),
        )


class _Blocks(NamedTuple):
    """One column for each block."""

    signs: Tensor  # (d, blocks), B
    permutations: Tensor  # (m, blocks), Π
    gaussians: Tensor  # (m, blocks), G / ||G||
    lengths: Tensor  # (m, blocks), s / sqrt(m)


def _permutations(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """A permutation for each row of words (blocks, m), by sorting them.

    The low bits of a word give way to its place, which the sorted words then name: no two words are equal, so that every
    sorting algorithm gives the same, and sorting is several times as fast as finding the order (argsort).
    """
    places = np.arange(words.shape[1], dtype=np.uint64)
    mask = np.uint64(words.shape[1] - 1)
    return (np.sort(words & ~mask | places, axis=1) & mask).astype(np.int64)


@lru_cache(maxsize=8)
def chi_atoms(degrees: int) -> NDArray[np.float32]:
    """The 2^12 equally likely values that stand for χ / sqrt(degrees): their mean square is 1 before they are rounded.

    Formula: c * sqrt(2 gammaincinv(degrees / 2, (i + 1/2) / 2^12)). Each is rounded to a multiple of 2^-16, far coarser than
    the error of `gammaincinv` (about 2^-43), so that the table has the same bits whatever library computed it.
    """
    squares = special.gammaincinv(degrees / 2, (np.arange(2**12) + 0.5) / 2**12)
    unit = np.sqrt(squares / np.mean(squares))
    table: NDArray[np.float32] = (np.round(unit * 2**16) / 2**16).astype(np.float32)
    table.setflags(write=False)
    return table
