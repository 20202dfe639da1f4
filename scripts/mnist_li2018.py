"""MNIST from scratch at the dimensions of Li et al. 2018: an MLP at d = 750 and a LeNet at d = 290, beside full training.

    python scripts/mnist_li2018.py --data ../shared/data/mnist [--output docs/results/mnist]

Li et al. report that these d reach 90 % of the accuracy of the full network (their table 1). The learning rate of each
kind is chosen on 5,000 training images held out, with seed 0, and the test images are counted once.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

# Before torch is imported: see idbounds/cli.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import pandas as pd
from torch import nn

from idbounds.core.model_spec import ImageInput
from idbounds.core.values import Score, TrainingSpec
from idbounds.measurement import Subspace
from idbounds.measurement.batches import Arrays
from idbounds.measurement.image_splits import read_idx_folder
from idbounds.measurement.small_networks import small_network
from idbounds.measurement.tasks import TASKS
from idbounds.measurement.training import count_errors, train
from idbounds.provenance import provenance_line

TASK = TASKS["image_classification"]
BATCH, EPOCHS, HELD_OUT, EVALUATION_BATCH = 128, 5, 5000, 1000
SEEDS = (0, 1, 2)
#: Of a step's length in the subspace (each number gets this over the square root of d), and Adam's own.
SUBSPACE_RATES, FULL_RATES = (2.0, 8.0, 32.0), (3e-4, 1e-3, 3e-3)


#: Each network with the d that Li et al. 2018 (table 1) find for it.
NETWORKS = {"mlp": 750, "lenet": 290}


def network_of(name: str, seed: int) -> nn.Module:
    return small_network(name, shape=(1, 28, 28), num_labels=10, seed=seed)


def splits(folder: Path) -> dict[str, Arrays]:
    parts = read_idx_folder(folder)
    train, how = parts["train"], ImageInput(shape=parts["train"].shape, mean=(0.5,), std=(0.5,))
    first = len(train) - HELD_OUT
    taken = {"train": train.take(range(first)), "validation": train.take(range(first, len(train))), "test": parts["test"]}
    return {name: part.encode(how) for name, part in taken.items()}


def trained(network: str, d: int, *, rate: float, seed: int, data: dict[str, Arrays]) -> tuple[Score, Score, float]:
    """(validation, test, seconds of training); d = 0 is the full network."""
    model = network_of(network, seed)
    if d:
        model = Subspace(model, dim=d, seed=seed)
    steps = EPOCHS * len(data["train"]) // BATCH
    settings = TrainingSpec(
        learning_rates=SUBSPACE_RATES, full_learning_rates=FULL_RATES, batch_size=BATCH, steps=steps, quantization_steps=1
    )
    start = time.perf_counter()
    train(
        model,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        data=data["train"],
        learning_rate=rate / d**0.5 if d else rate,
        steps=steps,
        seed=seed,
        settings=settings,
        task=TASK,
    )
    seconds = time.perf_counter() - start
    validation, test = (
        count_errors(model, data[part], batch_size=EVALUATION_BATCH, task=TASK) for part in ("validation", "test")
    )
    return validation, test, seconds


def row(network: str, d: int, data: dict[str, Arrays]) -> dict[str, object]:
    rates = SUBSPACE_RATES if d else FULL_RATES
    first = {rate: trained(network, d, rate=rate, seed=SEEDS[0], data=data) for rate in rates}
    rate = min(rates, key=lambda one: first[one][0].errors)
    outcomes = [first[rate], *(trained(network, d, rate=rate, seed=seed, data=data) for seed in SEEDS[1:])]
    accuracies = [100 * test.accuracy for _, test, _ in outcomes]
    print(network, d, rate, accuracies, flush=True)
    return {
        "network": network,
        "D": sum(parameter.numel() for parameter in network_of(network, 0).parameters()),
        "d": d or "full",
        "learning rate": rate,
        "rate at the edge of its grid": rate in (rates[0], rates[-1]),
        "seeds": len(SEEDS),
        "test accuracy (%)": sum(accuracies) / len(accuracies),
        "lowest (%)": min(accuracies),
        "highest (%)": max(accuracies),
        "seconds a run": sum(seconds for *_, seconds in outcomes) / len(outcomes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/mnist"))
    arguments = parser.parse_args()
    data = splits(arguments.data)
    table = pd.DataFrame([row(network, d, data) for network, li in NETWORKS.items() for d in (0, li)])
    full = table.where(table["d"] == "full")["test accuracy (%)"].ffill()
    table.insert(7, "of the full network's (%)", 100 * table["test accuracy (%)"] / full)
    about = provenance_line()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "li2018.csv").write_text(f"# {about}\n{table.to_csv(index=False, float_format='%.4g')}")
    shown = table.astype({"learning rate": str, "d": str})
    text = shown.to_markdown(index=False, floatfmt=".1f", intfmt=",", disable_numparse=[2, 3])
    (arguments.output / "li2018.md").write_text(f"<!-- {about} -->\n{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
