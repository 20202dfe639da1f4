"""The search for d90 beside full grids on real runs: how many trials each needs for an interval of the same width.

    python scripts/search_on_mnist.py --data ../shared/data/mnist [--output docs/results/estimation]

The MLP 784-200-200-10 on MNIST from scratch, short trials, all of equally many steps. The search looks between the ends of
the grids with the rates and seeds of the grids. A grid is every d, rate and seed; grids with fewer seeds or d are parts
of the largest. Some 20 minutes of processor time; trials are kept. Results: search_real.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mnist_d90 import prepared
from rate_first import write_table

from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation import intrinsic_dimension
from idbounds.measurement.executors import InProcess
from idbounds.measurement.keys import Keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measuring import measure
from idbounds.preparation import Run

SMALLEST_D, LARGEST_D = 50, 5000
GRIDS = (9, 17)  # the first is every second d of the other
SEEDS, FEWEST_BASELINE_SEEDS = (0, 1, 2), 3
RATES, FULL_RATES = (2.0, 6.0, 18.0), (1e-3, 3e-3, 1e-2)
STEPS = 200
WANTED = (2.0, 1.5, 1.25)  # upper over lower, of the search


def prepared_run(name: str, arguments: argparse.Namespace, **measurement: object) -> Run:
    settings = {"learning_rates": RATES, "full_learning_rates": FULL_RATES, "steps": STEPS, **measurement}
    return prepared("mlp", arguments.runs / name, arguments.data, {"measurement": settings})


def log_grid(count: int) -> list[int]:
    return [round(d) for d in np.geomspace(SMALLEST_D, LARGEST_D, count)]


def grid_trials(run: Run) -> list[Trial]:
    keys, dims = Keys(run.spec), run.spec.menu.dims
    wanted = keys.keys(d=0, seeds=SEEDS, learning_rates=FULL_RATES)
    wanted += [key for d in dims for key in keys.keys(d=d, seeds=SEEDS, learning_rates=RATES)]
    with TrialStore(run.store) as store, InProcess(run.runner) as executor:
        return Sweep(run.make_subspace, store=store, reporter=run.reporter, executor=executor).complete(wanted)


def part_of_grid(trials: Sequence[Trial], *, dims: Sequence[int], seeds: int) -> list[Trial]:
    """So many seeds at each of these d, and at least three of full fine-tuning, at every rate."""
    return [
        trial
        for trial in trials
        if trial.key.seed < (seeds if trial.key.d else max(seeds, FEWEST_BASELINE_SEEDS)) and trial.key.d in (0, *dims)
    ]


def row(strategy: str, d90: IntrinsicDimension, trials: int) -> dict[str, object]:
    value, lower, upper = d90.printed()
    ratio = d90.upper / d90.lower if d90.upper and d90.lower else float("inf")
    return {"strategy": strategy, "trials": trials, "d90": value, "lower": lower, "upper": upper, "upper / lower": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/estimation"))
    parser.add_argument("--runs", type=Path, default=Path("runs/search_on_mnist"))
    arguments = parser.parse_args()
    run = prepared_run("grid", arguments, dims=log_grid(GRIDS[-1]), seeds=SEEDS)
    known = {
        "parametrization": "full_weights",
        "majority_accuracy": 1 - run.spec.task.test.majority_errors / run.spec.task.test.n,
    }
    rows: list[dict[str, object]] = []
    for wanted in WANTED:
        ends = {"search": True, "dims": (SMALLEST_D, LARGEST_D), "seeds": tuple(range(10)), "wanted_ratio": wanted}
        trials = measure(prepared_run(f"search-{wanted:g}", arguments, **ends))
        rows.append(row(f"search to {wanted:g}", intrinsic_dimension(trials, **known), len(trials)))
    everything = grid_trials(run)
    for count in GRIDS:
        for seeds in range(1, len(SEEDS) + 1):
            trials = part_of_grid(everything, dims=log_grid(count), seeds=seeds)
            rows.append(row(f"grid of {count} d, {seeds} seeds", intrinsic_dimension(trials, **known), len(trials)))
    write_table(pd.DataFrame(rows), arguments.output / "search_real", as_text=("d90", "lower", "upper"))


if __name__ == "__main__":
    main()
