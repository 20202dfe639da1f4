"""Which compiled kernels serve a tensor: numba's on a CPU (extra ``fast``), Triton's on a GPU, else none."""

from __future__ import annotations

import importlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import torch
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
    """The kernels for a tensor's device, or None for the path through torch.

    On a GPU the kernels' transposed product adds by atomic operations, so torch.use_deterministic_algorithms leaves them out.
    """
    kind = like.device.type
    if kind not in _KERNELS or os.environ.get(SWITCH) or (kind == "cuda" and torch.are_deterministic_algorithms_enabled()):
        return None
    return _load(*_KERNELS[kind])


#: For each type of device, what must be installed and the module of kernels.
_KERNELS = {
    "cpu": ("numba", "idbounds.projections.numba_kernels"),
    "cuda": ("triton", "idbounds.projections.triton_kernels"),
}


@lru_cache(maxsize=len(_KERNELS))
def _load(package: str, module: str) -> Kernels | None:
    try:
        importlib.import_module(package)
    except ImportError:
        return None
    kernels: Kernels = importlib.import_module(module)
    return kernels
