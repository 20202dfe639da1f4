"""What rounded coefficients cost, as a table that training can follow: the codes `gaussian` and `laplace` at their best scales.

Adaptive counts are no guide: where few coefficients are 0, a 0 costs more there than a 1, and training would be led away from
the many zeros that are cheap once they are many. In these two codes a larger magnitude always costs more.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.discretized import NUM_MAGNITUDES, NUM_SCALES, Gaussian, Laplace, frequencies

#: What the choice of a scale costs in either code.
SCALE_BITS = math.log2(NUM_SCALES)


def magnitude_bits(magnitudes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bits of magnitudes 0 ... 256, their sign included, in the code and scale that make (d,) integers shortest.

    Their sum over the integers, with `SCALE_BITS`, is the length of the shorter code up to its ending. 256 stands for all
    larger ones, without what they take beyond it.
    """
    counts = np.bincount(np.minimum(magnitudes, NUM_MAGNITUDES), minlength=NUM_MAGNITUDES + 1)
    tables = _tables()
    found: NDArray[np.float64] = tables[int(np.argmin(tables @ counts))]
    return found


@cache
def _tables() -> NDArray[np.float64]:
    """One row for each code and scale; made once, in a tenth of a second."""
    rows = [frequencies(scale, code.power).bits for code in (Gaussian, Laplace) for scale in range(NUM_SCALES)]
    tables = np.stack(rows)
    tables[:, 1:] += 1.0
    return tables
