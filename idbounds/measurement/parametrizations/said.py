"""Structure-aware intrinsic dimension (SAID): one trained scale λ a layer (Aghajanyan et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from idbounds.measurement.parametrizations.base import Parametrization
from idbounds.projections.base import Point, Projection


class Said(Parametrization):
    """θ_i = θ₀_i + λ_layer(i) P_i θ_{d-m}, with m layers and λ = 1 + μ, μ trained from 0.

    The last m of the d trainable numbers are the μ, so λ is counted in d and written in the message.
    The map is quadratic in (λ, θ); the derivative by λ is 0 at the start.

    Source: Aghajanyan, Zettlemoyer & Gupta 2020, section 3.1: m is the number of layers. (The released
    code takes one λ a tensor, 393 for RoBERTa-large, from which the paper's d = 207 cannot come.)
    """

    name: ClassVar[str] = "said"

    def __init__(self, tensors: Sequence[str], *, dim: int) -> None:
        super().__init__(tensors, dim=dim)
        layers = list(dict.fromkeys(layer_of(tensor) for tensor in tensors))
        self._layer = {tensor: layers.index(layer_of(tensor)) for tensor in tensors}

    def count_own(self, tensors: Sequence[str]) -> int:
        """The number of layers."""
        return len({layer_of(tensor) for tensor in tensors})

    def describe_own(self) -> str:
        """λ."""
        return "layer scales λ"

    def points(self, theta_d: Tensor, projection: Projection) -> dict[str, Point]:
        """λ θ_{d-m}, one point a layer: λ is put on the short side of P, where it costs nothing."""
        projected, own = theta_d[: self.projected_dim], theta_d[self.projected_dim :]
        of_layer = [projection.at((1.0 + mu) * projected) for mu in own]
        return {tensor: of_layer[layer] for tensor, layer in self._layer.items()}


def layer_of(tensor: str) -> str:
    """The layer that a tensor belongs to: its name up to the first number, else up to its first module.

    Examples:
        >>> layer_of("encoder.layer.11.attention.self.query.weight")
        'encoder.layer.11'
        >>> layer_of("classifier.weight")
        'classifier'
    """
    parts = tensor.split(".")
    for position, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: position + 1])
    # Without a number: "encoder.embeddings.word.weight" and "encoder.pooler.weight" are two layers.
    return ".".join(parts[: min(2, len(parts) - 1)]) if len(parts) > 1 else tensor
