"""Which compiled kernels serve a tensor: numba's on a CPU (extra ``fast``), Triton's on a GPU, else none."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from idbounds.projections.units import Piece

#: Set to anything, this leaves the compiled kernels out; P has the same bits either way.
SWITCH = "IDBOUNDS_PURE_TORCH"


class Kernels(Protocol):
    """The two products, for the families of `TableProjection`."""

    #: Whether pieces may have indices.
    LOOKS_UP: bool

    def writing(self, pieces: Sequence[Piece]) -> Callable[[Tensor], None]:
        """What makes of a table, for each piece, its rows: those of P, or base - those of P. As often as it is called."""

    def add_adjoint(self, total: Tensor, pieces: Sequence[Piece]) -> None:
        """For each piece: add the transposed product to `total`, a table."""


class Transforms(Protocol):
    """What tables are made by."""

    def walsh_hadamard(self, values: Tensor) -> Tensor:
        """As `idbounds.projections.hadamard.walsh_hadamard`."""


def kernels_for(like: Tensor) -> Kernels | None:
    """The kernels for a tensor's device, or None for the path through torch.

    On a GPU the kernels' transposed product adds by atomic operations, so torch.use_deterministic_algorithms leaves them out.
    """
    return cast("Kernels | None", _module_for(like.device, _KERNELS))


def is_capturing(device: torch.device) -> bool:
    """Whether what is launched on a device is being captured in a CUDA graph: then nobody can look at its numbers."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def transforms_for(like: Tensor) -> Transforms | None:
    """The transforms for a tensor's device, or None for the path through torch."""
    return cast("Transforms | None", _module_for(like.device, _TRANSFORMS))


#: For each type of device, what must be installed and the module of kernels.
_KERNELS = {
    "cpu": ("numba", "idbounds.projections.numba_kernels"),
    "cuda": ("triton", "idbounds.projections.triton_kernels"),
}
_TRANSFORMS = {
    "cpu": ("numba", "idbounds.projections.numba_hadamard"),
    "cuda": ("triton", "idbounds.projections.triton_hadamard"),
}


def _module_for(device: torch.device, modules: dict[str, tuple[str, str]]) -> Any:
    deterministic = device.type == "cuda" and torch.are_deterministic_algorithms_enabled()
    if device.type not in modules or os.environ.get(SWITCH) or deterministic:
        return None
    return _load(*modules[device.type])


@lru_cache(maxsize=len(_KERNELS) + len(_TRANSFORMS))
def _load(package: str, module: str) -> Any:
    try:
        importlib.import_module(package)
    except ImportError:
        return None
    return importlib.import_module(module)
