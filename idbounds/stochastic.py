"""A stochastic predictor from a finished trial: a Gaussian posterior in its subspace, trained, drawn from and certified."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from idbounds.bounds.pac_bayes import ln_two_sqrt
from idbounds.comparison import Comparison
from idbounds.core.errors import DataError, UnsupportedEvidenceError
from idbounds.core.records import write_atomically
from idbounds.core.values import StochasticCertificate, Trial
from idbounds.folders import POSTERIOR_FILE, STOCHASTIC_FILE
from idbounds.measurement.batches import ByKind
from idbounds.measurement.keys import Keys
from idbounds.measurement.posterior import GaussianSubspace, PacBayesObjective
from idbounds.measurement.store import TrialStore
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.tasks.classification import Classification
from idbounds.measurement.training import count_errors, train
from idbounds.posterior_file import posterior_of, read_posterior
from idbounds.preparation import Run
from idbounds.provenance import provenance
from idbounds.stochastic_claims import (
    DrawCounts,
    Part,
    Posterior,
    certificate_of,
    compare_stochastic,
    grid_of,
    monte_carlo_share,
    settings_of,
)


def certify_stochastic(run: Run) -> tuple[StochasticCertificate, Path]:
    """Train a posterior from a finished trial of the run, draw from it, count, and certify it.

    Writes posterior.safetensors and stochastic.json to the run's folder; returns the certificate and where it was written.

    Raises:
        UnsupportedEvidenceError: the specification declares no stochastic predictor, or the task has no single class.
        DataError: the run has no finished trial in a subspace.
    """
    settings_of(run.spec)
    trial = _most_promising(run)
    content = _file_of(train_posterior(run, trial))
    posterior = _with_best_scale(content, run=run, trial=trial)
    write_atomically(run.folder / POSTERIOR_FILE, content)
    certificate = _certificate(run, posterior)
    return certificate, certificate.write(run.folder / STOCHASTIC_FILE)


def verify_stochastic(folder: Path, *, run: Run) -> tuple[Comparison, ...]:
    """Compare `stochastic.json` in a folder with what this machine counts, number by number.

    `run` is on this machine's model and data and under the folder's specification. Raises DataError where
    posterior.safetensors is absent or another file than the certificate names, and for choices outside the menus.
    """
    claimed = StochasticCertificate.read(Path(folder) / STOCHASTIC_FILE)
    posterior = read_posterior(folder, claimed=claimed, spec=run.spec)
    return compare_stochastic(claimed, _certificate(run, posterior))


def train_posterior(run: Run, trial: Trial) -> GaussianSubspace:
    """The posterior that is trained from a finished trial's vector on the PAC-Bayes objective."""
    spec, key = run.spec, trial.key
    settings = settings_of(spec)
    _require_classes(run)
    subspace = run.make_subspace(d=key.d, seed=key.seed)
    with TrialStore(run.store) as store:
        subspace.set_coordinates(store.vector(str(trial.vector_sha256)))
    network = GaussianSubspace(subspace)
    run.reporter.plan(steps=settings.steps)
    run.reporter.begin(label="posterior", d=key.d, seed=key.seed)
    train(
        network,
        [network.unit_mean, network.unit_log_sigma],
        data=run.data["train"],
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        seed=key.seed,
        # The rate is right for Adam and a decay to 0; the bound is no mean of parts of a batch, nor of a validation count.
        settings=spec.training.model_copy(update=_LIKE_ADAM),
        task=PacBayesObjective(n=spec.task.train.n, penalty=_penalty(run)),
        progress=lambda number, steps, loss: run.reporter.step(step=number, steps=steps, loss=loss),
    )
    return network


_LIKE_ADAM: dict[str, object] = {
    "optimizer": "AdamW",
    "optimizer_options": {},
    "schedule": "linear",
    "micro_batch_size": None,
    "evaluate_every": None,
    "patience": None,
    "cuda_graphs": False,
}


