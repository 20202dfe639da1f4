"""Very sparse random signs, with the same number of entries in every row, so that no row is empty."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection
from idbounds.projections.one_hot import OneHot

#: Fewest entries a row by default. Cost grows with the number k; the law of a row comes nearer to the Gaussian's:
#: at w = (1, …, 1) its kurtosis is 3 - 2 / k.
_FEWEST = 8


class Sparse(Projection):
    """Each row has k entries, one in each of k strata of the coordinates: the sum of k one-hot projections.

    Formula: the coordinates are cut into k consecutive strata of floor(d / k) or ceil(d / k). In each, a row has one entry,
        ± 1 / √n_j in column j (``global`` allocation), n_j the number of rows with an entry there; j and the fair sign
        are those of a one-hot projection of the stratum alone. ``nonzeros=0``: k = max(8, round(d / √D)), at most d;
        otherwise k = nonzeros. Li et al.'s entries are independent, d / √D of them in a row on average, so that
        where D is above d² most rows are empty.
    Shapes: strata of one coordinate fit every layout; else some tensor must have 32 ceil(d / (32 k)) weights, so that no
        coordinate is dead, ConfigError else.
    Scale: E||P w||² = ||w||²: every column has norm 1, and two columns are orthogonal on average (those of one stratum:
        exactly).
    Cost: k times that of ``one_hot``: k additions a weight each way; no state but 16 permutations of d.
    Randomness: streams ``sparse/t/permutations`` (by variant), ``sparse/t/segments`` and ``sparse/t/signs`` (by tensor)
        for stratum t. An entry is one number, and sums are made in the order of strata, so P w has the same bits on
        every device.
    Source: Achlioptas 2003; Li, Hastie & Church, KDD 2006. A fixed number of entries a row, one in each stratum: ours.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("sparse", d=100, D=10_000, seed=0)
        >>> (P.to_dense() != 0).sum(1).unique().tolist()
        [8]
    """

    family: ClassVar[str] = "sparse"
    version: ClassVar[int] = 2
    default_options: ClassVar[dict[str, int]] = {"nonzeros": 0}
    tile_rows = 2**19

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        asked = self.options["nonzeros"]
        if not 0 <= asked <= self.d:
            raise ConfigError(f"nonzeros must be between 1 and d = {self.d} (or 0 for the default), got {asked}")
        self.nonzeros = asked or min(self.d, max(_FEWEST, round(self.d / math.sqrt(self.D))))
        self.strata = [self._make_stratum(number) for number in range(self.nonzeros)]

    def _make_stratum(self, number: int) -> _Stratum:
        begin, end = (step * self.d // self.nonzeros for step in (number, number + 1))
        spec = self.spec.model_copy(
            update={"family": OneHot.family, "version": OneHot.version, "dim": end - begin, "options": {}}
        )
        try:
            return _Stratum(spec, number)
        except ConfigError as error:
            raise ConfigError(f"coordinates {begin} to {end - 1} (a stratum of {end - begin}): {error}") from None

    def _expand(self, w: Tensor) -> Tensor:
        return torch.cat([stratum._expand(part) for stratum, part in self._split(w)])

    def _fold(self, expanded: Tensor) -> Tensor:
        return torch.cat([stratum._fold(part) for stratum, part in self._split(expanded)])

    def scaled(self, expanded: Tensor, name: str, *, moves: bool) -> Tensor:
        """The strata's tables, one below the other."""
        numbers = super().scaled(expanded, name, moves=moves)
        return torch.cat([stratum.table(part) for stratum, part in self._split(numbers)])

    def _split(self, numbers: Tensor) -> Iterator[tuple[_Stratum, Tensor]]:
        """Each stratum and its part of d numbers."""
        return zip(self.strata, torch.split(numbers, [stratum.d for stratum in self.strata]), strict=True)

    def _tables(self, scaled: Tensor) -> Iterator[tuple[_Stratum, Tensor]]:
        """Each stratum and its table."""
        return zip(self.strata, torch.split(scaled, [stratum.table_rows for stratum in self.strata]), strict=True)

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        for begin, end in self._tiles(start, stop):
            piece = expanded.new_empty(end - begin)
            self._write(expanded, None, piece, name, begin)
            yield piece

    def _write(self, expanded: Tensor, base: Tensor | None, out: Tensor, name: str, start: int) -> None:
        # Each stratum subtracts its rows from what those before it left. P w without a base begins with the rows of the
        # first, so that the others then subtract the rows of -w, whose zeros must be +0.0 too.
        tables = [
            (stratum, 0.0 - table if base is None and number else table)
            for number, (stratum, table) in enumerate(self._tables(expanded))
        ]
        spare = out.new_empty(min(out.numel(), self.tile_rows))
        for begin, end in self._tiles(start, start + out.numel()):
            part = slice(begin - start, end - start)
            left = None if base is None else base[part]
            # Reading and writing one place is slow in the compiled kernels, so two places take turns; `out` has the last.
            places = (out[part], spare[: end - begin])
            for number, (stratum, table) in enumerate(tables, start=1):
                place = places[(len(tables) - number) % 2]
                stratum._write(table, left, place, name, begin)
                left = place

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        return torch.cat([stratum._adjoint_rows(g, name, start) for stratum in self.strata])

    def _tiles(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Ranges that stay in the cache from one stratum to the next."""
        edges = range(start - start % self.tile_rows + self.tile_rows, stop, self.tile_rows)
        return itertools.pairwise([start, *edges, stop])


class _Stratum(OneHot):
    """The one-hot projection of one stratum, from streams of its own."""

    def __init__(self, spec: ProjectionSpec, number: int) -> None:
        self._number = number
        super().__init__(spec)

    @property
    def table_rows(self) -> int:
        """Rows of its table."""
        return 2 * self.variants * self.groups

    def _stream(self, what: str, name: str = "") -> Stream:
        return Stream(seed=self.spec.seed, purpose=f"sparse/{self._number}/{what}", name=name)
