"""Where the moved weights are while a model runs: kept in memory of their own, or made again whenever they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.measurement.ahead import Ahead, Kept, by_point, write
from idbounds.measurement.at_hand import Modes, Places, is_of
from idbounds.measurement.sites import autocast_of
from idbounds.measurement.undisturbed import undisturbed
from idbounds.projections.compiled import is_capturing
from idbounds.projections.point import Point

#: In which dtype θ of a tensor, by its name, is asked for.
DtypeOf = Callable[[str, Tensor], torch.dtype]


class Weights(Protocol):
    """Makes θ = θ₀ + P w, tensor by tensor."""

    def begin(self, coordinates: Tensor) -> None:
        """What is asked for next belongs to these values of the trained numbers."""

    def lay_out(self, points: Mapping[str, Point], places: Places, dtype_of: DtypeOf) -> None:
        """Have at hand, until the end of the pass, what most likely will be asked for."""

    def write(self, points: Mapping[str, Point], theta_0: Mapping[str, Tensor], dtype_of: DtypeOf) -> None:
        """All of these tensors, by their names, will be asked for."""

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ for the tensor `name` in a dtype, differentiable in the trained numbers."""

    def during_forward(self) -> AbstractContextManager[None]:
        """Around a forward pass of the model."""


def weights_named(memory: str) -> Weights:
    """The weights for `Subspace(memory=...)`.

    Raises:
        ConfigError: an unknown name.
    """
    kinds: dict[str, Callable[[], Weights]] = {"keep": KeptWeights, "recompute": RemadeWeights}
    if memory not in kinds:
        raise ConfigError(f"memory must be 'keep' or 'recompute', got {memory!r}")
    return kinds[memory]()


class KeptWeights:
    """θ is written to memory that stays, when the trained numbers have changed. Two numbers a weight: θ₀ and θ.

    Filling memory that is there takes a fraction of the time of fresh memory. (Of an embedding's matrix the rows that a batch
    names are made, and not kept: see embeddings.py.)

    A forward pass can be captured in a CUDA graph once it has run: its replays write θ, and of what, to the same memory.

    What was asked for since the trained numbers changed is made together, at the begin of the next pass. On a GPU one launch
    serves all. On a CPU one call does: between two products of matrices nothing of the way to a kernel is in a cache, and to
    go it takes as long as writing a tensor of a million weights.
    """

    def __init__(self) -> None:
        self._coordinates: Tensor | None = None
        self._is_captured = False
        self._kept: dict[tuple[str, torch.dtype], Kept] = {}
        self._ahead = Ahead.of_nothing()

    def begin(self, coordinates: Tensor) -> None:
        """By value, not by version: an optimizer that writes through `.data` leaves no other trace."""
        known = self._coordinates
        if known is None or _kind(known) != _kind(coordinates):
            with torch.inference_mode(False):  # what is made within it has no version, and cannot be written to afterwards
                self._coordinates = coordinates.clone()
            self._kept.clear()  # the model may have moved to another device
            self._ahead.take_away()
            self._ahead = Ahead.of_nothing()
        elif self._is_captured if is_capturing(coordinates.device) else torch.equal(known, coordinates):
            return
        else:
            known.copy_(coordinates)
        self._is_captured = is_capturing(coordinates.device)
        for kept in self._kept.values():
            kept.forget()

    def __deepcopy__(self, memo: dict[int, object]) -> KeptWeights:
        """A copy fills memory of its own when it is asked."""
        return KeptWeights()

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ in its memory; a second backward pass after a change of θ is refused by autograd, as for any weight."""
        kept = self._memory_for(name, theta_0, dtype)
        if not kept.holds(theta_0):
            kept.theta_0 = theta_0
            write(point, [kept])
        kept.is_used = True
        self._ahead.asked_for(kept)
        (theta,) = point.held({name: kept.memory})
        return theta

    def _memory_for(self, name: str, theta_0: Tensor, dtype: torch.dtype) -> Kept:
        kept = self._kept.get((name, dtype))
        if kept is None or not _fits(kept, theta_0):
            with torch.inference_mode(False):
                memory = torch.empty_like(theta_0, dtype=dtype, memory_format=torch.contiguous_format, requires_grad=False)
            kept = self._kept[name, dtype] = Kept(name, memory, theta_0)
        return kept

    def write(self, points: Mapping[str, Point], theta_0: Mapping[str, Tensor], dtype_of: DtypeOf) -> None:
        """Those that are not θ now, together."""
        stale = []
        for name, tensor in theta_0.items():
            kept = self._memory_for(name, tensor, dtype_of(name, tensor))
            if not kept.holds(tensor):
                kept.theta_0 = tensor
                stale.append(kept)
        for point, some in by_point(stale, points).items():
            write(point, some)

    def lay_out(self, points: Mapping[str, Point], places: Places, dtype_of: DtypeOf) -> None:
        """What was asked for since it was written last; where the trained numbers have changed, it is written again."""
        assert self._coordinates is not None, "there are points"
        kind = self._coordinates.device.type
        if not self._ahead.serves(autocast_of(kind)):
            self._ahead.take_away()
            self._ahead = Ahead(list(self._used(places, dtype_of)), places, points, autocast_of(kind))
        self._ahead.begin(points, Modes(kind))

    def _used(self, places: Places, dtype_of: DtypeOf) -> Iterator[Kept]:
        for name, at in places.items():
            theta_0 = at[0]._parameters["original"]
            if theta_0 is None or not all(is_of(steps, theta_0) for steps in at):
                continue
            kept = self._kept.get((name, dtype_of(name, theta_0)))
            if kept is not None and kept.is_used and _fits(kept, theta_0):
                kept.theta_0 = theta_0
                yield kept

    @contextmanager
    def during_forward(self) -> Iterator[None]:
        """A pass that is captured writes θ, since its replays will have other numbers."""
        self._is_captured = False
        try:
            yield
        finally:
            self._ahead.end()


def _fits(kept: Kept, theta_0: Tensor) -> bool:
    return kept.memory.shape == theta_0.shape and kept.memory.device == theta_0.device


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device


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

    def begin(self, coordinates: Tensor) -> None:
        """Nothing is kept, so nothing is stale."""

    def lay_out(self, *_: object) -> None:
        """Nothing is made before it is used."""

    def write(self, *_: object) -> None:
        """Nothing is made before it is used."""

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