def _penalty(run: Run) -> float:
    """What the bound adds to KL whatever the posterior is, for choices of equal mass: it moves no minimum by much."""
    menu, delta = run.spec.menu, run.spec.delta_of_each
    choices = len(menu.dims) * len(menu.seeds) * settings_of(run.spec).num_scales
    n = np.asarray(float(run.spec.task.train.n))
    return math.log(choices) + float(ln_two_sqrt(n)) - math.log(delta - monte_carlo_share(delta))


def _most_promising(run: Run) -> Trial:
    """The finished trial in a subspace with the smallest predicted bound."""
    keys = Keys(run.spec)
    if not (run.store / "trials.sqlite").exists():
        raise DataError(f"there are no trials in {run.store}; run `idbounds measure` first")
    with TrialStore(run.store) as store:
        trials = [one for one in store.trials() if keys.belongs(one.key)]
    menu, n, penalty = run.spec.menu, run.spec.task.train.n, _penalty(run)

    def predicted(trial: Trial) -> float:
        assert trial.validation is not None, "only finished trials are asked"
        kappa = (_NATS_PER_COORDINATE * trial.key.d + penalty) / (2 * n)
        return (math.sqrt(trial.validation.risk + kappa) + math.sqrt(kappa)) ** 2

    finished = [
        trial for trial in trials if trial.status == "finished" and trial.key.d in menu.dims and trial.key.seed in menu.seeds
    ]
    if not finished:
        raise DataError(f"no trial in a subspace of the run's menu is finished in {run.store}; run `idbounds measure` first")
    return min(finished, key=predicted)


#: What a coordinate costs in a trained posterior, about: ranks trials and enters no bound.
_NATS_PER_COORDINATE = 1.0


def _require_classes(run: Run) -> None:
    name = run.spec.learning_task
    if not isinstance(task_by_name(name), Classification):
        raise UnsupportedEvidenceError(f"task {name!r} has no one class for each input, which training a posterior needs")


def _file_of(network: GaussianSubspace) -> bytes:
    return safetensors.torch.save({"mean": network.mean.contiguous(), "log_sigma": network.log_sigma.contiguous()})


def _with_best_scale(content: bytes, *, run: Run, trial: Trial) -> Posterior:
    posterior = posterior_of(content, d=trial.key.d, seed=trial.key.seed, scale_index=0)
    index = grid_of(settings_of(run.spec)).best_index(posterior.mean, sigma=posterior.sigma)
    return replace(posterior, scale_index=index)


def _certificate(run: Run, posterior: Posterior) -> StochasticCertificate:
    return certificate_of(posterior, spec=run.spec, counts=count_draws(run, posterior), versions=provenance())


def count_draws(run: Run, posterior: Posterior) -> DrawCounts:
    """Errors of every network that is drawn, on the examples that are drawn for it."""
    settings, batch_size = settings_of(run.spec), run.spec.model.eval_batch_size
    task = task_by_name(run.spec.learning_task)
    subspace = run.make_subspace(d=posterior.d, seed=posterior.seed)
    parts: tuple[Part, ...] = ("train", "test")
    data = {part: ByKind(run.data[part]) for part in parts}
    chosen = [posterior.examples(settings, part=part, n=len(run.data[part])) for part in parts]
    errors: dict[str, list[int]] = {part: [] for part in parts}
    run.reporter.plan(steps=settings.draws)
    run.reporter.begin(label="draws", d=posterior.d, seed=posterior.seed)
    for number, (w, *indices) in enumerate(zip(posterior.draws(settings), *chosen, strict=True), start=1):
        subspace.set_coordinates(torch.from_numpy(w))
        for part, which in zip(parts, indices, strict=True):
            errors[part].append(count_errors(subspace, data[part].take(which), batch_size=batch_size, task=task).errors)
        run.reporter.step(step=number, steps=settings.draws, loss=errors["train"][-1] / len(indices[0]))
    return DrawCounts(**{part: tuple(counted) for part, counted in errors.items()})
