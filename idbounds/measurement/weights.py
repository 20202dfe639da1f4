"""Where the moved weights are while a model runs: kept in memory of their own, or made again whenever they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.measurement.undisturbed import undisturbed
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


class _Kept(NamedTuple):
    """θ of a tensor, and what it was made from."""

    memory: Tensor
    theta_0: Tensor
    stamp: _Stamp | None


class KeptWeights:
    """θ is written to memory that stays, when the trained numbers have changed. Two numbers a weight: θ₀ and θ.

    Filling memory that is there takes a fraction of the time of fresh memory. Where `transient` names a tensor its θ is
    made for each use and not kept: an embedding's weight takes no part in the backward pass, so nothing needs it longer.
    """

    def __init__(self, transient: frozenset[str] = frozenset()) -> None:
        self.transient = transient
        self._coordinates: Tensor | None = None
        self._points: Mapping[str, Point] = {}
        self._kept: dict[str, _Kept] = {}

    def begin(self, coordinates: Tensor, points: Mapping[str, Point]) -> None:
        """By value, not by version: an optimizer that writes through `.data` leaves no other trace."""
        known, self._points = self._coordinates, points
        if known is None or known.device != coordinates.device or not _equal(known, coordinates):
            self._coordinates = coordinates.detach().clone()
            self._kept = {name: kept._replace(stamp=None) for name, kept in self._kept.items()}

    def __deepcopy__(self, memo: dict[int, object]) -> KeptWeights:
        """A copy fills memory of its own when it is asked."""
        return KeptWeights(self.transient)

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ in its memory; a second backward pass after a change of θ is refused by autograd, as for any weight."""
        if name in self.transient:
            with undisturbed(theta_0.device):
                return point.move(theta_0, name=name, dtype=dtype)
        kept = self._kept.get(name)
        if kept is None or (kept.memory.shape, kept.memory.dtype, kept.memory.device) != (theta_0.shape, dtype, theta_0.device):
            memory = torch.empty_like(theta_0, dtype=dtype, memory_format=torch.contiguous_format, requires_grad=False)
            self._kept[name] = kept = _Kept(memory, theta_0, None)
        if kept.stamp != _Stamp(kept.memory._version, theta_0.data_ptr(), theta_0._version):
            self._kept[name] = kept._replace(theta_0=theta_0, stamp=None)
            self._fill(point, name)
        return point.held(kept.memory, name=name)

    def _fill(self, point: Point, name: str) -> None:
        """Write θ of a tensor; on a GPU also of all others that stand at the same point, since one launch serves them all."""
        names = [name]
        if self._kept[name].memory.device.type != "cpu":
            stale = (one for one, kept in self._kept.items() if kept.stamp is None and one != name)
            names += [one for one in stale if self._points[one] is point]
        some = [self._kept[one] for one in names]
        with undisturbed(some[0].memory.device):
            point.write_all([Write(one, kept.memory, kept.theta_0) for one, kept in zip(names, some, strict=True)])
        # Compiled code writes to memory behind autograd's back.
        torch.autograd.graph.increment_version([kept.memory for kept in some])
        for one, (memory, theta_0, _) in zip(names, some, strict=True):
            self._kept[one] = _Kept(memory, theta_0, _Stamp(memory._version, theta_0.data_ptr(), theta_0._version))

    @contextmanager
    def during_forward(self) -> Iterator[None]:
        """A graph of launches that is being captured writes θ in every pass: its replays will have other numbers."""
        if self._coordinates is not None and _is_captured(self._coordinates):
            self._coordinates = None
        try:
            yield
        finally:
            self._points = {}  # they hold autograd's graph


def _equal(known: Tensor, coordinates: Tensor) -> bool:
    """Whether the numbers are the same; while a graph of launches is captured nobody can look at them."""
    return _is_captured(known) or torch.equal(known, coordinates)


def _is_captured(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


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
