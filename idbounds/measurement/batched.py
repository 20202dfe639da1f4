"""Trials that differ in seed or learning rate alone, trained at once: one vectorised gradient, all else trial by trial."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_map

from idbounds.core.errors import ConfigError, DataError, TrainingError
from idbounds.core.values import TrialKey
from idbounds.measurement.batch_statistics import described
from idbounds.measurement.batches import Arrays, Batch, Indices, Inputs
from idbounds.measurement.memory_errors import is_short_of_memory
from idbounds.measurement.optimizers import make_optimizer
from idbounds.measurement.order import training_batches
from idbounds.measurement.parametrizations import parametrization_by_name
from idbounds.measurement.schedules import rate_factor
from idbounds.measurement.sites import trainable_sites
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import require_finite, tail_mean
from idbounds.measurement.trials import SubspaceMaker, TrialRunner, coordinate_rate, trial_model

#: Called after each step with (key, step, steps, loss).
Tell = Callable[[TrialKey, int, int, float], None]


def require_batchable(runner: TrialRunner) -> None:
    """Refuse what would not be, or could not be, the same training as one trial at a time.

    Raises:
        ConfigError: names the first reason.
    """
    training, model = runner.make_subspace.spec.training, runner.make_subspace.model
    reasons = [
        (runner.scores_halfway, "drop_hopeless stops one trial in the middle of a batch"),
        (training.evaluate_every is not None, "evaluate_every keeps another step's weights for each trial"),
        (
            training.micro_batch_size is not None,
            "micro_batch_size is for little memory, and several trials take more",
        ),
        (training.precision != "float32", f"precision = {training.precision!r} is left to single trials"),
        (training.cuda_graphs, "cuda_graphs captures the steps of single trials"),
        (not isinstance(runner.data["train"], Arrays), "the examples are not all of one shape, as images are"),
        *((True, f"{where} draws its own numbers") for where, module in _of(model, _DropoutNd) if module.p),
        *((True, f"{where} keeps statistics of the batch") for where, _ in _of(model, _BatchNorm)),
    ]
    for applies, reason in reasons:
        if applies:
            raise ConfigError(f"batch_trials is larger than 1, but {reason}; set batch_trials = 1")


class TrialBatch:
    """Trials of one specification at one d.

    θ_k = θ₀ + P_k w_k are made one by one and stacked to (K, …). Loss and gradient in θ are those of K networks on K batches
    of examples, by torch.func.vmap; each gradient goes through its own P_kᵀ to its own optimizer. So any projection and any
    parametrization will do. Order of the examples, schedule, clipping and failures are those of a trial alone; sums within
    the network are made in another order, so the last bits are not.
    """

    def __init__(self, runner: TrialRunner, keys: Sequence[TrialKey]) -> None:
        maker, spec = runner.make_subspace, runner.make_subspace.spec
        (d,) = {key.d for key in keys}
        self._data, self._training, self._task = runner.data["train"], spec.training, task_by_name(spec.learning_task)
        self._network = _network(maker, d=d).train()
        self._theta_0 = {name: places[0].tensor.detach() for name, places in trainable_sites(self._network).items()}
        self._network.requires_grad_(False)
        self._members = [_Member(key, trial_model(maker, d=key.d, seed=key.seed), runner) for key in keys]
        self._gradient: Any = vmap(grad_and_value(self._loss))

    def train(self, tell: Tell) -> None:
        """Until all have done their steps or failed.

        Raises ConfigError if loss or gradient cannot be vectorised, which the first step shows.
        """
        steps = self._training.steps
        for step in range(1, steps + 1):
            running = [member for member in self._members if member.error is None]
            if not running:
                return
            self._step(running, step=step)
            for member in running:
                tell(member.key, step, steps, member.losses[-1])

    def results(self) -> Iterator[tuple[TrialKey, nn.Module, float | TrainingError]]:
        """Of each trial the trained model, and its loss or why it failed."""
        for member in self._members:
            yield member.key, member.model, tail_mean(member.losses) if member.error is None else member.error

    def _step(self, running: list[_Member], *, step: int) -> None:
        weights = [member.weights(self._theta_0) for member in running]
        stacked = {name: torch.stack([one[name].detach() for one in weights]) for name in self._theta_0}
        batches = [self._data.batch(next(member.order)) for member in running]
        try:
            gradients, losses = self._gradient(stacked, *_stacked(batches, like=next(iter(stacked.values()))))
        except (ConfigError, DataError):
            raise
        except Exception as error:
            if step > 1 or is_short_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"these trials cannot be trained at once ({reason}); set batch_trials = 1") from error
        factor = rate_factor(
            self._training.schedule,
            step=step - 1,
            steps=self._training.steps,
            warmup_fraction=self._training.warmup_fraction,
        )
        for k, member in enumerate(running):
            own = [gradients[name][k] for name in self._theta_0]
            member.update(list(weights[k].values()), own, loss=float(losses[k]), factor=factor, step=step)

    def _loss(self, weights: Mapping[str, Tensor], inputs: Inputs, labels: Tensor) -> Tensor:
        return self._task.loss(_At(self._network, weights), Batch(inputs, labels))


class _Member:
    """One trial of a batch: all of it but the gradient in θ."""

    def __init__(self, key: TrialKey, model: nn.Module, runner: TrialRunner) -> None:
        training, data = runner.make_subspace.spec.training, runner.data["train"]
        self.key, self.model = key, model
        self.losses: list[float] = []
        self.error: TrainingError | None = None
        self.order: Iterator[Indices] = training_batches(
            data.lengths,
            batch_size=training.batch_size,
            steps=training.steps,
            seed=key.seed,
            length_bucketing=training.length_bucketing,
        )
        self._rate, self._clip_norm = coordinate_rate(key), training.clip_norm
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = make_optimizer(
            training.optimizer, self._trained, learning_rate=self._rate, options=training.optimizer_options
        )

    def weights(self, theta_0: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """θ by the names of its tensors, differentiable in what is trained."""
        if isinstance(self.model, Subspace):
            return self.model.tensors(theta_0)
        own = dict(self.model.named_parameters())
        return {name: own[name] for name in theta_0}

    def update(self, weights: list[Tensor], gradients: list[Tensor], *, loss: float, factor: float, step: int) -> None:
        """A step of the optimizer, or a failure that is this trial's alone."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * factor
        self._optimizer.zero_grad()
        torch.autograd.backward(weights, gradients)
        self.losses.append(loss)
        try:
            require_finite("loss", loss, step=step, learning_rate=self._rate)
            norm = float(nn.utils.clip_grad_norm_(self._trained, self._clip_norm))
            require_finite("gradient's norm", norm, step=step, learning_rate=self._rate)
        except TrainingError as error:
            self.error = error
            return
        self._optimizer.step()


class _At(nn.Module):
    """A network at other weights. It is called, and not listed: what it is made of belongs to others."""

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._at = (network, dict(weights))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        network, weights = self._at
        return functional_call(network, weights, args, kwargs)


def _network(maker: SubspaceMaker, *, d: int) -> nn.Module:
    """The network whose trainable tensors a trial moves, at θ₀: as the parametrization prepares it, or for d = 0 as it is."""
    if not d:
        return trial_model(maker, d=0, seed=0)
    return parametrization_by_name(maker.spec.parametrization).prepared(copy.deepcopy(maker.model), maker.options)


def _stacked(batches: Sequence[Batch], *, like: Tensor) -> tuple[Any, Tensor]:
    """Inputs and labels of K batches with the trial as the first axis, where the weights are."""
    inputs = tree_map(lambda *tensors: torch.stack(tensors).to(like.device), *(batch.inputs for batch in batches))
    return inputs, torch.stack([batch.labels for batch in batches]).to(like.device)


def _of(model: nn.Module, kind: type[Any]) -> list[tuple[str, Any]]:
    """In words and itself, each module of a kind."""
    return [(described(name, module), module) for name, module in model.named_modules() if isinstance(module, kind)]
