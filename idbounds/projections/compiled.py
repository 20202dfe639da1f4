"""Which compiled kernels serve a tensor: those of numba where it is installed (extra ``fast``), else none."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from idbounds.projections.table import Tensorwise

#: Set to anything, this leaves the compiled kernels out; P has the same bits either way.
SWITCH = "IDBOUNDS_PURE_TORCH"


class Kernels(Protocol):
    """The two products, for the families of `TableProjection`."""

    def write_rows(self, table: Tensor, base: Tensor | None, out: Tensor, about: Tensorwise, start: int) -> None:
        """out = rows, or base - rows."""

    def add_adjoint(self, total: Tensor, g: Tensor, about: Tensorwise, start: int) -> None:
        """Add the transposed product to `total`, a table."""


def kernels_for(like: Tensor) -> Kernels | None:
    """The kernels for a tensor's device, or None for the path through torch."""
    if like.device.type != "cpu" or os.environ.get(SWITCH):
        return None
    return _numba_kernels()


@lru_cache(maxsize=1)
def _numba_kernels() -> Kernels | None:
    try:
        importlib.import_module("numba")
    except ImportError:
        return None
    kernels: Kernels = importlib.import_module("idbounds.projections.numba_kernels")
    return kernels
