"""Training steps a second when K trials are trained at once (`batch_trials = K`), against one after another.

    python scripts/bench/batch_trials.py --data ../shared/data/mnist [--output docs/results/sweep/batch_trials]

MNIST, d = 100, one thread of torch, four rates for each seed. Seconds are the processor's for this process, so that a busy
machine changes them less; the ways take turns, and the median of the rounds is shown. Errors are not counted: that is done
trial by trial either way. The GPU was not measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from itertools import product
from pathlib import Path

# Before torch is imported: see idbounds/cli.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import pandas as pd
import torch

from idbounds.config import parse_config
from idbounds.core.records import write_atomically
from idbounds.measurement.batched import TrialBatch
from idbounds.measurement.keys import Keys
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import train
from idbounds.measurement.trials import TrialRunner, coordinate_rate, trial_model
from idbounds.preparation import load
from idbounds.provenance import provenance_line

D, SIZES = 100, (1, 4, 16)
NETWORKS, PROJECTIONS, BATCHES = ("mlp", "lenet"), ("fastfood", "one_hot", "dense"), (32, 128)
#: Of each trial, in a round. Dense P is made anew for every product: its steps take a hundred times as long.
STEPS = {"fastfood": 10, "one_hot": 10, "dense": 1}


def runner_of(network: str, projection: str, batch_size: int, data: Path) -> tuple[TrialRunner, Keys]:
    raw = {
        "output": "unused",
        "model": {"builtin": network},
        "data": {"images": str(data.resolve()), "max_train": 5000},
        "measurement": {
            "parametrization": "full_weights",
            "projection": projection,
            "dims": [D],
            "batch_size": batch_size,
            "steps": STEPS[projection],
        },
        "execution": {"threads": 1},
    }
    run = load(parse_config(raw, where="scripts/bench/batch_trials.py"))
    return run.runner, Keys(run.spec)


def seconds(runner: TrialRunner, keys: Keys, size: int) -> float:
    """Processor time of a step of one trial, when so many are trained at once."""
    chosen = [keys.key(d=D, seed=k // 4, learning_rate=float(1 + k % 4)) for k in range(size)]
    spec = runner.make_subspace.spec
    if size > 1:
        batch = TrialBatch(runner, chosen)
        start = time.process_time()
        batch.train(lambda *_: None)
        return (time.process_time() - start) / (size * spec.training.steps)
    model = trial_model(runner.make_subspace, d=D, seed=0)
    start = time.process_time()
    train(
        model,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        data=runner.data["train"],
        learning_rate=coordinate_rate(chosen[0]),
        steps=spec.training.steps,
        seed=0,
        settings=spec.training,
        task=task_by_name(spec.learning_task),
    )
    return (time.process_time() - start) / spec.training.steps


def row(network: str, projection: str, batch_size: int, *, data: Path, rounds: int) -> dict[str, object]:
    runner, keys = runner_of(network, projection, batch_size, data)
    seconds(runner, keys, 1)  # compiles, and fills the memory that stays
    taken: dict[int, list[float]] = defaultdict(list)
    for _, size in product(range(rounds), SIZES):
        taken[size].append(seconds(runner, keys, size))
    rates = {size: 1 / statistics.median(taken[size]) for size in SIZES}
    return {
        "network": network,
        "projection": projection,
        "examples a step": batch_size,
        **{f"K = {size}": rate for size, rate in rates.items()},
        **{f"K = {size} over 1": rates[size] / rates[1] for size in SIZES[1:]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/results/sweep/batch_trials"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for case in product(NETWORKS, PROJECTIONS, BATCHES):
        rows.append(row(*case, data=arguments.data, rounds=arguments.rounds))
        print(rows[-1], flush=True)
    table, about = pd.DataFrame(rows), provenance_line()
    write_atomically(
        arguments.output.with_suffix(".csv"), f"# {about}\n{table.to_csv(index=False, float_format='%.4g')}".encode()
    )
    text = table.to_markdown(index=False, floatfmt=("", "", "", ".1f", ".1f", ".1f", ".2f", ".2f"))
    write_atomically(arguments.output.with_suffix(".md"), f"<!-- {about} -->\n{text}\n".encode())


if __name__ == "__main__":
    main()
