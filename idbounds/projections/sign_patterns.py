"""The first two butterflies of `Fastfood`'s units from a table: what they make of four lines, for every pattern of signs.

H_32 = (H_8 ⊗ I) (I ⊗ H_4), and the right factor mixes lines 4 k to 4 k + 3 alone. So a unit's signs and its first two
butterflies are one choice among 16 for each four lines; the additions are the same, made once for all units.
"""

from __future__ import annotations

import itertools
import threading
import weakref

import torch
from torch import Tensor

from idbounds.projections.hadamard import walsh_hadamard
from idbounds.projections.units import COLUMNS, LINES, QUAD

PATTERNS = 1 << QUAD
#: Numbers of the largest table of patterns, 2 MiB in float32: one that leaves a core's caches costs what it saves.
_MOST_NUMBERS = 2**19
#: Of a matrix with fewer rows for each of its numbers the table is too large a part, in time and in memory.
_ROWS_FOR_A_NUMBER = 16


def pay(*, table_numbers: int, rows: int) -> bool:
    """Whether a table of patterns is worth its memory, for a matrix of so many rows made from a table of so many numbers."""
    numbers = PATTERNS * table_numbers
    return numbers <= _MOST_NUMBERS and rows >= _ROWS_FOR_A_NUMBER * numbers


def are_in(table: Tensor) -> bool:
    """Whether a table is one of patterns."""
    return table.shape[-1] == QUAD * COLUMNS


def by_pattern(table: Tensor) -> Tensor:
    """A row of 4 · 64 numbers for each four lines of a table, (stretches, 2048), and each pattern; bit l of it is line l's.

    None of them is -0.0, and so no sum or difference of them is.
    """
    quads = table.reshape(-1, 1, QUAD, COLUMNS) * _signs(table)
    return walsh_hadamard(quads.view(-1, QUAD, COLUMNS)).add_(0.0).view(-1, QUAD * COLUMNS)


def over_patterns(rows: Tensor) -> Tensor:
    """The transpose of `by_pattern`; `rows` is used up."""
    quads = walsh_hadamard(rows.view(-1, QUAD, COLUMNS)).view(-1, PATTERNS, QUAD, COLUMNS)
    return (quads * _signs(rows)).sum(1).view(-1, LINES * COLUMNS)


def _signs(like: Tensor) -> Tensor:
    """(16, 4, 1)."""
    patterns = [[1.0 - 2.0 * bit for bit in reversed(bits)] for bits in itertools.product((0, 1), repeat=QUAD)]
    return like.new_tensor(patterns).unsqueeze(-1)


class LastTable:
    """The patterns of the table that was asked for last, since a model's tensors ask for the same one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the parts of a product are made by threads, and all want the same
        self._of: weakref.ref[Tensor] | None = None
        self._patterns: Tensor | None = None

    def of(self, table: Tensor) -> Tensor:
        """`by_pattern(table)`. Nobody writes to a table from which rows are made."""
        with self._lock, torch.no_grad():
            if self._patterns is None or self._of is None or self._of() is not table:
                self._of, self._patterns = weakref.ref(table, self._forget), by_pattern(table)
            return self._patterns

    def _forget(self, _: object) -> None:
        self._patterns = None

    def __reduce__(self) -> tuple[type[LastTable], tuple[()]]:
        """A copy makes its own."""
        return LastTable, ()
