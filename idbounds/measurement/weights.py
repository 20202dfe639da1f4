"""Where the moved weights are while a model runs: kept in memory of their own, or made again whenever they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from idbounds.measurement.undisturbed import undisturbed
from idbounds.projections.adjoint_sum import small_together
from idbounds.projections.compiled import is_capturing
from idbounds.projections.point import Point, Write, Writing


class Weights(Protocol):
    """Makes θ = θ₀ + P w, tensor by tensor."""

    def begin(self, coordinates: Tensor) -> None:
        """What is asked for next belongs to these values of the trained numbers."""

    def at_hand(self, wanted: Iterable[Wanted]) -> dict[str, AtHand]:
        """Of what may be asked for next, what most likely will be, by name."""

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ for the tensor `name` in a dtype, differentiable in the trained numbers."""

    def during_forward(self) -> AbstractContextManager[None]:
        """Around a forward pass of the model."""


class Wanted(NamedTuple):
    """What makes θ of a tensor in a dtype."""

    name: str
    point: Point
    theta_0: Tensor
    dtype: torch.dtype


_Key = tuple[str, torch.dtype]

#: A model whose passes use ever other weights, as one of experts may, leaves something behind for each choice of them.
_MOST_WRITINGS = 256


class _Stamp(NamedTuple):
    """When memory was filled, and from what: a change of either makes it stale."""

    memory_version: int
    source: int
    source_version: int


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def _stamp(memory: Tensor, theta_0: Tensor) -> _Stamp:
    return _Stamp(memory._version, theta_0.data_ptr(), theta_0._version)


@dataclass
class _Kept:
    """Memory for θ of a tensor in a dtype."""

    memory: Tensor
    stamp: _Stamp | None = None  # None: not θ now
    is_used: bool = True  # since the trained numbers changed

    def fits(self, theta_0: Tensor) -> bool:
        """Whether θ would have this memory's shape and device."""
        return self.memory.shape == theta_0.shape and self.memory.device == theta_0.device

    def is_of(self, theta_0: Tensor) -> bool:
        """Whether it holds θ, made from this θ₀ as it is now."""
        return self.stamp is not None and self.stamp == _stamp(self.memory, theta_0)


def _written(what: Sequence[tuple[Wanted, _Kept]]) -> None:
    """θ is in memory now. Compiled code has written it behind autograd's back."""
    torch.autograd.graph.increment_version([kept.memory for _, kept in what])
    for one, kept in what:
        kept.stamp, kept.is_used = _stamp(kept.memory, one.theta_0), False


class _Together:
    """Weights that share a node of autograd's graph.

    It is made when the first of them is asked for, because a backward pass runs what was made last first: with nodes from the
    begin of the pass, no gradient would be projected before all of them had arrived.
    """

    def __init__(self, point: Point, members: Sequence[tuple[Wanted, _Kept]]) -> None:
        self._point, self._members = point, members
        self._held: tuple[Tensor, ...] | None = None

    def held(self) -> tuple[Tensor, ...]:
        if self._held is None:
            self._held = self._point.held({one.name: kept.memory for one, kept in self._members})
        return self._held


class AtHand(NamedTuple):
    """θ of a tensor, written before it is asked for."""

    together: _Together
    number: int  # among them
    kept: _Kept

    def take(self) -> Tensor:
        """θ, now that it is asked for."""
        self.kept.is_used = True
        return self.together.held()[self.number]


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
        self._kept: dict[_Key, _Kept] = {}
        self._writings: dict[tuple[_Key, ...], tuple[list[tuple[int, int]], Writing]] = {}

    def begin(self, coordinates: Tensor) -> None:
        """By value, not by version: an optimizer that writes through `.data` leaves no other trace."""
        known = self._coordinates
        if known is None or _kind(known) != _kind(coordinates):
            with torch.inference_mode(False):  # what is made within it has no version, and cannot be written to afterwards
                self._coordinates = coordinates.clone()
            self._kept.clear()
            self._writings.clear()  # the model may have moved to another device
        elif self._is_captured if is_capturing(coordinates.device) else torch.equal(known, coordinates):
            return
        else:
            known.copy_(coordinates)
        self._is_captured = is_capturing(coordinates.device)
        for kept in self._kept.values():
            kept.stamp = None

    def __deepcopy__(self, memo: dict[int, object]) -> KeptWeights:
        """A copy fills memory of its own when it is asked."""
        return KeptWeights()

    def make(self, point: Point, theta_0: Tensor, *, name: str, dtype: torch.dtype) -> Tensor:
        """θ in its memory; a second backward pass after a change of θ is refused by autograd, as for any weight."""
        kept = self._kept.get((name, dtype))
        if kept is None or not kept.fits(theta_0):
            with torch.inference_mode(False):
                memory = torch.empty_like(theta_0, dtype=dtype, memory_format=torch.contiguous_format, requires_grad=False)
            kept = self._kept[name, dtype] = _Kept(memory)
        if not kept.is_of(theta_0):
            with undisturbed(theta_0.device):
                point.write(kept.memory, name=name, theta_0=theta_0)
            _written([(Wanted(name, point, theta_0, dtype), kept)])
        kept.is_used = True
        (theta,) = point.held({name: kept.memory})
        return theta

    def at_hand(self, wanted: Iterable[Wanted]) -> dict[str, AtHand]:
        """What was asked for since the trained numbers changed; where they have changed again, all of it is written."""
        at_points: dict[Point, list[tuple[Wanted, _Kept]]] = {}
        for one in wanted:
            kept = self._kept.get((one.name, one.dtype))
            if kept is not None and kept.is_used and kept.fits(one.theta_0):
                at_points.setdefault(one.point, []).append((one, kept))
        found = dict[str, AtHand]()
        for point, some in at_points.items():
            stale = [(one, kept) for one, kept in some if not kept.is_of(one.theta_0)]
            if stale:
                with undisturbed(stale[0][1].memory.device):
                    self._writing_of(point, stale).write(point)
                _written(stale)
            for part in small_together([one.theta_0.numel() for one, _ in some], some[0][1].memory.device):
                together = _Together(point, some[part])
                found.update({one.name: AtHand(together, number, kept) for number, (one, kept) in enumerate(some[part])})
        return found

    def _writing_of(self, point: Point, stale: Sequence[tuple[Wanted, _Kept]]) -> Writing:
        """Most passes use what the one before used, in the same memory."""
        names = tuple((one.name, one.dtype) for one, _ in stale)
        addresses = [(kept.memory.data_ptr(), one.theta_0.data_ptr()) for one, kept in stale]
        known = self._writings.get(names)
        if known is not None and known[0] == addresses:
            return known[1]
        writing = point.writing([Write(one.name, kept.memory, one.theta_0) for one, kept in stale])
        if all(one.theta_0.is_contiguous() for one, _ in stale):  # else what is written from is a copy
            if len(self._writings) == _MOST_WRITINGS:
                self._writings.clear()
            self._writings[names] = (addresses, writing)
        return writing

    @contextmanager
    def during_forward(self) -> Iterator[None]:
        """A pass that is captured writes θ, since its replays will have other numbers."""
        self._is_captured = False
        yield


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

    def at_hand(self, wanted: Iterable[Wanted]) -> dict[str, AtHand]:  # noqa: ARG002 - as of those that keep
        """Nothing."""
        return {}

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
