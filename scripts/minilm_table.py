"""MiniLM on SST-2 sentences and on MRPC: accuracy of SAID and DID at a few d beside full fine-tuning, and d90 of each.

    python scripts/minilm_table.py --data ../shared/data [--output docs/results/minilm] [--runs runs/minilm]

One learning rate a method, taken from the quickstart's validation and not tuned here. Steps and seeds are few, because two
CPU cores are what it was made on. Trials are kept as they finish, and a second call takes up where the first one stopped.
Results: TASK/accuracy and TASK/d90, written again after each method.
Time and memory of a step are measured by scripts/bench/subspace_step.py, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rate_first import accuracy_row, trials_of, write_table  # sets what must be set before torch is imported

from idbounds.config import Config, parse_config
from idbounds.core.values import IntrinsicDimension, Trial
from idbounds.estimation import choose_trials
from idbounds.pipeline import estimate, prepare

DIMS = (100, 300, 1000, 3000)
SUBSPACE_RATE, FULL_RATE = 9.0, 1e-4
#: MRPC is the harder one: in as few steps full fine-tuning hardly leaves the majority class.
STEPS = {"sst2": 150, "mrpc": 400}
SEEDS = (0, 1)
METHODS = ("said", "full_weights")
SST2 = ("train", "dev", "test")


def sst2_sentences(data: Path, folder: Path) -> dict[str, object]:
    """The sentences of SST-2 (Socher et al. 2013), without GLUE's phrases, as tab-separated files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in SST2:
        lines = (data / "sst2_sentences" / f"stsa.binary.{part}").read_text(encoding="utf-8").splitlines()
        rows = [line.split(" ", 1) for line in lines]
        text = "label\tsentence\n" + "".join(f"{label}\t{sentence}\n" for label, sentence in rows)
        (folder / f"{part}.tsv").write_text(text, encoding="utf-8")
    train, validation, test = (str(folder / f"{part}.tsv") for part in SST2)
    return {
        "model": {"builtin": "all-MiniLM-L6-v2", "max_length": 40},
        "data": {
            "name": "SST-2 sentences",
            "train": train,
            "validation": validation,
            "test": test,
            "text_columns": ["sentence"],
            "citation_key": "socher2013recursive",
        },
    }


def mrpc(data: Path, folder: Path) -> dict[str, object]:  # noqa: ARG001 - its files can be read as they are
    """MRPC (Dolan & Brockett 2005), GLUE's split."""
    files = data / "glue" / "MRPC"
    return {
        "model": {"builtin": "all-MiniLM-L6-v2", "max_length": 64},
        "data": {
            "name": "MRPC",
            "train": str(files / "train_glue3668.tsv"),
            "test": str(files / "dev.tsv"),
            "text_columns": ["#1 String", "#2 String"],
            "label_column": "Quality",
            "validation_fraction": 0.1,
            "citation_key": "dolan2005automatically",
        },
    }


TASKS = {"sst2": sst2_sentences, "mrpc": mrpc}


def configuration(task: str, method: str, *, seeds: Sequence[int], data: Path, runs: Path) -> Config:
    raw = TASKS[task](data, runs / "data" / task)
    raw["output"] = str(runs / f"{task}-{method}")
    raw["store"] = str(runs / f"{task}-trials")  # full fine-tuning is one trial for both methods
    raw["measurement"] = {
        "steps": STEPS[task],
        "parametrization": method,
        "dims": DIMS,
        "seeds": seeds,
        "learning_rates": (SUBSPACE_RATE,),
        "full_learning_rates": (FULL_RATE,),
        "batch_size": 16,
    }
    return parse_config(raw, where=task)


def rows_of(task: str, method: str, trials: list[Trial]) -> list[dict[str, object]]:
    return [
        {
            "task": task,
            "method": method if point.d else "full fine-tuning",
            **accuracy_row(point, rates=()),
            "n": point.scores[0].n,
            "steps": STEPS[task],
        }
        for point in choose_trials(trials)
    ]


def d90_rows(task: str, method: str, dimensions: Sequence[IntrinsicDimension]) -> list[dict[str, object]]:
    return [
        {
            "task": task,
            "method": method,
            "rule": dimension.rule,
            "full (%)": 100 * (dimension.baseline_accuracy or 0.0),
            "target (%)": 100 * dimension.target_accuracy,
            "d90": str(dimension),
        }
        for dimension in dimensions
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--runs", type=Path, default=Path("runs/minilm"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/minilm"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    for task in arguments.tasks:
        rows: list[dict[str, object]] = []
        found: list[dict[str, object]] = []
        for method in METHODS:
            config = configuration(
                task, method, seeds=arguments.seeds, data=arguments.data.resolve(), runs=arguments.runs.resolve()
            )
            run = prepare(config)
            trials = trials_of(run, dims=(0, *DIMS))
            rows += rows_of(task, method, trials)
            found += d90_rows(task, method, estimate(run, trials=trials))
            table = pd.DataFrame(rows).drop_duplicates(["task", "method", "d"]).drop(columns="rate at the edge of its list")
            write_table(table, arguments.output / task / "accuracy", as_text=("d", "learning rate"))
            write_table(pd.DataFrame(found), arguments.output / task / "d90", as_text=["d90"])


if __name__ == "__main__":
    main()
