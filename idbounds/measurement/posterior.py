"""Gaussian posteriors in the coordinates of a `Subspace`, trained on a PAC-Bayes bound by the reparametrised gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from idbounds.core.errors import ConfigError
from idbounds.measurement.batches import Batch
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks.classification import Classification

#: σ at the start, in root mean squares of the trial's vector. Small enough that the first draws predict as the trial does.
_FIRST_SIGMA = 0.3


class GaussianSubspace(nn.Module):
    """A subspace at w = μ + σ ⊙ z, with z drawn anew in each forward pass; the trained numbers are μ and ln σ.

    Both are held in units of the trial's root mean square, so that one learning rate fits them. The wrapped network stays in
    eval mode, in which the draws will be counted.
    """

    def __init__(self, subspace: Subspace) -> None:
        super().__init__()
        start = subspace.theta_d.detach().clone()
        self.unit = float(start.double().square().mean().sqrt())
        if not (math.isfinite(self.unit) and self.unit > 0):
            raise ConfigError(f"the trial's vector has root mean square {self.unit}; take a trial that has moved")
        self.subspace = subspace.eval()
        self.unit_mean = nn.Parameter(start / self.unit)
        self.unit_log_sigma = nn.Parameter(torch.full_like(start, math.log(_FIRST_SIGMA)))

    def train(self, mode: bool = True) -> GaussianSubspace:
        """Of this module alone."""
        self.training = mode
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network at one draw."""
        w = self.unit * (self.unit_mean + self.unit_log_sigma.exp() * torch.randn_like(self.unit_mean))
        return torch.func.functional_call(self.subspace, {"theta_d": w}, args, kwargs)

    def kl(self) -> Tensor:
        """KL(N(μ, diag σ²) ‖ N(0, τ² I)) in nats at the best τ, which is the root mean square of σ and μ together."""
        second_moment = self.unit_mean.square() + (2 * self.unit_log_sigma).exp()
        return len(self.unit_mean) / 2 * second_moment.mean().log() - self.unit_log_sigma.sum()

    @property
    def mean(self) -> Tensor:
        """μ, (d,) float32."""
        return (self.unit_mean.detach() * self.unit).float().cpu()

    @property
    def log_sigma(self) -> Tensor:
        """ln σ, (d,) float32."""
        return (self.unit_log_sigma.detach() + math.log(self.unit)).float().cpu()


class PacBayesObjective(Classification):
    """The quadratic PAC-Bayes bound with cross-entropy in place of the error: what training a posterior lowers.

    Formula: (√(r + κ) + √κ)², κ = (KL + penalty) / 2n, r = mean cross-entropy / ln 2.
    Source: Pérez-Ortiz et al. (2021), JMLR 22(227), `f_quad`. r is at least the error: where the right class is not the
    likeliest it has at most probability 1/2. It is not bounded as the theorem asks, and need not be: no bound is read off it.
    The mean of 1 - p(right class), which is bounded, was tried: on the quickstart it left a third more errors.

    Args:
        n: training examples that the bound will be on.
        penalty: nats beside KL: what the choices cost, and ln(2√n/δ).
    """

    name = "pac_bayes_objective"
    auto_class = ""

    def __init__(self, *, n: int, penalty: float) -> None:
        self._n, self._penalty = n, penalty

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The bound with one draw's error on the batch."""
        if not isinstance(model, GaussianSubspace):
            raise ConfigError(f"this objective is for a GaussianSubspace, got {type(model).__name__}")
        risk = super().loss(model, batch) / math.log(2)
        kappa = (model.kl() + self._penalty) / (2 * self._n)
        return ((risk + kappa).sqrt() + kappa.sqrt()).square()
