"""Where the moved weights are while a model runs: kept in memory of their own, or made again whenever they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.measurement.undisturbed import undisturbed
from idbounds.projections.compiled import is_capturing
from idbounds.projections.point import Point, Write


class Weights(Protocol):
    """Makes θ = θ₀ + P w, tensor by tensor."""

    def begin(self, coordinates: Tensor, points: Mapping[str, Point]) -> None:
        """What is asked for next belongs to these values of the trained numbers."""

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ for the tensor `name` in a dtype, differentiable in the trained numbers."""

    def during_forward(self) -> AbstractContextManager[None]:
        """Around a forward pass of the model."""


class _Stamp(NamedTuple):
    """When memory was filled, and from what: a change of either makes it stale."""

    memory_version: int
    source: int
    source_version: int


@dataclass
class _Kept:
    """θ of a tensor in a dtype, and what it was made from."""

    memory: Tensor
    theta_0: Tensor
    stamp: _Stamp | None = None
    is_used: bool = True  # since the trained numbers changed


class KeptWeights:
    """θ is written to memory that stays, when the trained numbers have changed. Two numbers a weight: θ₀ and θ.

    Filling memory that is there takes a fraction of the time of fresh memory. Where `transient` names a tensor its θ is
    made for each use and not kept: an embedding's weight takes no part in the backward pass, so nothing needs it longer.
    (Where nothing else is done with it, a CPU does not make it at all: see embeddings.py.)

    A forward pass can be captured in a CUDA graph once it has run: its replays write θ, and of what, to the same memory.
    """

    def __init__(self, transient: frozenset[str] = frozenset()) -> None:
        self.transient = transient
        self._coordinates: Tensor | None = None
        self._is_captured = False
        self._points: Mapping[str, Point] = {}
        self._kept: dict[tuple[str, torch.dtype], _Kept] = {}
        self._stale: dict[Point, list[tuple[str, _Kept]]] | None = None

    def begin(self, coordinates: Tensor, points: Mapping[str, Point]) -> None:
        """By value, not by version: an optimizer that writes through `.data` leaves no other trace."""
        self._points, self._stale, known = points, None, self._coordinates
        if known is None or (known.shape, known.device) != (coordinates.shape, coordinates.device):
            with torch.inference_mode(False):  # what is made within it has no version, and cannot be written to afterwards
                self._coordinates = coordinates.clone()
            self._kept.clear()  # the model may have moved to another device
        elif self._is_captured if is_capturing(coordinates.device) else torch.equal(known, coordinates):
            return
        else:
            known.copy_(coordinates)
        self._is_captured = is_capturing(coordinates.device)
        for kept in self._kept.values():
            kept.stamp = None

    def __deepcopy__(self, memo: dict[int, object]) -> KeptWeights:
        """A copy fills memory of its own when it is asked."""
        return KeptWeights(self.transient)

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ in its memory; a second backward pass after a change of θ is refused by autograd, as for any weight."""
        if name in self.transient:
            with undisturbed(theta_0.device):
                return point.move(theta_0, name=name, dtype=dtype)
        kept = self._kept.get((name, dtype))
        if kept is None or (kept.memory.shape, kept.memory.device) != (theta_0.shape, theta_0.device):
            with torch.inference_mode(False):
                memory = torch.empty_like(theta_0, dtype=dtype, memory_format=torch.contiguous_format, requires_grad=False)
            kept = self._kept[name, dtype] = _Kept(memory, theta_0)
        if kept.stamp != _stamp(kept.memory, theta_0):
            kept.theta_0, kept.stamp = theta_0, None
            self._fill(point, name, kept)
        kept.is_used = True
        return point.held(kept.memory, name=name)

    def _fill(self, point: Point, name: str, kept: _Kept) -> None:
        """Write θ of a tensor, and of all others at the same point that were used before.

        On a GPU one launch serves all. On a CPU one call does: between two products of matrices nothing of the way to a
        kernel is in a cache, and to go it takes as long as writing a tensor of a million weights.
        """
        filled, device = [(name, kept)], kept.memory.device
        alike = ((one, other) for one, other in self._stale_at(point) if other is not kept)
        filled += [(one, other) for one, other in alike if other.memory.device == other.theta_0.device == device]
        with undisturbed(device):
            point.write_all([Write(one, other.memory, other.theta_0) for one, other in filled])
        # Compiled code writes to memory behind autograd's back.
        torch.autograd.graph.increment_version([other.memory for _, other in filled])
        for _, other in filled:
            other.stamp, other.is_used = _stamp(other.memory, other.theta_0), False

    def _stale_at(self, point: Point) -> list[tuple[str, _Kept]]:
        """What is to be made with the first tensor at a point: sorted out once a pass, and handed out once."""
        if self._stale is None:
            self._stale = {}
            for (name, _), kept in self._kept.items():
                if kept.stamp is None and kept.is_used:
                    self._stale.setdefault(self._points[name], []).append((name, kept))
        return self._stale.pop(point, [])

    @contextmanager
    def during_forward(self) -> Iterator[None]:
        """A pass that is captured writes θ, since its replays will have other numbers."""
        self._is_captured = False
        try:
            yield
        finally:
            self._points, self._stale = {}, None  # they hold autograd's graph


def _stamp(memory: Tensor, theta_0: Tensor) -> _Stamp:
    return _Stamp(memory._version, theta_0.data_ptr(), theta_0._version)


class _Recipe(NamedTuple):
    """What autograd keeps in place of a view of θ."""

    point: Point
    theta_0: Tensor
    name: str
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class RemadeWeights:
    """θ is made where it is used and freed after it; the backward pass makes it again. One number a weight: θ₀.

    What operations save for their backward pass is looked at through `saved_tensors_hooks`: θ and its views are replaced by
    the recipe. A copy of θ in another dtype, as autocast may make it, is not θ and is kept.
    """

    def __init__(self) -> None:
        # By the address of its storage.
        self._alive: dict[int, tuple[weakref.ref[Tensor], Point, Tensor, str]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> RemadeWeights:
        """Nothing to copy between passes."""
        return RemadeWeights()

    def begin(self, coordinates: Tensor, points: Mapping[str, Point]) -> None:
        """Nothing is kept, so nothing is stale."""

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ in fresh memory."""
        with undisturbed(theta_0.device):
            theta, detached = point.move(theta_0, name=name, dtype=dtype), point.detached
        self._alive[theta.untyped_storage().data_ptr()] = (weakref.ref(theta), detached, theta_0, name)
        return theta

    @contextmanager
    def during_forward(self) -> Iterator[None]:
        """With the hooks in place."""
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
                yield
        finally:
            self._alive.clear()

    def _pack(self, saved: Tensor) -> Tensor | _Recipe:
        """The recipe of a θ that is alive, or the tensor. A dead one's memory may belong to another tensor by now."""
        entry = self._alive.get(saved.untyped_storage().data_ptr())
        if entry is None or entry[0]() is None:
            return saved
        _, point, theta_0, name = entry
        return _Recipe(point, theta_0, name, saved.dtype, saved.size(), saved.stride(), int(saved.storage_offset()))

    @staticmethod
    def _unpack(kept: Tensor | _Recipe) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            theta = kept.point.move(kept.theta_0, name=kept.name, dtype=kept.dtype)
        return theta.as_strided(kept.size, kept.stride, kept.offset)
