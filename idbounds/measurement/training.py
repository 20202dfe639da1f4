"""Training and counting errors: one loop for full fine-tuning, subspace training and training with rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from idbounds.core.errors import ConfigError, DataError, TrainingError
from idbounds.core.values import Score, TrainingSpec
from idbounds.measurement.batch_statistics import require_single_inputs
from idbounds.measurement.batches import Batch, Data
from idbounds.measurement.early_stopping import BestOnValidation
from idbounds.measurement.gradients import CapturedGradients, Gradients
from idbounds.measurement.memory_errors import memory_errors
from idbounds.measurement.optimizers import make_optimizer
from idbounds.measurement.order import parts, training_batches
from idbounds.measurement.precision import Precision
from idbounds.measurement.schedules import rate_factor
from idbounds.measurement.tasks import TASKS, LearningTask
from idbounds.measurement.team import ALONE, Team

#: Called after each step with (step, steps, loss).
Progress = Callable[[int, int, float], None]

#: What is added to the loss of each step, from (step, steps): a scalar with gradient.
Cost = Callable[[int, int], Tensor]

_DEFAULT_TASK = TASKS["sequence_classification"]


def train(
    model: nn.Module,
    parameters: Iterable[nn.Parameter],
    *,
    data: Data,
    learning_rate: float,
    steps: int,
    seed: int,
    settings: TrainingSpec,
    task: LearningTask = _DEFAULT_TASK,
    validation: Data | None = None,
    progress: Progress | None = None,
    cost: Cost | None = None,
    team: Team = ALONE,
) -> float:
    """Lower the task's loss by the optimizer and schedule of the settings; returns the mean loss of the last tenth.

    The order of examples and the dropout masks depend on `seed` alone; the caller's random state is left as it was.
    Batches go to the device where the first of the parameters is.

    Args:
        model, parameters: what is called and what is trained.
        data: training examples.
        learning_rate: at the top of the schedule.
        steps: optimizer steps; fewer are done where `settings.patience` ends training.
        seed: of order and dropout.
        settings: of everything else; its learning rates and steps are not looked at.
        task: the loss.
        validation: examples for `settings.evaluate_every`; the weights with the fewest errors on them are kept.
        progress: is told of every step.
        cost: of the trained numbers themselves, added to the loss of each step; it is no part of the loss that is returned.
        team: of processes that call this alike; each trains on its share of every batch, and the step is that of the whole one.

    Raises:
        TrainingError: the loss or its gradient is NaN or infinite, or memory is short.
        ConfigError: settings that do not go together with each other, the model or the device.
        DataError: there are no examples.
    """
    trained = list(parameters)
    if not trained:
        raise ConfigError("there is nothing to train: no parameters were given; set requires_grad on those that should move")
    _require_examples(data, "train")
    device = trained[0].device
    optimizer = make_optimizer(settings.optimizer, trained, learning_rate=learning_rate, options=settings.optimizer_options)
    precision = Precision(settings.precision, trained=trained)
    captures = settings.cuda_graphs and cost is None  # what has a cost is rounded as it is trained, by numbers that change
    if captures and device.type != "cuda":
        raise ConfigError(f"cuda_graphs needs a CUDA device, the model is on {device}; set cuda_graphs = false")
    gradients = (CapturedGradients if captures else Gradients)(model, task=task, precision=precision, device=device)
    best = _keeper(model, trained, task=task, validation=validation, settings=settings, team=team)
    order = training_batches(
        data.lengths,
        batch_size=settings.batch_size,
        steps=steps,
        seed=seed,
        length_bucketing=settings.length_bucketing,
    )
    losses: list[float] = []
    with (
        _own_randomness(team.seed(seed), device),
        memory_errors("micro_batch_size", settings.micro_batch_size or settings.batch_size),
    ):
        for step, indices in enumerate(order, start=1):
            factor = rate_factor(settings.schedule, step=step - 1, steps=steps, warmup_fraction=settings.warmup_fraction)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * factor
            model.train()
            optimizer.zero_grad(set_to_none=not captures)
            batch_parts = [data.batch(part) for part in parts(team.share(indices), size=settings.micro_batch_size) if len(part)]
            losses.append(_gradient(gradients, batch_parts, task=task, team=team))
            team.add_gradients(trained)
            if cost is not None:
                precision.backward(cost(step, steps))
            require_finite("loss", losses[-1], step=step, learning_rate=learning_rate)
            precision.true_gradients(optimizer)
            norm = float(nn.utils.clip_grad_norm_(trained, settings.clip_norm))
            if not precision.skips_overflow():
                require_finite("gradient's norm", norm, step=step, learning_rate=learning_rate)
            precision.step(optimizer)
            if progress is not None:
                progress(step, steps, losses[-1])
            if best is not None and best.should_stop(step=step, steps=steps):
                break
        if best is not None:
            best.restore()
    team.require_same(trained)
    return tail_mean(losses)


def tail_mean(losses: Sequence[float]) -> float:
    """The mean loss of the last tenth of the steps: what a trial's record holds."""
    tail = losses[-max(1, len(losses) // 10) :]
    return math.fsum(tail) / len(tail)


def _gradient(gradients: Gradients, batch_parts: list[Batch], *, task: LearningTask, team: Team) -> float:
    """Add these parts' share in the gradient of the whole batch's mean loss; returns the loss of the whole.

    Each part's mean is weighted by its share of the units, so that parts of unequal numbers of tokens add up to the batch.
    """
    units = [task.units(part) for part in batch_parts]
    total = int(team.total(sum(units)))
    if total < 1:
        raise ConfigError(f"a batch of task {task.name!r} has no labelled unit; give each example one")
    losses = [gradients.add(part, count / total) for part, count in zip(batch_parts, units, strict=True)]
    return team.total(math.fsum(losses))


def _require_examples(data: Data, what: str) -> None:
    if not len(data):
        raise DataError(f"there are no examples to {what} on; give at least one")


def require_finite(what: str, value: float, *, step: int, learning_rate: float) -> None:
    """Raise TrainingError for a loss or a norm that is NaN or infinite."""
    if not math.isfinite(value):
        raise TrainingError(f"the {what} is {value} at step {step} with learning rate {learning_rate}; try a smaller one")


def _keeper(
    model: nn.Module,
    trained: list[nn.Parameter],
    *,
    task: LearningTask,
    validation: Data | None,
    settings: TrainingSpec,
    team: Team,
) -> BestOnValidation | None:
    if settings.evaluate_every is None:
        return None
    if validation is None:
        raise ConfigError("evaluate_every needs validation examples; give them, or leave it out")
    return BestOnValidation(
        model,
        trained,
        score=lambda: (
            count_errors(
                model, validation, batch_size=settings.micro_batch_size or settings.batch_size, task=task, team=team
            ).errors
        ),
        every=settings.evaluate_every,
        patience=settings.patience,
    )


@torch.no_grad()
def count_errors(
    model: nn.Module, data: Data, *, batch_size: int, task: LearningTask = _DEFAULT_TASK, team: Team = ALONE
) -> Score:
    """Errors under the task's 0-1 loss, in eval mode and the model's own precision, with a pinned batch size.

    A tie and a logit that is not a number count as errors: the predictor must name the right answer and no other.
    The batches are the same for a team, each counted by one of its processes.

    Raises:
        ConfigError: a prediction would depend on other examples (`require_single_inputs`), or the task does not give one
            bool an example.
    """
    _require_examples(data, "count errors")
    model.eval()
    require_single_inputs(model)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    errors = 0
    with parametrize.cached(), memory_errors("eval_batch_size", batch_size):
        for indices in islice(data.evaluation_batches(batch_size), team.rank, None, team.size):
            errors += _count(task.errors(model, data.batch(indices).to(device)), expected=len(indices), task=task)
    return Score(errors=int(team.total(errors)), n=len(data))


def _count(errors: Tensor, *, expected: int, task: LearningTask) -> int:
    if errors.dtype != torch.bool or errors.shape != (expected,):
        raise ConfigError(
            f"the errors of task {task.name!r} must be bool of shape ({expected},), got {errors.dtype} of shape "
            f"{tuple(errors.shape)}; give one for each example"
        )
    return int(errors.sum())


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators seeded within, and as they were afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
