"""Running means and variances of BatchNorm: numbers that depend on data without being trained.

Training mode changes them, so they are part of what was learned; a message holds the d trained numbers and nothing else.
Freeze them before training (`freeze_batch_statistics`), or count them (`recalibrate_batch_statistics`) and certify
nothing: `require_unchanged_statistics` refuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from idbounds.core.errors import ConfigError
from idbounds.measurement.batches import Data, call


class FrozenBatchNorm(nn.Module):
    """BatchNorm that uses its running statistics in every mode and never changes them; the names of its tensors are kept."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: _NormBase) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / sqrt(variance + eps) · weight + bias, a channel at a time; channels are the second axis."""
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

    def extra_repr(self) -> str:
        """What nn.Module prints."""
        return f"{self.running_mean.numel()}, eps={self.eps}"


def freeze_batch_statistics(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm of a model, in place, by one that keeps its running statistics; returns the model.

    Weights keep their names and go on being trained. It holds in any training loop, whatever train() is called with.
    Of a network that was not trained before, the statistics are mean 0 and variance 1: no normalisation at all.
    """
    if _has_statistics(model) and isinstance(model, _NormBase):
        return FrozenBatchNorm(model)
    for name, child in list(model.named_children()):
        setattr(model, name, freeze_batch_statistics(child))
    return model


def require_single_inputs(model: nn.Module) -> None:
    """Refuse a model whose prediction for one input depends on the batch: a module in training mode, or a BatchNorm without
    running statistics.

    Raises:
        ConfigError: names the module.
    """
    for name, module in model.named_modules():
        where = described(name, module)
        if module.training:
            raise ConfigError(
                f"{where} is in training mode after eval(): errors are counted in eval mode only; remove its train()"
            )
        if isinstance(module, _NormBase) and module.running_mean is None and _normalises_over_the_batch(module):
            raise ConfigError(
                f"{where} has no running statistics and normalises with those of the batch, so a prediction depends on the "
                "other examples; build it with track_running_stats=True"
            )


def described(name: str, module: nn.Module) -> str:
    """A module in an error's words, by its name within the model; the model itself has none."""
    return f"module {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"


def require_unchanged_statistics(model: nn.Module, *, theta_0: nn.Module) -> None:
    """Refuse to certify a model whose running statistics are not θ₀'s: they depend on the sample and no message holds them.

    Raises:
        ConfigError: says how many numbers changed.
    """
    changed = changed_statistics(model, theta_0=theta_0)
    if changed:
        raise ConfigError(
            f"{changed} running statistics of BatchNorm changed during training and are in no message, so the network that was "
            "trained is not the one that would be certified; call freeze_batch_statistics(model) before training"
        )


def changed_statistics(model: nn.Module, *, theta_0: nn.Module) -> int:
    """How many running means and variances differ from θ₀'s; `model` may be θ₀ in a `Subspace`."""
    pairs = zip(_statistics(model), _statistics(theta_0), strict=True)
    return sum(int((one != other).sum()) for one, other in pairs)


@torch.no_grad()
def recalibrate_batch_statistics(model: nn.Module, data: Data, *, batch_size: int) -> int:
    """Set the running statistics to those of these data under the present weights; labels are not looked at.

    The mean over the evaluation batches of each batch's mean and (unbiased) variance. Returns how many numbers now depend
    on the data, to be counted beside d: two a channel. Other modules stay in eval mode.
    """
    norms = [module for module in model.modules() if isinstance(module, _NormBase) and _has_statistics(module)]
    if not norms:
        raise ConfigError("the model has no running statistics to recalibrate, or they are frozen; leave the step out")
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain average
        norm.train()
    device = next(model.parameters()).device
    for indices in data.evaluation_batches(batch_size):
        call(model, data.batch(indices).to(device).inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    return sum(tensor.numel() for tensor in _statistics(model))


def _has_statistics(module: Any) -> bool:
    return isinstance(getattr(module, "running_mean", None), Tensor)


def _normalises_over_the_batch(module: nn.Module) -> bool:
    # InstanceNorm without statistics normalises within one example.
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _statistics(model: nn.Module) -> list[Tensor]:
    """Running means and variances in the order of the modules."""
    owners = [module for module in model.modules() if _has_statistics(module)]
    return [tensor for module in owners for tensor in (module.running_mean, module.running_var) if isinstance(tensor, Tensor)]
