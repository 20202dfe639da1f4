"""θ at hand: a module finds it where torch's parametrization would be called for each weight.

Torch's way from a module's attribute to what makes its value leads through two modules and takes longer than a small layer.
What a pass is going to need is known from the one before, so it is written at its begin: see ahead.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from idbounds.measurement.sites import autocast_of

if TYPE_CHECKING:
    from idbounds.measurement.subspace import Subspace

#: The places of each tensor that moves, by its name: torch's steps from θ₀ to the value of a module's attribute.
Places = Mapping[str, Sequence[ParametrizationList]]


class AtHand(Protocol):
    """θ of a tensor."""

    def is_on(self) -> bool:
        """Whether it is the θ that is asked for now."""

    def take(self) -> Tensor:
        """It."""


class Modes:
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

    @property
    def subspace(self) -> Subspace:
        """The one that moves it."""
        return self._owner[0]

    def forward(self, theta_0: Tensor) -> Tensor:
        """See `Subspace.moved`."""
        return self.subspace.moved(theta_0, self.name)


#: Where the steps have what is at hand.
_KEY = "theta_at_hand"


def register(module: nn.Module, attribute: str, moved: nn.Module) -> ParametrizationList:
    """Parametrize a module's tensor, so that its value is what is at hand, or else what `moved` makes of it."""
    register_parametrization(module, attribute, moved, unsafe=True)
    kind: Any = type(module)  # a class of its own, which torch has given it and takes away again with its parametrizations
    by_torch = getattr(kind, attribute)

    def value(self: Any) -> Tensor:
        found: AtHand | None = self._modules["parametrizations"]._modules[attribute].__dict__.get(_KEY)
        theta: Tensor = found.take() if found is not None and found.is_on() else by_torch.fget(self)
        return theta

    setattr(kind, attribute, property(value, by_torch.fset))
    steps: ParametrizationList = module.parametrizations[attribute]  # type: ignore[index, assignment]
    return steps


def lay(steps: ParametrizationList, found: AtHand | None) -> None:
    """Have θ of a place at hand, or no more."""
    steps.__dict__[_KEY] = found


def is_of(steps: ParametrizationList, theta_0: Tensor) -> bool:
    """Whether a place has this θ₀ now, and no other step than ours."""
    return steps._parameters["original"] is theta_0 and len(steps._modules) == 1
