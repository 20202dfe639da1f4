"""Batches, and the data that give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idbounds.core.errors import DataError

#: What a model is called with: a tensor as its one argument, or tensors by the names of its arguments.
Inputs = Tensor | dict[str, Tensor]

Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """Some examples: what the model is called with, and the labels. The first axis of every tensor is the example."""

    inputs: Inputs
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        if isinstance(self.inputs, Tensor):
            return Batch(self.inputs.to(device), self.labels.to(device))
        return Batch({name: tensor.to(device) for name, tensor in self.inputs.items()}, self.labels.to(device))


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model's output."""
    return model(inputs) if isinstance(inputs, Tensor) else model(**inputs)


class Data(Protocol):
    """Examples of one split, as training and counting want them."""

    @property
    def lengths(self) -> Indices:
        """What each example costs, in any unit: examples of like length are put together by length bucketing."""

    def __len__(self) -> int:
        """Number of examples."""

    def batch(self, indices: Indices) -> Batch:
        """These examples, in this order. Called with indices of any kind: the padding may be the longest one's."""

    def evaluation_batches(self, batch_size: int) -> Iterator[Indices]:
        """Every example once, in batches in which no example's input depends on another example."""


@dataclass(frozen=True)
class Arrays:
    """Examples of one shape, such as images: no padding. `inputs` and `labels` hold one example a row."""

    inputs: Inputs
    labels: Tensor

    def __post_init__(self) -> None:
        tensors = {"inputs": self.inputs} if isinstance(self.inputs, Tensor) else self.inputs
        for name, tensor in tensors.items():
            if len(tensor) != len(self.labels):
                raise DataError(
                    f"{name} has {len(tensor)} examples and there are {len(self.labels)} labels; give one label each"
                )
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError(f"{name} has a number that is not finite; remove or repair that example")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Indices:
        """All alike."""
        return np.ones(len(self), dtype=np.int64)

    def take(self, indices: Indices) -> Arrays:
        """The examples at these positions, in this order."""
        return Arrays(*self.batch(indices))

    def batch(self, indices: Indices) -> Batch:
        """Inputs and labels of these examples."""
        chosen = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        if isinstance(self.inputs, Tensor):
            return Batch(self.inputs[chosen], self.labels[chosen])
        return Batch({name: tensor[chosen] for name, tensor in self.inputs.items()}, self.labels[chosen])

    def evaluation_batches(self, batch_size: int) -> Iterator[Indices]:
        """Consecutive examples."""
        for start in range(0, len(self), batch_size):
            yield np.arange(start, min(start + batch_size, len(self)))


class ByKind:
    """Other data, of which any examples can be taken; the batches of each hold examples of one kind, as the whole's do."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self._kind = np.empty(len(data), dtype=np.int64)
        # A batch as large as the data: examples in one of these may share any batch.
        for kind, indices in enumerate(data.evaluation_batches(len(data))):
            self._kind[indices] = kind

    def take(self, indices: Indices) -> Taken:
        """The examples at these positions, in this order."""
        return Taken(self.data, indices, self._kind[indices])


@dataclass(frozen=True)
class Taken:
    """Some examples of other data; `kinds` says which of them may share a batch."""

    data: Data
    indices: Indices
    kinds: Indices

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def lengths(self) -> Indices:
        """As they are in the whole."""
        return self.data.lengths[self.indices]

    def batch(self, indices: Indices) -> Batch:
        """Inputs and labels of these examples."""
        return self.data.batch(self.indices[indices])

    def evaluation_batches(self, batch_size: int) -> Iterator[Indices]:
        """Batches of one kind."""
        for kind in np.unique(self.kinds):
            same = np.flatnonzero(self.kinds == kind)
            for start in range(0, len(same), batch_size):
                yield same[start : start + batch_size]
