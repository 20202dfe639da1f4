"""Making θ in the middle of a model's forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Within, θ is made as if the model were not running.

    What making θ saves is not for the hooks around the model: checkpointing counts the tensors that a block saves, and there
    would be more of them when the block is run again alone. Nor is it for autocast: P is applied in full precision.
    """
    with torch.autocast(device.type, enabled=False), torch.autograd.graph.saved_tensors_hooks(_as_it_is, _as_it_is):
        yield


def _as_it_is(saved: Tensor) -> Tensor:
    return saved
