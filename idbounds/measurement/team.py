"""Several processes that train one trial together, each on its share of every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from idbounds.core.errors import ConfigError, TrainingError
from idbounds.measurement.batch_statistics import described
from idbounds.measurement.batches import Indices


@dataclass(frozen=True)
class Team:
    """A place in a team: process `rank` of `size`, whose process group is there (`joined`). A team of one needs none.

    What is summed has the same bits in every process, so that all of them take the same step and decide alike.
    """

    rank: int = 0
    size: int = 1

    def share(self, batch: Indices) -> Indices:
        """This process's examples of a batch, every `size`-th; none where the batch is smaller than the team."""
        return batch[self.rank :: self.size]

    def total(self, number: float) -> float:
        """The sum of each process's number, in float64."""
        if self.size == 1:
            return number
        summed = torch.tensor(number, dtype=torch.float64)
        distributed.all_reduce(summed)
        return float(summed)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum each parameter's gradient over the processes: of a subspace, d numbers. A process without a share adds zeros."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)

    def agreed(self, words: str) -> str:
        """What process 0 says."""
        if self.size == 1:
            return words
        said = [words]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def require_same(self, tensors: Sequence[Tensor]) -> None:
        """Raise TrainingError unless every process holds the same bits."""
        if self.size == 1:
            return
        found: list[str] = [""] * self.size
        distributed.all_gather_object(found, _hash_of(tensors))
        if len(set(found)) > 1:
            raise TrainingError(
                f"the {self.size} processes of a trial ended with different weights; set devices_per_trial = 1 and report it"
            )

    def seed(self, seed: int) -> int:
        """Of dropout: another one in each process, since each has other examples; process 0 has the trial's own."""
        return seed + (self.rank << 32)


ALONE = Team()


@contextmanager
def joined(rank: int, size: int, *, meeting_point: str) -> Iterator[Team]:
    """A team for as long as the context lasts. `meeting_point`: one path of this machine for all, which nothing else uses."""
    if size == 1:
        yield ALONE
        return
    # Numbers go by gloo, gradients by what belongs to their device.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, init_method=f"file://{meeting_point}", rank=rank, world_size=size)
    try:
        yield Team(rank, size)
    finally:
        distributed.destroy_process_group()


def require_divisible(model: nn.Module) -> None:
    """Refuse a model whose loss on a batch is not the mean of those on its parts.

    Raises:
        ConfigError: names the module.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            raise ConfigError(
                f"devices_per_trial is larger than 1, but {described(name, module)} keeps statistics of the batch, of which "
                "each process would see a part; freeze them (freeze_batch_statistics) or set devices_per_trial = 1"
            )


def _hash_of(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
