"""d90 of MNIST from scratch, by the MLP 784-200-200-10 and LeNet, beside the 750 and 290 of Li et al. 2018.

    python scripts/mnist_d90.py --data ../shared/data/mnist [--networks mlp lenet] [--output docs/results/mnist_d90]

Every d of a grid around Li's value with three seeds; the learning rate is chosen on 3,000 training images held out. d90 under
the rule `paper` (0.9 of our own full training) and `li2018` (0.9 of full training by Li's settings). Then, at Li's d, the
settings of Li et al.'s code replace ours one after another. A run that was stopped goes on from its store.

Their settings are those of the scripts in github.com/uber-research/intrinsic-dimension: Adam with betas 0.9 and 0.99 and the
constant rate 0.001 for each of the d numbers, He's initial weights, batches of 128, 100 epochs (43,000 steps). Left out here
are their L2 terms (1e-5 and 1e-4 on the weights) and, of their 43,000 steps, most. P is Fastfood throughout.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from rate_first import accuracy_row, trials_of, write_table  # sets what must be set before torch is imported
from torch import nn

from idbounds.config import parse_config
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation import choose_trials, intrinsic_dimension
from idbounds.figures import accuracy_of
from idbounds.measurement.small_networks import small_network
from idbounds.preparation import Run, prepare
from idbounds.reporting.figures.style import write_picture

SEEDS = (0, 1, 2)
LI_RATE, LI_STEPS = 1e-3, 43_000


@dataclass(frozen=True)
class Study:
    """A network: the d that Li et al. 2018 (table 1) find for it, our grid, lengths of a step along P, steps of a trial."""

    li: int
    dims: tuple[int, ...]
    rates: tuple[float, ...]
    full_rates: tuple[float, ...]
    steps: int
    li_steps: int  # a second number of steps by Li's settings


STUDIES = {
    "mlp": Study(750, (100, 200, 350, 500, 750, 1100), (2.0, 6.0, 18.0), (1e-3, 3e-3, 1e-2), 1000, 3000),
    "lenet": Study(290, (90, 130, 190, 290, 440), (6.0, 15.0), (3e-3, 1e-2), 600, 1200),
}


def he_mlp(num_labels: int, seed: int) -> nn.Module:
    return _he("mlp", num_labels, seed)


def he_lenet(num_labels: int, seed: int) -> nn.Module:
    return _he("lenet", num_labels, seed)


def _he(name: str, num_labels: int, seed: int) -> nn.Module:
    """Weights N(0, 2 / fan-in) (He et al. 2015) in place of N(0, 1 / (3 fan-in)): the same draws, sqrt(6) times as large."""
    network = small_network(name, shape=(1, 28, 28), num_labels=num_labels, seed=seed)
    for parameter in network.parameters():
        parameter.data *= math.sqrt(6)
    return network


def li_settings(name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What is changed, by words; each has the changes before it too."""
    # Their files hold numbers from 0 to 1; ours are from -1 to 1.
    model = {"mean": 0.0, "std": 1.0, "builtin": None, "architecture": f"mnist_d90:he_{name}"}
    steps, length = STUDIES[name].li_steps, math.sqrt(STUDIES[name].li)  # rates are divided by sqrt(d) in training
    adam = {
        "learning_rates": (LI_RATE * length,),
        "full_learning_rates": (LI_RATE,),
        "optimizer": "Adam",
        "optimizer_options": {"betas": (0.9, 0.99)},
        "schedule": "constant",
        "warmup_fraction": 0.0,
        "clip_norm": 1e9,
    }
    longer = {**adam, "seeds": SEEDS[:1], "steps": steps}
    # The most that Adam moves a number is steps times rate: so many steps at this rate reach as far as theirs.
    faster = LI_RATE * LI_STEPS / steps
    return {
        "their pixels and initial weights": {"model": model, "measurement": {"seeds": SEEDS[:2]}},
        f"and Adam at {LI_RATE:g} a number, constant": {"model": model, "measurement": {**adam, "seeds": SEEDS[:2]}},
        f"and {steps:,} steps": {"model": model, "measurement": longer},
        f"and as far as {LI_STEPS:,} steps of theirs, by {faster:.2g} a number": {
            "model": model,
            "measurement": {**longer, "learning_rates": (faster * length,)},
        },
    }


