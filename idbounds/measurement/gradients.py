"""The gradient of a part of a batch: computed, or replayed from a CUDA graph."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idbounds.core.errors import ConfigError
from idbounds.measurement.batches import Batch
from idbounds.measurement.memory_errors import is_short_of_memory
from idbounds.measurement.precision import Precision
from idbounds.measurement.tasks import LearningTask

#: Graphs of one training: each keeps its inputs, and a capture takes as long as many steps. Batches of texts have as many
#: shapes as there are lengths of the longest one; what comes after these is computed.
_MOST_GRAPHS = 64
#: So many parts of some shapes are computed before they are captured.
_COMPUTED = 2

_Shapes = tuple[tuple[str, torch.Size, torch.dtype], ...]


class Gradients:
    """Adds gradients of a task's loss, in a precision, to those of the model's trained parameters."""

    def __init__(self, model: nn.Module, *, task: LearningTask, precision: Precision, device: torch.device) -> None:
        self._model, self._task, self._precision, self._device = model, task, precision, device

    def add(self, part: Batch, share: float) -> float:
        """The gradient of the part's mean loss times its share in the whole batch; returns that share of the loss."""
        return float(self._add(part.to(self._device), share))

    def _add(self, part: Batch, share: float | Tensor) -> Tensor:
        with self._precision.autocast:
            loss = self._task.loss(self._model, part)
        if loss.ndim != 0 or not loss.requires_grad:
            raise ConfigError(
                f"the loss of task {self._task.name!r} must be a scalar with a gradient, got shape {tuple(loss.shape)}, "
                f"requires_grad {loss.requires_grad}; return a mean and do not detach it"
            )
        weighted = loss * share
        self._precision.backward(weighted)
        return weighted.detach()


class CapturedGradients(Gradients):
    """The same, where parts of the same shapes come again and again: launching kernels one by one takes longer than they do.

    The first two parts of some shapes are computed, since what is compiled and allocated at first use cannot be captured.
    With the next one its kernels are captured in a CUDA graph, which is replayed from then on. Gradients must stay in their
    memory: `optimizer.zero_grad(set_to_none=False)`.

    Raises:
        ConfigError: a step that cannot be captured, such as one that looks at its numbers.
    """

    def __init__(self, model: nn.Module, *, task: LearningTask, precision: Precision, device: torch.device) -> None:
        super().__init__(model, task=task, precision=precision, device=device)
        self._computed: Counter[_Shapes] = Counter()
        self._graphs: dict[_Shapes, _Graph] = {}

    def add(self, part: Batch, share: float) -> float:
        """As `Gradients.add`."""
        shapes = _shapes(part)
        if shapes not in self._graphs:
            if self._computed[shapes] < _COMPUTED or len(self._graphs) == _MOST_GRAPHS:
                self._computed[shapes] += 1
                return super().add(part, share)
            self._graphs[shapes] = self._captured(part)
        return self._graphs[shapes].replay(part, share)

    def _captured(self, part: Batch) -> _Graph:
        kept, share, graph = part.to(self._device), torch.ones((), device=self._device), torch.cuda.CUDAGraph()
        # One pool for all: a replay has no use for what another left, but for gradients, which are outside of it.
        pool = next((other.graph.pool() for other in self._graphs.values()), None)
        try:
            with torch.cuda.graph(graph, pool=pool):
                loss = self._add(kept, share)
        except RuntimeError as error:
            _end_draws(self._device)
            if is_short_of_memory(error):
                raise
            raise ConfigError(
                f"cuda_graphs = true, but a step of this model cannot be captured ({str(error).splitlines()[0]}); "
                "set cuda_graphs = false"
            ) from error
        return _Graph(graph, kept, share, loss)


def _end_draws(device: torch.device) -> None:
    """A capture that failed leaves torch's generator believing in it, so that nothing more could be drawn; a copy does not."""
    generator = torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    generator.graphsafe_set_state(generator.clone_state())


@dataclass(frozen=True)
class _Graph:
    """A captured step, and the memory of what it reads and gives."""

    graph: torch.cuda.CUDAGraph
    part: Batch
    share: Tensor
    loss: Tensor

    def replay(self, part: Batch, share: float) -> float:
        for kept, given in zip(_tensors(self.part).values(), _tensors(part).values(), strict=True):
            kept.copy_(given)
        self.share.fill_(share)
        self.graph.replay()
        return float(self.loss)


def _tensors(part: Batch) -> dict[str, Tensor]:
    """In an order that does not depend on that of the model's arguments."""
    inputs = {"": part.inputs} if isinstance(part.inputs, Tensor) else part.inputs
    return {**{f"input {name}": inputs[name] for name in sorted(inputs)}, "labels": part.labels}


def _shapes(part: Batch) -> _Shapes:
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in _tensors(part).items())
