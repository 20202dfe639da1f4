"""The units that rows of `TableProjection` come in, and what those of one tensor are made from: what kernels need to know."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

#: Of a word of signs the low half is used: so many signs.
SIGNS = 32

#: Rows of a unit where they are not mixed: a run of neighbours, with one sign.
RUN = 32
#: Where they are mixed, a unit is 32 lines of so many numbers, each line with a sign: 8 KiB in float32, so that a unit stays in
#: the first-level cache.
LINES, COLUMNS = SIGNS, 64
#: So many lines are mixed by the first two of the five stages that mix 32.
QUAD = 4


class Tensorwise(NamedTuple):
    """What the units of one tensor are made from: the arguments of the compiled kernels too."""

    groups: int  # stretches, of one unit each, in a variant of the table; a segment is as many units
    variants: int
    sign_key: int  # SplitMix64 key; bit l < 32 of word k is the sign of run, or of line, number 32 k + l
    segment_key: int  # SplitMix64 key; word s has the variant of segment s in its low half, and its offset in its high half
    multiplier: int  # unit p of a segment takes stretch (multiplier p + offset) mod groups
    rotates: bool  # else every offset is 0
    mixes: bool  # whether a unit is 32 lines of 64 numbers, mixed by the Hadamard matrix of size 32; else a run of 32


class Piece(NamedTuple):
    """Rows of one tensor, for the compiled kernels: those from `start` on, as many as `rows` has."""

    about: Tensorwise
    start: int
    rows: Tensor  # contiguous memory to be written, or what the transposed rows are multiplied by
    base: Tensor | None = None  # what the rows written are subtracted from
    #: For kernels that look up: of the tensor, a matrix as wide as `rows` is now, these rows; and `base` is all of them.
    indices: Tensor | None = None
