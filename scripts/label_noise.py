"""How many dimensions it takes to fit labels of which 0, 20 and 50 % are random: the MLP 784-200-200-10 on MNIST images.

    python scripts/label_noise.py --data ../shared/data/mnist [--output docs/results/label_noise]

A label is replaced, with the probability that is called noise, by one of the ten drawn at random (Zhang et al. 2017), in the
1,000 training examples alone. d90 is that of the fit: errors are counted on the training examples, as they are labelled, and
the target is 0.9 of what full training reaches on them. So it is how many dimensions memorising takes. The examples are
fixed; the interval holds their binomial noise none the less, so it is wide rather than narrow.

Accuracy on the 10,000 clean test images stands beside it, without a d90: with noisy labels it falls where the fit becomes
complete, and a d90 supposes a curve that does not fall.

Learning rates are those that fit the training examples best, of two. A run that was stopped goes on from its store.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rate_first import trials_of, write_table  # sets what must be set before torch is imported

from idbounds.config import parse_config
from idbounds.core.records import write_atomically
from idbounds.core.streams import Stream
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation import Point, choose_trials, intrinsic_dimension
from idbounds.measurement.image_splits import read_idx_folder
from idbounds.preparation import Run, load
from idbounds.reporting.figures.style import BLUE, INK, MARKERS, VERMILLION, Picture, legend_below, log_ticks, write_picture

NOISES = (0, 20, 50)  # percent
NUM_TRAIN, STEPS, SEEDS = 1000, 700, (0, 1)
DIMS = (60, 180, 540, 1600, 4800)
RATES, FULL_RATES = (4.0, 12.0), (1e-3, 3e-3)
LOOKS = {
    0: {"color": INK, "linestyle": "-", "marker": MARKERS[0]},
    20: {"color": BLUE, "linestyle": "--", "marker": MARKERS[1]},
    50: {"color": VERMILLION, "linestyle": "-.", "marker": MARKERS[2]},
}


def write_idx(path: Path, array: np.ndarray) -> None:
    """Bytes in the idx format: two zeros, 8 for unsigned bytes, the number of axes, and each axis as a big-endian integer."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    write_atomically(path, head + array.astype(np.uint8).tobytes())


def with_noise(labels: np.ndarray, percent: int) -> np.ndarray:
    """With this probability, a label drawn from all ten. More noise keeps what less noise has replaced."""
    numbers = Stream(seed=0, purpose="label_noise").uint32(0, 2 * len(labels)) / 2**32  # in [0, 1)
    replaced, drawn = numbers[: len(labels)] < percent / 100, np.floor(10 * numbers[len(labels) :])
    return np.where(replaced, drawn.astype(labels.dtype), labels)


