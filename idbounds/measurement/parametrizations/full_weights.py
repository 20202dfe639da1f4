"""Direct intrinsic dimension (DID): every weight moves along P (Li et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from idbounds.measurement.parametrizations.base import Parametrization
from idbounds.projections.base import Point, Projection


class FullWeights(Parametrization):
    """θ = θ₀ + P θ_d.

    Source: Li, Farkhoor, Liu & Yosinski, ICLR 2018, equation 2; called DID in Aghajanyan et al. 2020.
    """

    name: ClassVar[str] = "full_weights"

    def count_own(self, tensors: Sequence[str]) -> int:  # noqa: ARG002 - none, whatever the model
        """0."""
        return 0

    def describe_own(self) -> str:
        """There are none."""
        return "none"

    def points(self, theta_d: Tensor, projection: Projection) -> dict[str, Point]:
        """θ_d, for every tensor."""
        return dict.fromkeys(self.tensors, projection.at(theta_d))
