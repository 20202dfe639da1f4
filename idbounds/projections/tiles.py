"""Memory in which a thread makes the rows of a tile, kept: taking fresh memory for each costs more than filling it."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from idbounds.projections.hadamard import WalshHadamard
from idbounds.projections.units import QUAD


class _Kept(threading.local):
    """What a thread has."""

    def __init__(self) -> None:
        self.memory: dict[tuple[object, ...], Tensor] = {}
        self.mixing: dict[tuple[object, ...], MixingTile] = {}


_kept = _Kept()


def tile(units: int, *shape: int, like: Tensor, use: str = "rows") -> Tensor:
    """Memory of this thread for so many units of a shape, with what was there before."""
    key = (use, shape, like.dtype, like.device)
    if key not in _kept.memory or len(_kept.memory[key]) < units:
        _kept.memory[key] = like.new_empty(units, *shape)
    return _kept.memory[key][:units]


def mixing_tile(units: int, lines: int, columns: int, *, like: Tensor) -> MixingTile:
    """The last one of this thread where it has so many units. Its views take as long to make as the additions of a tile."""
    key = (lines, columns, like.dtype, like.device)
    if key not in _kept.mixing or len(_kept.mixing[key].values) != units:
        _kept.mixing[key] = MixingTile(units, lines, columns, like=like)
    return _kept.mixing[key]


class MixingTile:
    """Units of some lines, (units, lines, columns), which are given signs and mixed."""

    def __init__(self, units: int, lines: int, columns: int, *, like: Tensor) -> None:
        self.values = tile(units, lines, columns, like=like, use="mixed")
        self.flat = self.values.view(units, -1)
        spare = tile(units, lines, columns, like=like, use="spare")
        self._hadamard, self._last_stages = WalshHadamard(self.values, spare), WalshHadamard(self.values, spare, half=QUAD)

    def sign(self, source: Tensor, signs: Tensor) -> Tensor:
        """`source`, of the tile's shape, with each line times its sign, (units, lines), into `values`."""
        return torch.mul(source, signs.to(source).unsqueeze(-1), out=self.values)

    def mix(self, source: Tensor) -> Tensor:
        """The Hadamard matrix across the lines of each unit; in `values` or in memory of its own."""
        return self._hadamard(source)

    def mix_quads(self, source: Tensor) -> Tensor:
        """The same without the first two stages, which mix lines 4 k to 4 k + 3."""
        return self._last_stages(source)
