"""Networks for images, untrained or pretrained, with what a specification says of them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from idbounds.core.errors import ConfigError
from idbounds.core.model_spec import ImageInput
from idbounds.core.values import ModelSpec
from idbounds.measurement.auto_models import load_model_for
from idbounds.measurement.batches import Inputs, call
from idbounds.measurement.image_splits import LabelledImages
from idbounds.measurement.models import Pretrained, fingerprint, local_name
from idbounds.measurement.small_networks import small_network

#: What the record says of the networks of `SMALL_NETWORKS`: those of Li et al. and a wider one.
_NAMES = {"convnet": "ConvNet", "lenet": "LeNet", "mlp": "MLP"}


@dataclass(frozen=True)
class Common:
    """What is said of every network for images: its input, the classes, the seed of new weights, images counted at a time."""

    images: ImageInput
    num_labels: int
    head_seed: int
    eval_batch_size: int


def load_small_network(name: str, common: Common) -> Pretrained:
    """An untrained network of `SMALL_NETWORKS`, every weight of it drawn from the seed."""
    model = small_network(name, shape=common.images.shape, num_labels=common.num_labels, seed=common.head_seed)
    return _described(model, common, name=_NAMES[name], source=f"idbounds {name}, untrained", citation_key="li2018measuring")


def load_architecture(
    where: str,
    common: Common,
    *,
    name: str | None = None,
    citation_key: str | None = None,
) -> Pretrained:
    """The network that a function of the user's makes: ``"module:function"``, called as function(num_labels=…, seed=…).

    torch's random state is seeded around the call, so that layers which torch initialises are the same
    each time on one version of torch. On another version the weights' hash says if they are not.
    """
    function = _imported(where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(common.head_seed)
        model = function(num_labels=common.num_labels, seed=common.head_seed)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"architecture {where!r} gives {type(model).__name__}; it must return a torch.nn.Module")
    return _described(model.eval(), common, name=name or where, source=where, citation_key=citation_key)


def load_image_classifier(
    source: str,
    common: Common,
    *,
    revision: str | None = None,
    name: str | None = None,
    citation_key: str | None = None,
) -> Pretrained:
    """A model of transformers for image classification, from a folder or by its Hugging Face name, with its head."""
    model = load_model_for(
        "image_classification",
        source,
        num_labels=common.num_labels,
        head_seed=common.head_seed,
        dtype="float32",
        revision=revision,
    )
    known_as = local_name(source)
    described_as = known_as if revision is None else f"{known_as}@{revision}"
    # The name that image models of transformers have for their input.
    return _described(
        model, common, name=name or known_as, source=described_as, citation_key=citation_key, argument="pixel_values"
    )


def _described(
    model: nn.Module, common: Common, *, name: str, source: str, citation_key: str | None, argument: str | None = None
) -> Pretrained:
    _require_fit(model, common, argument=argument)
    spec = ModelSpec.checked(
        name=name,
        source=source,
        citation_key=citation_key,
        num_weights=sum(parameter.numel() for parameter in model.parameters()),
        theta0_sha256=fingerprint(model),
        head="architecture",
        **vars(common),
    )

    return Pretrained(model, spec, partial(LabelledImages.encode, how=common.images, argument=argument))


def _require_fit(model: nn.Module, common: Common, *, argument: str | None) -> None:
    """Refuse a network that cannot be called with such images, or has another number of classes."""
    blank = torch.zeros(1, *common.images.shape)
    inputs: Inputs = blank if argument is None else {argument: blank}
    try:
        with torch.no_grad():
            output = call(model, inputs)
    except Exception as error:  # whatever a network raises for a shape that it does not take
        raise ConfigError(
            f"the network cannot be called with images of shape {common.images.shape}: "
            f"{str(error).strip() or type(error).__name__}; give images of the size and channels that it takes"
        ) from error
    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, common.num_labels):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ConfigError(
            f"the network gives {shape} for one image of {common.num_labels} classes; it must give (1, {common.num_labels})"
        )


def _imported(where: str) -> Any:
    module, _, function = where.partition(":")
    if not module or not function:
        raise ConfigError(f'architecture must read "module:function", got {where!r}')
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"architecture {where!r} cannot be imported: {error}; put the module where Python finds it (PYTHONPATH)"
        ) from error
