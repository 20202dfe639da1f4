"""Where the trainable tensors of a model stand: every module and attribute that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn

from idbounds.core.errors import ConfigError


class Site(NamedTuple):
    """One place of a tensor."""

    module: nn.Module
    attribute: str
    tensor: Tensor


def trainable_sites(model: nn.Module) -> dict[str, list[Site]]:
    """Name -> every place of that trainable tensor; the aliases of a tied tensor go with its first name.

    Raises:
        ConfigError: none is trainable, or one is not floating point.
    """
    first_name: dict[int, str] = {}
    sites: dict[str, list[Site]] = {}
    for prefix, module in model.named_modules():
        # A copy: registering a parametrization changes the dictionary that is walked.
        for attribute, tensor in list(module._parameters.items()):
            if tensor is None or not tensor.requires_grad:
                continue
            if not tensor.is_floating_point():
                raise ConfigError(f"weight {prefix}.{attribute} has dtype {tensor.dtype}; only floating-point weights can move")
            name = first_name.setdefault(id(tensor), f"{prefix}.{attribute}" if prefix else attribute)
            sites.setdefault(name, []).append(Site(module, attribute, tensor))
    if not sites:
        raise ConfigError("the model has no trainable parameters; set requires_grad on those that should move")
    return sites


#: Layers all of whose weights autocast casts: torch's list of operations in the narrower dtype, "Automatic Mixed Precision".
_CAST_BY_AUTOCAST = frozenset(layer.forward for layer in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))


def cast_by_autocast(site: Site) -> bool:
    """Whether under autocast the layer at a place computes with its tensor in the narrower dtype, whatever that tensor's."""
    return type(site.module).forward in _CAST_BY_AUTOCAST


def autocast_of(kind: str) -> torch.dtype | None:
    """The narrower dtype of autocast on a kind of device, if it is on now."""
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def autocast_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype in which autocast gives a tensor to such a layer now."""
    narrower = autocast_of(tensor.device.type) if tensor.dtype == torch.float32 else None
    return tensor.dtype if narrower is None else narrower


def trained_directly(sizes: Mapping[str, int], patterns: Sequence[str], *, dim: int) -> dict[str, tuple[int, int]]:
    """For each tensor that matches a pattern, where among d numbers its weights are: the last ones, as (start, size).

    Raises:
        ConfigError: a pattern matches nothing, all tensors match, or no number is left for P.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in sizes):
            raise ConfigError(
                f"train_directly: no trainable tensor matches {pattern!r}; there are {', '.join(list(sizes)[:5])}…"
            )
    chosen = {name: size for name, size in sizes.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    count = sum(chosen.values())
    if len(chosen) == len(sizes):
        raise ConfigError("train_directly matches every trainable tensor, so nothing is left to move along P; name fewer")
    if count >= dim:
        raise ConfigError(f"d = {dim} must be larger than the {count} weights that are trained directly; choose a larger d")
    places, start = {}, dim - count
    for name, size in chosen.items():
        places[name] = (start, size)
        start += size
    return places


def moved_directly(theta_0: Tensor, change: Tensor) -> Tensor:
    """θ₀ + change in the shape and dtype of θ₀; θ₀ in every bit where the change is 0, since -0.0 - 0.0 is -0.0."""
    precision = torch.promote_types(theta_0.dtype, change.dtype)
    negative = change.to(precision).neg() + 0.0
    return (theta_0.detach().to(precision) - negative.view(theta_0.shape)).to(theta_0.dtype)
