"""Training and counting errors: one loop for full fine-tuning, subspace training and training with rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from idbounds.core.errors import TrainingError
from idbounds.core.streams import Stream
from idbounds.core.values import Score, TrainingSpec
from idbounds.measurement.models import Tokenized

#: Called after each step with (step, steps, loss).
Progress = Callable[[int, int, float], None]


def train(
    model: nn.Module,
    parameters: Iterable[nn.Parameter],
    *,
    data: Tokenized,
    learning_rate: float,
    steps: int,
    seed: int,
    settings: TrainingSpec,
    progress: Progress | None = None,
) -> float:
    """AdamW without weight decay, linear warm-up and linear decay to 0, cross-entropy; returns the mean loss of the last tenth.

    The order of examples and the dropout masks depend on `seed` alone; the caller's random state is left as it was.

    Raises:
        TrainingError: the loss is NaN or infinite.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0, fused=True)
    warmup = max(1, round(settings.warmup_fraction * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    losses = []
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step, indices in enumerate(_batches(len(data), batch_size=settings.batch_size, steps=steps, seed=seed)):
            inputs, labels = data.batch(indices)
            loss = nn.functional.cross_entropy(model(**inputs), labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is {losses[-1]} at step {step + 1} with learning rate {learning_rate}; try a smaller one"
                )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(trained, settings.clip_norm)
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, steps, losses[-1])
    tail = losses[-max(1, steps // 10) :]
    return math.fsum(tail) / len(tail)


def _batches(n: int, *, batch_size: int, steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """`steps` batches from one random order of the examples after another."""
    stream = Stream(seed=seed, purpose="training/order")
    epoch, waiting = 0, np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, stream.permutation(epoch * n, n)])
            epoch += 1
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


@torch.no_grad()
def count_errors(model: nn.Module, data: Tokenized, *, batch_size: int) -> Score:
    """Errors under the 0-1 loss, in eval mode, with a pinned batch size.

    A tie for the largest logit and a logit that is not a number count as errors: the predictor must name
    the right class and no other.
    """
    model.eval()
    correct = 0
    with parametrize.cached():
        for indices in data.evaluation_batches(batch_size):
            inputs, labels = data.batch(indices)
            logits = model(**inputs)
            right = logits.gather(1, labels.unsqueeze(1))
            rivals = (logits >= right).sum(1)  # 1 when only the right class reaches its own logit
            correct += int(((rivals == 1) & torch.isfinite(logits).all(1)).sum())
    return Score(errors=len(data) - correct, n=len(data))
