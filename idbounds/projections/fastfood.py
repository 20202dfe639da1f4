"""Fastfood in cache-sized blocks: P w by additions alone, with no state of size D."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.values import ProjectionSpec
from idbounds.projections import sign_patterns
from idbounds.projections.compiled import kernels_for
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.hadamard import walsh_hadamard
from idbounds.projections.sign_patterns import PATTERNS
from idbounds.projections.table import VARIANTS, TableProjection
from idbounds.projections.tiles import MixingTile, mixing_tile
from idbounds.projections.units import COLUMNS, LINES, QUAD


class Fastfood(TableProjection):
    """Blocks of m rows, m the smallest power of two that holds d, each block with fresh signs.

    Formula: a block is V w = (1 / sqrt(m)) (H₃₂ ⊗ I) (E ⊗ I) S (I ⊗ H_{m/32}) S₂ Π H S₁ [w; 0]: Fastfood with random signs S₂
        in place of its Gaussians, and with more random signs, E and S, between the two factors of its last Hadamard matrix
        H = (H₃₂ ⊗ I) (I ⊗ H_{m/32}). E, 32 signs, is fresh for each block; (S₁, Π, S₂, S) is a fresh choice of 16. So all
        that stands right of E is computed 16 times, however large D is, and a row costs 5 additions and not 2 log2(m).
    Shapes: w (d,) is padded with zeros to m, at least 32. Rows of a tensor are cut from whole blocks. 2048 rows, 32 lines of
        64, are made together: m below 2048 gives them several blocks side by side, with the same E but signs S of their own;
        m above 2048 gives a block's columns 64 by 64, with an E for each 64. Below d = 17 the 32 signs of a row may cancel,
        so that the row is 0: with probability 0.14 at d = 1, 0.0004 at d = 8.
    Scale: every row has E<v, w>² = ||w||²; V^T V = I on w, so P^T P = I where every tensor is whole blocks.
    Cost: 5 additions and a sign flip a weight each way, in 2^18 rows at a time; through torch on a CPU, for d up to 2048 and
        8 million weights or more, 3 additions, the other two and the signs being chosen from a table of 2 MiB. One 64-bit hash
        serves 2048 weights; 16 transforms of length m for each product; 64 m + 16 max(m, 2048) numbers of state.
    Randomness: streams ``fastfood/mixers`` and ``fastfood/columns`` (by variant), ``fastfood/segments`` and
        ``fastfood/signs`` (by tensor). Additions in a fixed order and one multiplication, so P w has the same bits on every
        device.
    Source: Le, Sarlos & Smola, ICML 2013, section 3, for the product H G Π H B; blocks of size about d, shared right
        factors and signs between the halves of H: ours. The published forms are ``fastfood_single_block`` and
        ``fastfood_stacked``.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("fastfood", d=100, D=10_000, seed=0)
        >>> (P @ torch.ones(100)).shape
        torch.Size([10000])
    """

    family: ClassVar[str] = "fastfood"
    version: ClassVar[int] = 3
    rotates = False
    reorders = False
    mixes = True

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        # bit_length is exact where log2 in floating point is not (fault B11 of public code).
        self.block = max(LINES, 1 << (self.d - 1).bit_length())
        self._mixers: dict[tuple[torch.device, torch.dtype], _Mixers] = {}
        # One table serves all tensors only where they have one scale.
        one_scale, table_numbers = len({self.scale(name) for name in self.sizes}) == 1, VARIANTS * self.groups * self.unit
        self._patterns_pay = one_scale and sign_patterns.pay(table_numbers=table_numbers, rows=self.D)
        self._patterns = sign_patterns.LastTable()

    @property
    def groups(self) -> int:
        """Stretches of 2048 entries in one variant: m / 32 columns of 32 entries, repeated to at least 64 columns."""
        return max(1, self.block // self.unit)

    def _expand(self, w: Tensor) -> Tensor:
        mixers = self._mixers_like(w)
        values = torch.nn.functional.pad(w, (0, self.block - self.d)).unsqueeze(1) * mixers.first_signs
        values = walsh_hadamard(values.unsqueeze(0))[0]
        values = _permuted(values, mixers.permutations).mul_(mixers.second_signs)
        values = walsh_hadamard(values.view(LINES, -1, VARIANTS)).div_(mixers.root)
        lines = values.permute(2, 0, 1).unsqueeze(2) * mixers.column_signs
        return lines.view(VARIANTS, LINES, self.groups, COLUMNS).transpose(1, 2).reshape(-1, self.unit)

    def _fold(self, expanded: Tensor) -> Tensor:
        mixers = self._mixers_like(expanded)
        lines = expanded.view(VARIANTS, self.groups, LINES, COLUMNS).transpose(1, 2)
        blocks = lines.reshape(VARIANTS, LINES, self._repeats, -1) * mixers.column_signs
        values = walsh_hadamard(blocks.sum(2).permute(1, 2, 0).contiguous())
        values = values.view(self.block, VARIANTS).mul_(mixers.second_signs)
        values = walsh_hadamard(_permuted(values, mixers.inverses).unsqueeze(0))[0].mul_(mixers.first_signs)
        return values[: self.d].sum(1).div_(mixers.root)

    def _empty_table(self, like: Tensor) -> Tensor:
        if self._chooses_patterns(like):
            return like.new_empty(VARIANTS * self.groups * self.unit * PATTERNS // (QUAD * COLUMNS), QUAD * COLUMNS)
        return like.new_empty(VARIANTS * self.groups, self.unit)

    def _drawn(self, name: str, units: range) -> tuple[NDArray[np.signedinteger], ...]:
        """Places in the table, and signs ±1 of the 32 lines, (units, 32)."""
        return self.places(name, units), 1 - 2 * self.bits(name, units).reshape(-1, LINES).view(np.int8)

    def _drawn_quads(self, name: str, units: range) -> tuple[NDArray[np.signedinteger], ...]:
        """Places in the table of patterns, (units, 8)."""
        bits = self.bits(name, units).reshape(-1, LINES // QUAD, QUAD)
        quads = np.arange(LINES // QUAD, dtype=np.int32) + self.places(name, units)[:, None] * np.int32(LINES // QUAD)
        return (quads * np.int32(PATTERNS) + bits @ (1 << np.arange(QUAD, dtype=np.uint8)),)

    def _chooses_patterns(self, like: Tensor) -> bool:
        """On a CPU through torch; compiled kernels and GPUs add as fast as they choose."""
        return self._patterns_pay and like.device.type == "cpu" and kernels_for(like) is None

    def _has_negative_zeros(self, scaled: Tensor) -> bool:
        return not self._chooses_patterns(scaled)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        mixed = self._chosen if self._chooses_patterns(expanded) else self._mixed
        for units, rows in mixed(expanded, name, start, stop):
            first, _ = self._rows_of(units)
            yield rows.view(-1)[max(start - first, 0) : stop - first]

    def _mixed(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[tuple[range, Tensor]]:
        """For each tile of rows [start, stop): its units, and all their rows."""
        for units, (places, signs) in self._units(name, start, stop, expanded.device, self._drawn):
            made = _tile(units, expanded)
            torch.index_select(expanded, 0, places, out=made.flat)
            yield units, made.mix(made.sign(made.values, signs))

    def _chosen(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[tuple[range, Tensor]]:
        """The same bits from a table of patterns."""
        patterns = self._patterns.of(expanded)
        for units, (quads,) in self._units(name, start, stop, expanded.device, self._drawn_quads):
            made = _tile(units, expanded)
            torch.index_select(patterns, 0, quads.view(-1), out=made.flat.view(-1, patterns.shape[1]))
            yield units, made.mix_quads(made.values)

    def _add_adjoint(self, total: Tensor, g: Tensor, name: str, start: int) -> None:
        if sign_patterns.are_in(total):
            for units, (quads,) in self._units(name, start, start + g.numel(), g.device, self._drawn_quads):
                made = _tile(units, g)
                mixed = made.mix_quads(self._padded(g, start, units).view(made.values.shape))
                total.index_add_(0, quads.view(-1).long(), mixed.view(-1, total.shape[1]))
            return
        for units, (places, signs) in self._units(name, start, start + g.numel(), g.device, self._drawn):
            made = _tile(units, g)
            made.sign(made.mix(self._padded(g, start, units).view(made.values.shape)), signs)
            total.index_add_(0, places.long(), made.flat)

    def _collected(self, total: Tensor) -> Tensor:
        return sign_patterns.over_patterns(total) if sign_patterns.are_in(total) else total

    @property
    def _repeats(self) -> int:
        """Blocks that stand side by side in a stretch."""
        return self.groups * self.unit // self.block

    def _mixers_like(self, vector: Tensor) -> _Mixers:
        key = (vector.device, vector.dtype)
        if key not in self._mixers:
            # Variant by variant into what is kept: of all variants at once the 64-bit numbers would be many times as large.
            shape = (self.block, VARIANTS)
            first, second = np.empty(shape, dtype=np.int8), np.empty(shape, dtype=np.int8)
            permutations, inverses = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
            columns = np.empty((VARIANTS, self.groups * self.unit), dtype=np.int8)
            for variant in range(VARIANTS):
                first[:, variant], permutation, inverse, second[:, variant] = self._make_mixer(variant)
                permutations[:, variant], inverses[:, variant] = _places(permutation, variant), _places(inverse, variant)
                columns[variant] = fair_signs(self._stream("columns", str(variant)), 0, columns.shape[1])
            self._mixers[key] = _Mixers(
                first_signs=torch.from_numpy(first).to(vector),
                permutations=torch.from_numpy(permutations.reshape(-1)).to(vector.device),
                inverses=torch.from_numpy(inverses.reshape(-1)).to(vector.device),
                second_signs=torch.from_numpy(second).to(vector),
                column_signs=torch.from_numpy(columns.reshape(VARIANTS, LINES, self._repeats, -1)).to(vector),
                # A tensor: by a plain number torch divides on some devices, and multiplies on others.
                root=vector.new_full((), math.sqrt(self.block)),
            )
        return self._mixers[key]

    def _make_mixer(self, variant: int) -> tuple[np.ndarray, ...]:
        """S₁, Π, its inverse, S₂."""
        stream, m = self._stream("mixers", str(variant)), self.block
        words = stream.words(0, 3 * m)
        signs = 1 - 2 * (words[: 2 * m] & np.uint64(1)).astype(np.int8)
        permutation = np.argsort(words[2 * m :], kind="stable")
        return signs[:m], permutation, np.argsort(permutation), signs[m:]


def _tile(units: range, like: Tensor) -> MixingTile:
    return mixing_tile(len(units), LINES, COLUMNS, like=like)


def _places(rows: NDArray[np.int64], variant: int) -> NDArray[np.int64]:
    """For row numbers of one column where those numbers of a matrix (m, 16) are in its memory."""
    return rows * VARIANTS + variant


def _permuted(values: Tensor, places: Tensor) -> Tensor:
    """Each column in an order of its own: `gather`, in half the time."""
    return values.view(-1).index_select(0, places).view(values.shape)


class _Mixers(NamedTuple):
    """One column for each variant, (m, 16); S as the lines of the table, (16, 32, repeats, m / 32); the square root of m.

    Of the permutations and their inverses the places in memory of what goes to each place, (16 m,).
    """

    first_signs: Tensor
    permutations: Tensor
    inverses: Tensor
    second_signs: Tensor
    column_signs: Tensor
    root: Tensor
