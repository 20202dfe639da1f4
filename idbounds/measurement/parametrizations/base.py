"""What a parametrization is: how d trainable numbers and a projection P move each tensor of a model."""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from idbounds.core.errors import ConfigError
from idbounds.measurement.parametrizations.scales import scale_groups
from idbounds.measurement.recurrent import forget_moved_weights
from idbounds.measurement.undisturbed import undisturbed
from idbounds.projections.base import Projection
from idbounds.projections.point import Point


class Parametrization:
    """Φ: the d trainable numbers θ_d are first the coordinates that P moves, then `own_coordinates` of Φ's own.

    All of θ_d is 0 at the start, and Φ(0) must be θ₀ in every bit. A family says by `prepare` which tensors P moves. Each
    of them moves by λ P w, where the option ``scales`` says what shares one λ: ``"none"`` (λ is 1), ``"layer"`` or
    ``"tensor"``. λ = 1 + μ, and the μ are the last numbers of θ_d.

    Args:
        tensors: names of all that move, in order.
        dim: d, with the own coordinates.
        scales: None is the family's `default_scales`.

    Raises:
        ConfigError: d leaves nothing to P, or `scales` is unknown.
    """

    name: ClassVar[str]
    default_scales: ClassVar[str] = "none"

    @classmethod
    def prepare(cls, model: nn.Module, *_: Any, **__: Any) -> nn.Module:
        """Put Φ's own tensors into a model: afterwards those with requires_grad move along P, and no other.

        The model may be changed; at the tensors' first values every weight must still be θ₀ in every bit. A family
        names its options, keyword arguments, in the place of the open signature here, which has none.
        """
        return model

    @classmethod
    def prepared(cls, model: nn.Module, options: Mapping[str, Any]) -> nn.Module:
        """`prepare` with options by name; ``scales`` is left to the constructor.

        Raises:
            ConfigError: an option that the family does not have, or one that it needs is missing.
        """
        parameters = inspect.signature(cls.prepare).parameters
        known = {name: value for name, value in parameters.items() if value.kind is value.KEYWORD_ONLY}
        unknown = sorted(set(options) - {*known, "scales"})
        if unknown:
            raise ConfigError(f"unknown option {unknown[0]!r} for {cls.name!r}; it has {[*known, 'scales']}")
        missing = [name for name, value in known.items() if value.default is value.empty and name not in options]
        if missing:
            raise ConfigError(f"{cls.name!r} needs the option {missing[0]!r}; its docstring says what to give")
        for module in model.modules():
            if parametrize.is_parametrized(module):
                # A copy shares its class with the module that it was copied from; a step put on one would appear on both.
                _renew_class(module, dict(module.parametrizations.items()))  # type: ignore[union-attr, operator]
        return cls.prepare(model, **{name: value for name, value in options.items() if name != "scales"})

    @classmethod
    def recorded(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as plain JSON, for the record of what d numbers mean; what is too large for it, by its hash.

        Raises:
            ConfigError: an option that JSON cannot hold.
        """
        try:
            plain: dict[str, Any] = json.loads(json.dumps(dict(options)))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"the options of {cls.name!r} cannot be recorded ({error}); give numbers, texts and lists"
            ) from None
        return plain

    @classmethod
    def baked(cls, model: nn.Module) -> nn.Module:
        """The inverse of `prepare`: a model of the original classes, with the weights that the tensors make."""
        bake(model, Reparametrization)
        # Recurrent layers hold a list of their weights.
        forget_moved_weights(model)
        return model

    def __init__(self, tensors: Sequence[str], *, dim: int, scales: str | None = None) -> None:
        self.dim = dim
        self.tensors = tuple(tensors)
        self.scales = self.default_scales if scales is None else scales
        self._group = scale_groups(self.tensors, self.scales)
        self.own_coordinates = self.count_own()
        if dim <= self.own_coordinates:
            raise ConfigError(
                f"{self.name!r} has {self.own_coordinates} coordinates of its own ({self.describe_own()}), "
                f"so d must be larger than that, got d = {dim}; choose a larger d"
            )

    @property
    def projected_dim(self) -> int:
        """Columns of P: d minus the parametrization's own coordinates."""
        return self.dim - self.own_coordinates

    def ledger(self) -> dict[str, int]:
        """How many trainable numbers there are of each kind; the sum is d."""
        kinds = {"projected coordinates": self.projected_dim}
        if self.own_coordinates:
            kinds[self.describe_own()] = self.own_coordinates
        return kinds

    def count_own(self) -> int:
        """Number of own coordinates: the λ."""
        return len(set(self._group.values()))

    def describe_own(self) -> str:
        """What the own coordinates are, for ledgers and errors."""
        return f"{self.scales} scales λ" if self._group else "none"

    def points(self, theta_d: Tensor, projection: Projection) -> Mapping[str, Point]:
        """For each tensor, the point of the subspace that it is moved to; tensors that share one λ share it.

        Each is made when it is first asked for: where a part of a model is run again alone, only that part's are.
        """
        projected, own = theta_d[: self.projected_dim], theta_d[self.projected_dim :]
        if not self._group:
            return _Points(dict.fromkeys(self.tensors, 0), lambda _: projection.at(projected), theta_d.device)
        # λ is put on the short side of P, where it costs nothing.
        return _Points(self._group, lambda group: projection.at((1.0 + own[group]) * projected), theta_d.device)

    def move(self, theta_0: Tensor, theta_d: Tensor, *, name: str, projection: Projection) -> Tensor:
        """θ for the tensor `name`; θ₀ in every bit at θ_d = 0."""
        return self.points(theta_d, projection)[name].move(theta_0, name=name)


class _Points(Mapping[str, Point]):
    """Points by the names of tensors, one for each group of them, made once."""

    def __init__(self, group: Mapping[str, int], make: Callable[[int], Point], device: torch.device) -> None:
        @cache
        def made(number: int) -> Point:
            with undisturbed(device):
                return make(number)

        self._group, self._make = group, made

    def __getitem__(self, name: str) -> Point:
        return self._make(self._group[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)


class Reparametrization(nn.Module, ABC):
    """How one weight is made from θ₀ and small tensors, which are its trainable parameters: θ = θ₀ - (-Δ).

    At their first values Δ is 0 and θ is θ₀ in every bit.
    """

    @abstractmethod
    def negative_change(self, theta_0: Tensor) -> Tensor:
        """-Δ, with as many numbers as θ₀ has, in the precision of the small tensors."""

    def forward(self, theta_0: Tensor) -> Tensor:
        """θ in the shape and dtype of θ₀, summed in the wider dtype of the two and cast last, also under autocast.

        -0.0 - 0.0 is -0.0, while -0.0 + 0.0 is +0.0; adding 0.0 to -Δ makes all its zeros +0.0.
        """
        with torch.autocast(theta_0.device.type, enabled=False):
            negative = self.negative_change(theta_0).reshape(theta_0.shape)
            return (theta_0 - (negative + 0.0)).to(theta_0.dtype)


def reparametrize(places: Sequence[tuple[nn.Module, str]], step: Reparametrization) -> None:
    """Make the weight that stands in all these (module, attribute) places by `step`; θ₀ itself is frozen."""
    for module, attribute in places:
        module._parameters[attribute].requires_grad_(False)  # type: ignore[union-attr]
        parametrize.register_parametrization(module, attribute, step, unsafe=True)


@torch.no_grad()
def bake(model: nn.Module, kind: type[nn.Module]) -> None:
    """Replace every weight that a step of this kind makes by a plain trainable parameter of the value that it has."""
    made = [
        (module, {attribute: getattr(module, attribute).detach().clone() for attribute in attributes})
        for module in model.modules()
        if parametrize.is_parametrized(module) and (attributes := _made_by(module, kind))
    ]
    # All values are made before any is written: a tied weight stands in two places with one original.
    for module, values in made:
        originals = _without_steps(module, list(values))
        for attribute, value in values.items():
            originals[attribute].copy_(value).requires_grad_(True)


def _made_by(module: nn.Module, kind: type[nn.Module]) -> list[str]:
    """The attributes that a step of this kind makes."""
    lists = module.parametrizations.items()  # type: ignore[union-attr, operator]
    return [attribute for attribute, steps in lists if any(isinstance(step, kind) for step in steps)]


def _without_steps(module: nn.Module, attributes: Sequence[str]) -> dict[str, Tensor]:
    """Make these attributes the original parameters again; steps of the caller's on other attributes stay.

    Not torch's remove_parametrizations: it deletes the property from the class, which a copied module shares with the
    module that it was copied from.
    """
    lists = dict(module.parametrizations.items())  # type: ignore[union-attr, operator]
    originals = {attribute: lists.pop(attribute).original for attribute in attributes}
    _renew_class(module, lists)
    module._parameters.update(originals)
    return originals


def _renew_class(module: nn.Module, lists: dict[str, nn.Module]) -> None:
    """Give a parametrized module its plain class back, and if steps are left a class of its own that computes them.

    What register_parametrization does, without its right inverse, which may change the bits of the originals.
    """
    del module._modules["parametrizations"]
    module.__class__ = type(module).__bases__[0]
    if lists:
        parametrize._inject_new_class(module)
        module.parametrizations = nn.ModuleDict(lists)
        for attribute in lists:
            parametrize._inject_property(module, attribute)
