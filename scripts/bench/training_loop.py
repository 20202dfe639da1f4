"""Steps of idbounds' own training loop on a CUDA device, computed one by one and replayed from CUDA graphs, in one run.

    python scripts/bench/training_loop.py [--models roberta-base roberta-large] [--output docs/results/subspace]

Batches of 16 texts of 128 tokens, bfloat16, no dropout; random weights in the shape of the model and random tokens, since only
time is looked at. The time is that of a whole step: batch to the device, gradient, clipping, optimizer, loss to the processor.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import pandas as pd
import torch
from subspace_step import BATCH, CLASSES, LENGTH, SEED, model_named, use_device

from idbounds.core.values import TrainingSpec
from idbounds.measurement import Subspace
from idbounds.measurement.batches import Arrays
from idbounds.measurement.training import train
from idbounds.provenance import provenance_line

#: The first are not counted: what is compiled and captured is, in them.
STEPS, UNCOUNTED = 50, 20
D = 10_000


def seconds_a_step(name: str, method: str, *, cuda_graphs: bool) -> float:
    model, generator = model_named(name), torch.Generator().manual_seed(SEED)
    if method != "full":
        model = Subspace(model, dim=D, projection=method, seed=SEED, share_weights=True)
    ids = torch.randint(5, 1000, (10 * BATCH, LENGTH), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    settings = TrainingSpec(
        learning_rates=(1.0,), full_learning_rates=(1.0,), batch_size=BATCH, steps=STEPS, quantization_steps=1,
        precision="bfloat16", cuda_graphs=cuda_graphs,
    )  # fmt: skip
    ends: list[float] = []
    train(
        model,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        data=Arrays(inputs, torch.randint(0, CLASSES, (len(ids),), generator=generator)),
        learning_rate=1e-6,
        steps=STEPS,
        seed=SEED,
        settings=settings,
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    counted = ends[UNCOUNTED:]
    return statistics.median(after - before for before, after in itertools.pairwise(counted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["roberta-base", "roberta-large"])
    parser.add_argument("--output", type=Path, default=Path("docs/results/subspace"))
    arguments = parser.parse_args()
    use_device("cuda")
    rows = []
    for model, method in itertools.product(arguments.models, ["full", "signed_permutation", "fastfood"]):
        computed, replayed = (seconds_a_step(model, method, cuda_graphs=graphs) for graphs in (False, True))
        what = "full fine-tuning" if method == "full" else f"{method}, d = {D:,}"
        rows.append({"model": model, "method": what, "seconds a step": computed, "replayed": replayed})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    for column, ratio in (("seconds a step", "ratio"), ("replayed", "its ratio")):
        first = table.groupby("model")[column].transform("first")
        table.insert(table.columns.get_loc(column) + 1, ratio, table[column] / first)
    facts = {"device": torch.cuda.get_device_name(), "precision": "bfloat16", "batch": f"{BATCH} x {LENGTH}", "seed": SEED}
    text = table.to_markdown(index=False, floatfmt=".4f")
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "gpu_loop.md").write_text(f"<!-- {provenance_line(**facts)} -->\n{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
