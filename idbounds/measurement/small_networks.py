"""Small networks for images, untrained: their weights are drawn from a seed, the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream

#: (channels, height, width) of an image.
Shape = tuple[int, int, int]


def mlp(shape: Shape, num_labels: int) -> nn.Sequential:
    """Two hidden layers of 200, as in Li et al. 2018: 784-200-200-10 on MNIST (199,210 weights)."""
    hidden = (nn.Linear(math.prod(shape), 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(200, num_labels))


def lenet(shape: Shape, num_labels: int) -> nn.Sequential:
    """Li et al. 2018's LeNet: 6 and 16 kernels of 5 x 5, each with pooling by 2, then 120 and 84 (44,426 weights on MNIST)."""
    return _convolutional("lenet", shape, kernels=(6, 16), pooling=nn.MaxPool2d, hidden=(120, 84), num_labels=num_labels)


def convnet(shape: Shape, num_labels: int) -> nn.Sequential:
    """As LeNet, wider, with means for pooling and one hidden layer: 16 and 32 kernels, then 128 (80,202 weights on MNIST).

    It needs fewer directions than LeNet for the same training errors (docs/results/index.md, certified).
    """
    return _convolutional("convnet", shape, kernels=(16, 32), pooling=nn.AvgPool2d, hidden=(128,), num_labels=num_labels)


def _convolutional(
    name: str,
    shape: Shape,
    *,
    kernels: tuple[int, int],
    pooling: Callable[[int], nn.Module],
    hidden: tuple[int, ...],
    num_labels: int,
) -> nn.Sequential:
    channels, *sides = shape
    left = [((side - 4) // 2 - 4) // 2 for side in sides]
    if min(left) < 1:
        raise ConfigError(f"{name} needs images of at least 16 x 16, got {sides[0]} x {sides[1]}; take the mlp")
    body: list[nn.Module] = []
    for before, after in pairwise((channels, *kernels)):
        body += [nn.Conv2d(before, after, 5), nn.ReLU(), pooling(2)]
    head: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((kernels[-1] * math.prod(left), *hidden)):
        head += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*body, *head, nn.Linear(hidden[-1], num_labels))


SMALL_NETWORKS: dict[str, Callable[[Shape, int], nn.Sequential]] = {"convnet": convnet, "lenet": lenet, "mlp": mlp}


# torch draws weights of its own, which are then overwritten: the caller's random state must not notice.
@torch.random.fork_rng(devices=[])
def small_network(name: str, *, shape: Shape, num_labels: int, seed: int) -> nn.Sequential:
    """A network of `SMALL_NETWORKS` with weights N(0, 1 / (3 fan-in)) and biases 0, drawn from `seed`.

    The variance is that of torch's own default for these layers, uniform within 1 / sqrt(fan-in): a convention that no data
    set of the user's has had a part in, as a certificate asks.
    """
    model = SMALL_NETWORKS[name](shape, num_labels)
    with torch.no_grad():
        for tensor_name, tensor in model.named_parameters():
            if tensor.ndim < 2:
                tensor.zero_()
            else:
                drawn = Stream(seed=seed, purpose="initialisation", name=tensor_name).normal(0, tensor.numel())
                tensor.copy_(math.sqrt(1 / (3 * tensor[0].numel())) * torch.from_numpy(drawn).view_as(tensor))
    return model.eval()
