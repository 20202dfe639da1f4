"""The 43,000 steps of Li et al. 2018 themselves: the MLP on MNIST at their settings, and the d90 that they give.

    python scripts/mnist_li_steps.py --data ../shared/data/mnist [--output docs/results/mnist_d90]

What scripts/mnist_d90.py leaves out of their settings for its length: full training and a few d, one seed each, with their
pixels, initial weights, Adam, constant rate 0.001 a number and number of steps. Their L2 terms are left out here too. About
40 minutes of processor time. Trials are kept as they finish. Results: li_steps, li_steps_d90.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from mnist_d90 import LI_RATE, LI_STEPS, dimension_row, li_settings, prepared
from rate_first import accuracy_row, trials_of, write_table

from idbounds.core.values import Trial
from idbounds.estimation import choose_trials, intrinsic_dimension

NETWORK = "mlp"
DIMS = (350, 500, 750)


def trial_at(d: int, *, runs: Path, data: Path) -> tuple[list[Trial], float]:
    """The trial at d, 0 for full training, and the accuracy of the majority class."""
    changes = next(changes for words, changes in li_settings(NETWORK).items() if "Adam" in words)
    # A trial's rate is divided by sqrt(d); theirs is 0.001 for each number, at every d.
    rate = LI_RATE * max(d, 1) ** 0.5
    measurement = {**changes["measurement"], "steps": LI_STEPS, "seeds": (0,), "dims": DIMS, "learning_rates": (rate,)}
    run = prepared(NETWORK, runs / f"li-steps-{d}", data, {**changes, "measurement": measurement})
    return trials_of(run, dims=[d]), 1 - run.spec.task.test.majority_errors / run.spec.task.test.n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/mnist_d90"))
    parser.add_argument("--runs", type=Path, default=Path("runs/mnist_d90"))
    arguments = parser.parse_args()
    trials: list[Trial] = []
    for d in (0, *sorted(DIMS, reverse=True)):
        found, majority = trial_at(d, runs=arguments.runs, data=arguments.data)
        trials += found
        rows = [{"network": NETWORK, "steps": LI_STEPS, **accuracy_row(point, rates=())} for point in choose_trials(trials)]
        table = pd.DataFrame(rows).drop(columns="rate at the edge of its list")
        write_table(table, arguments.output / "li_steps", as_text=("d", "learning rate"))
    d90 = intrinsic_dimension(trials, rule="paper", parametrization="full_weights", majority_accuracy=majority)
    write_table(
        pd.DataFrame([dimension_row(NETWORK, d90, trials)]),
        arguments.output / "li_steps_d90",
        as_text=("d90", "lower", "upper", "first d of the grid"),
    )


if __name__ == "__main__":
    main()
