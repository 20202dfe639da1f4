"""Where the moved weights are while a model runs: kept in memory of their own, or made again whenever they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.projections import Point


class Weights(Protocol):
    """Makes θ = θ₀ + P w, tensor by tensor."""

    def begin(self, coordinates: Tensor) -> None:
        """What is asked for next belongs to these values of the trained numbers."""

    def make(self, point: Point, theta_0: Tensor, *, name: str) -> Tensor:
        """θ for the tensor `name`, differentiable in the trained numbers."""

    def during_forward(self) -> AbstractContextManager[None]:
        """Around a forward pass of the model."""


class _Stamp(NamedTuple):
    """When memory was filled, and from what: a change of either makes it stale."""

    memory_version: int
    source: int
    source_version: int


@dataclass
class KeptWeights:
    """θ is written to memory that stays, when the trained numbers have changed. Two numbers a weight: θ₀ and θ.

    Filling memory that is there takes a fraction of the time of fresh memory. Where `transient` names a tensor its θ is
    made for each use and not kept: an embedding's weight takes no part in the backward pass, so nothing needs it longer.
    """

    transient: frozenset[str] = frozenset()
    _coordinates: Tensor | None = None
    _memory: dict[str, Tensor] = field(default_factory=dict)
    _stamps: dict[str, _Stamp] = field(default_factory=dict)

    def begin(self, coordinates: Tensor) -> None:
        """By value, not by version: an optimizer that writes through `.data` leaves no other trace."""
        known = self._coordinates
        if known is None or known.device != coordinates.device or not torch.equal(known, coordinates):
            self._coordinates = coordinates.detach().clone()
            self._stamps.clear()

    def __deepcopy__(self, memo: dict[int, object]) -> KeptWeights:
        """A copy fills memory of its own when it is asked."""
        return KeptWeights(self.transient)

    def make(self, point: Point, theta_0: Tensor, *, name: str) -> Tensor:
        """θ in its memory; a second backward pass after a change of θ is refused by autograd, as for any weight."""
        if name in self.transient:
            return point.move(theta_0, name=name)
        memory = self._memory.get(name)
        if memory is None or (memory.shape, memory.dtype, memory.device) != (theta_0.shape, theta_0.dtype, theta_0.device):
            memory = self._memory[name] = torch.empty_like(theta_0, memory_format=torch.contiguous_format, requires_grad=False)
        source = (theta_0.data_ptr(), theta_0._version)
        if self._stamps.get(name) != _Stamp(memory._version, *source):
            point.write(memory, theta_0=theta_0, name=name)
            # Compiled code writes to memory behind autograd's back.
            torch.autograd.graph.increment_version(memory)
            self._stamps[name] = _Stamp(memory._version, *source)
        return point.held(memory, name=name)

    def during_forward(self) -> nullcontext[None]:
        """Nothing to do."""
        return nullcontext()


class _Recipe(NamedTuple):
    """What autograd keeps in place of a view of θ."""

    point: Point
    theta_0: Tensor
    name: str
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class RemadeWeights:
    """θ is made where it is used and freed after it; the backward pass makes it again. One number a weight: θ₀.

    What operations save for their backward pass is looked at through `saved_tensors_hooks`: θ and its views are replaced by
    the recipe. A copy of θ in another dtype, as autocast makes it, is not θ and is kept.
    """

    def __init__(self) -> None:
        # By the address of its storage.
        self._alive: dict[int, tuple[weakref.ref[Tensor], Point, Tensor, str]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> RemadeWeights:
        """Nothing to copy between passes."""
        return RemadeWeights()

    def begin(self, coordinates: Tensor) -> None:
        """Nothing is kept, so nothing is stale."""

    def make(self, point: Point, theta_0: Tensor, *, name: str) -> Tensor:
        """θ in fresh memory."""
        theta = point.move(theta_0, name=name)
        self._alive[theta.untyped_storage().data_ptr()] = (weakref.ref(theta), point.detached, theta_0, name)
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
        return _Recipe(point, theta_0, name, saved.size(), saved.stride(), int(saved.storage_offset()))

    @staticmethod
    def _unpack(kept: Tensor | _Recipe) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        with torch.no_grad():
            theta = kept.point.move(kept.theta_0, name=kept.name)
        return theta.as_strided(kept.size, kept.stride, kept.offset)