def prepared(name: str, folder: Path, data: Path, changes: Mapping[str, Mapping[str, Any]]) -> Run:
    study = STUDIES[name]
    measurement = {
        "parametrization": "full_weights",
        "dims": study.dims,
        "seeds": SEEDS,
        "learning_rates": study.rates,
        "full_learning_rates": study.full_rates,
        "batch_size": 128,
        "steps": study.steps,
        **changes.get("measurement", {}),
    }
    raw = {
        "output": str(folder.resolve()),
        "store": str(folder.parent.resolve() / "trials"),
        "model": {"builtin": name, **changes.get("model", {})},
        "data": {"name": "MNIST", "images": str(data.resolve()), "validation_fraction": 0.05},
        "measurement": measurement,
        "execution": {"threads": 1},
    }
    return prepare(parse_config(raw, where="scripts/mnist_d90.py"))


def dimension_row(name: str, d90: IntrinsicDimension, trials: list[Trial]) -> dict[str, object]:
    reached = [point.d for point in choose_trials(trials) if point.d and point.accuracy >= d90.target_accuracy]
    value, lower, upper = d90.printed()
    return {
        "network": name,
        "rule": d90.rule,
        "target (%)": 100 * d90.target_accuracy,
        "d90": value,
        "lower": lower,
        "upper": upper,
        "first d of the grid": min(reached, default="none"),
        "Li et al.": STUDIES[name].li,
    }


def by_li(name: str, runs: Path, data: Path) -> tuple[list[dict[str, object]], list[Trial]]:
    """Rows at Li's d, one for each of their settings; and full training by their settings."""
    rows: list[dict[str, object]] = []
    baseline: list[Trial] = []
    for number, (words, changes) in enumerate(li_settings(name).items(), start=1):
        run = prepared(name, runs / f"{name}-li-{number}", data, changes)
        (point,) = choose_trials(trials_of(run, dims=[STUDIES[name].li]))
        row = accuracy_row(point, rates=run.spec.training.learning_rates)
        rows.append({"network": name, "settings": words, "steps": run.spec.training.steps, **row})
        if "Adam" in words:
            baseline = trials_of(run, dims=[0])
    return rows, baseline


def measure(name: str, arguments: argparse.Namespace) -> tuple[list[dict[str, object]], ...]:
    """Rows of the three tables for one network."""
    study, output = STUDIES[name], arguments.output
    run = prepared(name, arguments.runs / name, arguments.data, {})
    trials = trials_of(run, dims=[0, *study.dims])
    points = {point.d: point for point in choose_trials(trials)}
    rates = {d: run.spec.training.learning_rates if d else study.full_rates for d in points}
    accuracy = [{"network": name, **accuracy_row(point, rates=rates[d])} for d, point in points.items()]
    steps_to_li, baseline = by_li(name, arguments.runs, arguments.data)
    ours = accuracy_row(points[study.li], rates=rates[study.li])
    settings = [{"network": name, "settings": "ours", "steps": study.steps, **ours}, *steps_to_li]
    majority = 1 - run.spec.task.test.majority_errors / run.spec.task.test.n
    known = {"parametrization": "full_weights", "majority_accuracy": majority}
    dimensions = [
        intrinsic_dimension(trials, rule="paper", **known),
        intrinsic_dimension(trials, rule="li2018", baseline=baseline, **known),
    ]
    run.spec.write(output / f"spec.{name}.json")
    picture = accuracy_of(run.spec, dimensions=dimensions[:1], trials=trials)
    write_picture(output / f"accuracy.{name}.svg", picture)
    return [dimension_row(name, d90, trials) for d90 in dimensions], accuracy, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/mnist_d90"))
    parser.add_argument("--runs", type=Path, default=Path("runs/mnist_d90"))
    parser.add_argument("--networks", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    arguments = parser.parse_args()
    measured = [measure(name, arguments) for name in arguments.networks]
    dimensions, accuracy, settings = (pd.DataFrame(list(chain(*rows))) for rows in zip(*measured, strict=True))
    write_table(dimensions, arguments.output / "d90", as_text=("d90", "lower", "upper", "first d of the grid"))
    write_table(accuracy, arguments.output / "accuracy", as_text=("d", "learning rate"))
    write_table(
        settings.drop(columns="rate at the edge of its list"), arguments.output / "settings", as_text=("learning rate",)
    )


if __name__ == "__main__":
    main()
