"""What a run declares about a stochastic predictor before it is trained, and the certificate of one."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from idbounds.core.certificate import RiskCertificate
from idbounds.core.fields import Count, Fraction, Sha256, Size
from idbounds.core.records import Record

#: What a run may certify: the network that a message decodes to, or one drawn anew from a posterior for each prediction.
Predictor = Literal["message", "stochastic"]


class StochasticSpec(Record):
    """The priors N(0, τ² I) that may be chosen from, and how the risk of the posterior is estimated.

    τ is one of `num_scales` numbers, largest_scale · scale_ratio^-j, with equal masses. `draws` networks are drawn from the
    posterior; each is counted on `examples_a_draw` training examples drawn for it, or on all of them if there are no more.
    `steps` and `learning_rate` train the posterior: they enter no decoder and are not paid for.
    """

    largest_scale: Annotated[float, Field(gt=0)]
    scale_ratio: Annotated[float, Field(gt=1)]
    num_scales: Annotated[int, Field(ge=1, le=2**16, strict=True)]
    draws: Annotated[int, Field(ge=1, le=2**20, strict=True)]
    examples_a_draw: Size
    draw_seed: Count
    steps: Size
    learning_rate: Annotated[float, Field(gt=0)]


class Draws(Record):
    """Errors of each network that was drawn, on `examples` examples of one part, and the upper end of their mean under Q."""

    errors: tuple[Count, ...] = Field(min_length=1)
    examples: Size
    risk_at_most: Fraction

    @model_validator(mode="after")
    def _errors_fit(self) -> Self:
        if max(self.errors) > self.examples:
            raise ValueError(f"errors must be at most examples = {self.examples}, got {max(self.errors)}")
        return self

    @property
    def mean(self) -> float:
        """The estimate itself, without its margin."""
        return sum(self.errors) / (len(self.errors) * self.examples)


class StochasticCertificate(Record):
    """`stochastic.json`: bounds on the risk of a network drawn anew from the posterior for each prediction.

    `posterior_sha256` is that of posterior.safetensors, which holds μ and ln σ; d, seed and the index of τ are choices from the
    specification's menus. `kl_nats` is KL(Q‖P) alone, rounded up; the ledger of `training` has the price of the choices too.
    """

    spec_sha256: Sha256
    posterior_sha256: Sha256
    d: Size
    seed: Count
    scale_index: Count
    kl_nats: float = Field(ge=0)
    train_draws: Draws
    test_draws: Draws
    training: RiskCertificate
    held_out: RiskCertificate
    majority_error: Fraction
    delta_covers: str
    versions: dict[str, str]
