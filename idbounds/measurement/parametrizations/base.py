"""What a parametrization is: how d trainable numbers and a projection P move each tensor of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.projections.base import Point, Projection


class Parametrization(ABC):
    """Φ: the d trainable numbers θ_d are first the coordinates that P moves, then `own_coordinates` of Φ's own.

    All of θ_d is 0 at the start, and Φ(0) must be θ₀ in every bit.
    """

    name: ClassVar[str]

    def __init__(self, tensors: Sequence[str], *, dim: int) -> None:
        self.dim = dim
        self.tensors = tuple(tensors)
        self.own_coordinates = self.count_own(tensors)
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

    @abstractmethod
    def count_own(self, tensors: Sequence[str]) -> int:
        """Number of own coordinates for a model with these tensors."""

    @abstractmethod
    def describe_own(self) -> str:
        """What the own coordinates are, for ledgers and errors."""

    @abstractmethod
    def points(self, theta_d: Tensor, projection: Projection) -> dict[str, Point]:
        """For each tensor, the point of the subspace that it is moved to; tensors may share one, which is made once."""

    def move(self, theta_0: Tensor, theta_d: Tensor, *, name: str, projection: Projection) -> Tensor:
        """θ for the tensor `name`; θ₀ in every bit at θ_d = 0."""
        return self.points(theta_d, projection)[name].move(theta_0, name=name)