def write_folder(folder: Path, data: Path, *, noise: int) -> None:
    """The first images of the training part, under noisy labels, and the test part as it is."""
    parts = read_idx_folder(data)
    # A twentieth goes to the validation split of the library, which is not used.
    first = parts["train"].take(range(NUM_TRAIN * 20 // 19 + 1))
    for name, images, labels in (
        ("train", first.images, with_noise(first.labels, noise)),
        ("t10k", parts["test"].images, parts["test"].labels),
    ):
        write_idx(folder / f"{name}-images-idx3-ubyte", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels)


def prepared(noise: int, runs: Path, data: Path) -> Run:
    """A run whose validation split is the training examples themselves: rates are chosen by the fit."""
    folder = runs / f"data-{noise}"
    write_folder(folder, data, noise=noise)
    raw = {
        "output": str((runs / f"noise-{noise}").resolve()),
        "model": {"builtin": "mlp"},
        "data": {
            "name": f"MNIST, {noise} % of the training labels random",
            "images": str(folder.resolve()),
            "validation_fraction": 0.05,
            "max_train": NUM_TRAIN,
        },
        "measurement": {
            "parametrization": "full_weights",
            "dims": DIMS,
            "seeds": SEEDS,
            "learning_rates": RATES,
            "full_learning_rates": FULL_RATES,
            "batch_size": 64,
            "steps": STEPS,
        },
        "execution": {"threads": 1},
    }
    run = load(parse_config(raw, where="scripts/label_noise.py"))
    task = run.spec.task.model_copy(update={"validation": run.spec.task.train})
    return replace(run, spec=run.spec.model_copy(update={"task": task}), data={**run.data, "validation": run.data["train"]})


def read_on_training(trials: Sequence[Trial]) -> list[Trial]:
    """The same trials with the errors on the training examples as those that d90 is read off."""
    return [trial.model_copy(update={"test": trial.validation}) for trial in trials]


def dimension(run: Run, fits: Sequence[Trial]) -> IntrinsicDimension:
    split = run.spec.task.train
    return intrinsic_dimension(
        fits, parametrization="full_weights", majority_accuracy=1 - split.majority_errors / split.n, rule="paper"
    )


def dimension_row(noise: int, d90: IntrinsicDimension) -> dict[str, object]:
    value, lower, upper = d90.printed()
    accuracies = {"full (%)": 100 * (d90.baseline_accuracy or 0.0), "target (%)": 100 * d90.target_accuracy}
    return {"noise (%)": noise, **accuracies, "d90 of the fit": value, "lower": lower, "upper": upper}


def accuracy_rows(noise: int, fits: Sequence[Point], tests: Sequence[Point]) -> list[dict[str, object]]:
    return [
        {
            "noise (%)": noise,
            "d": fit.d or "full",
            "learning rate": fit.learning_rate,
            "seeds": len(fit.scores),
            "fit (%)": 100 * fit.accuracy,
            "test accuracy (%)": 100 * test.accuracy,
        }
        for fit, test in zip(fits, tests, strict=True)
    ]


def picture_of(points: dict[int, Sequence[Point]], dimensions: dict[int, IntrinsicDimension]) -> Picture:
    """Fit against d, one curve for each noise; the bar is the interval of d90 at its target."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for noise, look in LOOKS.items():
            inside, d90 = [point for point in points[noise] if point.d], dimensions[noise]
            fits = [100 * point.accuracy for point in inside]
            label = f"{noise} % random: d90 = {d90.printed()[0]}"
            axes.plot([point.d for point in inside], fits, markersize=3.5, label=label, **look)
            ends = d90.lower or d90.smallest_d, d90.upper or d90.largest_d
            bar = {"color": look["color"], "linewidth": 4, "alpha": 0.45, "solid_capstyle": "butt"}
            axes.plot(ends, [100 * d90.target_accuracy] * 2, **bar)
        log_ticks(axes, DIMS)
        axes.set_xlabel("d, dimension of the random subspace")
        axes.set_ylabel(f"training fit (%), n = {NUM_TRAIN}")
        legend_below(figure)

    values = "; ".join(f"{noise} % random labels: {dimensions[noise]}" for noise in NOISES)
    return Picture("label_noise", "Dimensions that fit noisy labels", f"Training examples fitted against d. {values}.", draw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/label_noise"))
    parser.add_argument("--runs", type=Path, default=Path("runs/label_noise"))
    arguments = parser.parse_args()
    points, dimensions = {}, {}
    accuracies: list[dict[str, object]] = []
    for noise in NOISES:
        run = prepared(noise, arguments.runs, arguments.data)
        run.spec.write(arguments.output / f"spec.noise-{noise}.json")
        trials = trials_of(run, dims=[0, *DIMS])
        fits = read_on_training(trials)
        points[noise], dimensions[noise] = choose_trials(fits), dimension(run, fits)
        accuracies += accuracy_rows(noise, points[noise], choose_trials(trials))
    write_picture(arguments.output / "fit.svg", picture_of(points, dimensions))
    table = pd.DataFrame([dimension_row(noise, dimensions[noise]) for noise in NOISES])
    write_table(table, arguments.output / "d90", as_text=("d90 of the fit", "lower", "upper"))
    write_table(pd.DataFrame(accuracies), arguments.output / "accuracy", as_text=("d", "learning rate"))


if __name__ == "__main__":
    main()
