"""θ at hand: a forward pass finds it where torch's parametrization would be called for each weight.

Torch's way from a module's attribute to what makes its value leads through two modules and takes longer than a small layer.
What a pass is going to need is known from the one before, so it is made at its begin and left with the modules until its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from idbounds.measurement.ahead import AtHand
from idbounds.measurement.sites import autocast_of

if TYPE_CHECKING:
    from idbounds.measurement.subspace import Subspace


class _Modes:
    """What decides which θ a weight has, beside the trained numbers, as it was at the begin of a pass."""

    def __init__(self, kind: str) -> None:
        self._kind, self._follows, self._autocast = kind, torch.is_grad_enabled(), autocast_of(kind)

    def are_on(self) -> bool:
        """Whether they are still the same: within a pass a model may turn off derivatives, or autocast."""
        return torch.is_grad_enabled() == self._follows and autocast_of(self._kind) == self._autocast


class Moved(nn.Module):
    """θ₀ -> θ for one tensor. Knows its subspace without owning it, so that parameters are listed once."""

    def __init__(self, subspace: Subspace, name: str) -> None:
        super().__init__()
        # In a tuple, nn.Module does not register it; deepcopy still maps it to the copy.
        self._owner = (subspace,)
        self.name = name

    def forward(self, theta_0: Tensor) -> Tensor:
        """See `Subspace.moved`."""
        (subspace,) = self._owner
        return subspace.moved(theta_0, self.name)

    def looks_up(self, theta_0: Tensor, indices: Tensor) -> bool:
        """See `Subspace.looks_up`."""
        (subspace,) = self._owner
        return subspace.looks_up(theta_0, indices)

    def looked_up(self, theta_0: Tensor, indices: Tensor, padding: int | None) -> Tensor:
        """See `Subspace.looked_up`."""
        (subspace,) = self._owner
        return subspace.looked_up(theta_0, self.name, indices, padding)


class Place(NamedTuple):
    """Where a moved tensor stands: an attribute of a module, and torch's steps from θ₀ to its value."""

    module: nn.Module
    attribute: str
    steps: parametrize.ParametrizationList


def register(module: nn.Module, attribute: str, moved: nn.Module) -> Place:
    """Parametrize a module's tensor, so that its value is what is at hand, or else what `moved` makes of it."""
    parametrize.register_parametrization(module, attribute, moved, unsafe=True)
    kind: Any = type(module)  # a class of its own, which torch has given it and takes away again with its parametrizations
    by_torch, key = getattr(kind, attribute), _key(attribute)

    def value(self: nn.Module) -> Tensor:
        found: tuple[_Modes, AtHand] | None = self.__dict__.get(key)
        if found is not None and found[0].are_on():
            return found[1].take()
        theta: Tensor = by_torch.fget(self)
        return theta

    setattr(kind, attribute, property(value, by_torch.fset))
    return Place(module, attribute, module.parametrizations[attribute])  # type: ignore[index, arg-type]


def theta_0_of(places: Mapping[str, Sequence[Place]]) -> dict[str, Tensor]:
    """θ₀ as it is now, by the tensors' names, of those with no other step than ours and one θ₀ in all places."""
    found = dict[str, Tensor]()
    for name, at in places.items():
        steps = at[0].steps
        theta_0 = steps._parameters["original"]
        is_one = len(at) == 1 or all(other.steps._parameters["original"] is theta_0 for other in at)
        if theta_0 is not None and len(steps._modules) == 1 and is_one:
            found[name] = theta_0
    return found


@contextmanager
def laid_out(moved: Mapping[str, AtHand], places: Mapping[str, Sequence[Place]], kind: str) -> Iterator[None]:
    """Within, the places of these tensors on a kind of device have θ at hand, while the modes are those of now."""
    modes, filled = _Modes(kind), []
    for name, one in moved.items():
        for module, attribute, _ in places[name]:
            key, attributes = _key(attribute), module.__dict__
            attributes[key] = (modes, one)
            filled.append((attributes, key))
    try:
        yield
    finally:
        for attributes, key in filled:
            attributes.pop(key, None)


def _key(attribute: str) -> str:
    return f"_{attribute}_at_hand"
