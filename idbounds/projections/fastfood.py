"""Fastfood in cache-sized blocks: P w in time O(D log d) with no state (Le, Sarlos & Smola, ICML 2013)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection

_SIGN_BIT = {torch.float32: (torch.int32, -(2**31)), torch.float64: (torch.int64, -(2**63))}


class Fastfood(Projection):
    """Blocks of m rows, each with fresh signs, cut to the tensor's size.

    Formula: for a block of m = 2^k rows, V w = (1/||G||) H S₂ G Π H S₁ [w; 0], H the ±1 Walsh-Hadamard
        matrix, S₁ and S₂ independent random signs of the block, Π a permutation and G a Gaussian diagonal
        shared by the blocks of a tile of 2^18 rows and fresh in the next tile. Le et al. write G for what
        is here G S₂ (a Gaussian is a magnitude times a sign), so one block alone is exactly theirs
        without the χ-scaling S, as in Li et al. 2018 and Aghajanyan et al. 2020.
    Shapes: w (d,) is padded with zeros to m, by default the smallest power of two that holds d. The
        transform never grows with D, no coordinate of w is cut off, and it stays in the cache.
        ``block_size=m`` asks for larger blocks; m >= D gives one full-length transform for a tensor.
    Scale: each row of V has E<v, w>² = ||w||² exactly, whatever G is.
    Cost: about 2 log2(m) additions a weight each way; temporaries of one tile. Signs are kept after their first use,
        a quarter of a byte a weight, up to D = 2^30; beyond that they are made again each time.
    Randomness: streams ``fastfood/signs``, ``fastfood/permutation`` and ``fastfood/gaussians``, keyed by
        seed and tensor, at positions fixed by the tile's index. Entries come from additions and
        multiplications in a fixed order, so P has the same bits on every device.
    Source: Le, Sarlos & Smola 2013, section 3; blocks of size about d instead of one of size D: ours.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("fastfood", d=100, D=10_000, seed=0)
        >>> (P @ torch.ones(100)).shape
        torch.Size([10000])
    """

    family: ClassVar[str] = "fastfood"
    default_options: ClassVar[dict[str, int]] = {"block_size": 0}

    #: Rows of a tile: 1 MiB of float32, so that a tile and its copy stay near the second-level cache.
    _TILE_ROWS: ClassVar[int] = 2**18
    #: One 32-bit word holds the signs of 32 rows of a column.
    _MIN_BLOCK: ClassVar[int] = 32
    #: Up to this D the signs, two bits a weight, are kept between products: 256 MiB at most.
    _KEEP_ROWS: ClassVar[int] = 2**30

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        wanted = self.options["block_size"]
        if wanted and (wanted & (wanted - 1) or wanted < max(self.d, self._MIN_BLOCK)):
            raise ConfigError(
                f"block_size must be a power of two, at least {self._MIN_BLOCK} and at least d = {self.d}, got {wanted}"
            )
        # bit_length is exact where log2 in floating point is not (fault B11 of public code).
        self._block = wanted or max(self._MIN_BLOCK, 1 << (self.d - 1).bit_length())
        self._tile_rows = max(self._TILE_ROWS, self._block)
        self._keeps_tiles = spec.num_rows <= self._KEEP_ROWS
        self._kept: dict[tuple[str, int, torch.device, torch.dtype], _Tile] = {}

    def _rows(self, w: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        padded = w.new_zeros(self._block, 1)
        padded[: self.d, 0] = w
        for tile, begin, end in self._tiles(name, start, stop, like=w):
            values = _walsh_hadamard(_flip_signs(padded, tile.first_signs))
            values = values.index_select(0, tile.permutation).mul_(tile.gaussians)
            values = _walsh_hadamard(_flip_signs(values, tile.second_signs))
            yield values.view(-1)[begin:end]

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(self._block)
        for tile, begin, end in self._tiles(name, start, start + g.numel(), like=g):
            values = g.new_empty(self._block * tile.columns)
            values[:begin] = 0
            values[begin:end] = g[tile.row + begin - start : tile.row + end - start]
            values[end:] = 0
            values = _flip_signs(_walsh_hadamard(values.view(self._block, -1)), tile.second_signs).mul_(tile.gaussians)
            values = values.index_select(0, tile.permutation.argsort())
            total += _flip_signs(_walsh_hadamard(values), tile.first_signs).sum(1)
        return total[: self.d]

    def _tiles(self, name: str, start: int, stop: int, *, like: Tensor) -> Iterator[tuple[_Tile, int, int]]:
        """The tiles that overlap rows [start, stop), each with the part [begin, end) of it that is wanted."""
        size = self._size(name)
        for index in range(start // self._tile_rows, -(-stop // self._tile_rows)):
            row = index * self._tile_rows
            rows = min(self._tile_rows, size - row)
            columns = -(-rows // self._block)
            tile = self._tile(name, index, row, columns, like)
            yield tile, max(start - row, 0), min(stop - row, rows)

    def _tile(self, name: str, index: int, row: int, columns: int, like: Tensor) -> _Tile:
        key = (name, index, like.device, like.dtype)
        tile = self._kept.get(key) or self._make_tile(name, index, row, columns, like)
        if self._keeps_tiles:
            self._kept[key] = tile
        return tile

    def _make_tile(self, name: str, index: int, row: int, columns: int, like: Tensor) -> _Tile:
        seed, block = self.spec.seed, self._block
        words_per_signs = self._tile_rows // 32
        words = Stream(seed=seed, purpose="fastfood/signs", name=name)
        shape = (block // 32, 1, columns)

        def signs(which: int) -> Tensor:
            drawn = words.uint32((2 * index + which) * words_per_signs, math.prod(shape))
            return torch.from_numpy(drawn.view(np.int32).reshape(shape)).to(like.device)

        permutation = Stream(seed=seed, purpose="fastfood/permutation", name=name).permutation(index * block, block)
        gaussians = Stream(seed=seed, purpose="fastfood/gaussians", name=name).normal(index * block, block).astype(np.float64)
        # math.fsum: the norm must not depend on how a library orders a sum.
        gaussians /= math.sqrt(math.fsum(gaussians**2))
        return _Tile(
            row=row,
            columns=columns,
            first_signs=signs(0),
            second_signs=signs(1),
            permutation=torch.from_numpy(permutation).to(like.device),
            gaussians=torch.from_numpy(gaussians).to(like).unsqueeze(1),
        )


class _Tile(NamedTuple):
    row: int  # the first row of the tensor that it holds
    columns: int  # blocks in it; row r of the tile is entry r // columns of block r % columns
    first_signs: Tensor  # (m / 32, 1, columns), one bit a sign
    second_signs: Tensor
    permutation: Tensor  # (m,)
    gaussians: Tensor  # (m, 1), of norm 1


def _flip_signs(values: Tensor, words: Tensor) -> Tensor:
    """values (m, 1 or columns) with the sign bit of entry (r, c) flipped where bit 31 - r % 32 of words[r // 32, c] is set."""
    integer, sign_bit = _SIGN_BIT[values.dtype]
    shifts = torch.arange(32, dtype=torch.int32, device=words.device).view(1, 32, 1)
    masks = torch.bitwise_left_shift(words, shifts).bitwise_and_(-(2**31))
    if integer is torch.int64:
        masks = masks.to(integer).bitwise_left_shift_(32).bitwise_and_(sign_bit)
    flat = masks.view(-1, masks.shape[-1])
    return flat.bitwise_xor_(values.view(integer)).view(values.dtype)


def _walsh_hadamard(values: Tensor) -> Tensor:
    """H @ values for the unnormalised ±1 Walsh-Hadamard matrix H; `values` is used up as scratch space.

    Butterflies along the first axis, so that every addition runs over contiguous columns. The order of
    additions is part of the definition of P.
    """
    size, spare, half = values.shape[0], torch.empty_like(values), 1
    while half < size:
        pairs = values.view(size // (2 * half), 2, half, -1)
        out = spare.view_as(pairs)
        torch.add(pairs[:, 0], pairs[:, 1], out=out[:, 0])
        torch.sub(pairs[:, 0], pairs[:, 1], out=out[:, 1])
        values, spare, half = spare, values, 2 * half
    return values
