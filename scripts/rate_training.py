"""Bits at equal training error: messages trained for the rate beside those of a trained w that is quantised afterwards.

    python scripts/rate_training.py mnist --data ../shared/data/mnist [--output docs/results/rate] [--runs runs/rate]
    python scripts/rate_training.py sst2 --data ../shared/data

For each d: one trial, and from its w one candidate of `idbounds compress` at each of some steps of the quantiser. Beside each
stands the shortest message found for the trained w with at most as many training errors: `shortest_message` (every code, every
quantiser, every step), whose allowed distance from w is bisected: for w as the trial left it, and for w trained on for as
many further steps as the candidate, without rounding, so that both have seen as many examples. Errors are counted on the
whole training set; the bound is the certified one. Results: NAME.csv, NAME.md. Trials and candidates are kept, and a second
call takes up from there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from minilm_table import sst2_sentences

from idbounds.candidates import Candidates, Proposal, point_of
from idbounds.certification import network_at
from idbounds.codes import decode_message, shortest_message, step_grid
from idbounds.compression import price_of_a_bit
from idbounds.config import Config, parse_config
from idbounds.console import ProgressBar
from idbounds.core.frontier import FrontierPoint
from idbounds.core.values import Trial
from idbounds.measurement.executors import InProcess
from idbounds.measurement.keys import Keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors, train
from idbounds.measurement.trials import coordinate_rate
from idbounds.pipeline import Run, prepare
from idbounds.provenance import provenance_line

#: Steps of the quantiser, in standard deviations of the trial's w.
FRACTIONS = (0.7, 1.0, 1.4)
#: Of the distance from w, in each search; the last halving changes it by a thirtieth.
HALVINGS = 5


def mnist(data: Path, _: Path) -> dict[str, object]:
    """LeNet from scratch, as in scripts/mnist.toml but for fewer trials."""
    return {
        "model": {"builtin": "lenet"},
        "data": {"name": "MNIST", "images": str(data), "validation_fraction": 0.05},
        "measurement": {
            "parametrization": "full_weights",
            "dims": (500,),
            "learning_rates": (8.0,),
            "batch_size": 128,
            "steps": 1000,
            "quantization_steps": 450,
        },
    }


def sst2(data: Path, folder: Path) -> dict[str, object]:
    """MiniLM on the first sentences of SST-2: as many as a shared machine counts often enough in an hour."""
    raw = sst2_sentences(data, folder)
    raw["model"] = {"builtin": "all-MiniLM-L6-v2", "max_length": 24}
    raw["data"] = {**raw["data"], "max_train": 1500, "max_validation": 300, "max_test": 300}  # type: ignore[dict-item]
    raw["measurement"] = {
        "parametrization": "said",
        "dims": (200,),
        "learning_rates": (9.0,),
        "batch_size": 16,
        "steps": 100,
        "quantization_steps": 90,
    }
    return raw


TASKS = {"mnist": mnist, "sst2": sst2}


def configuration(task: str, *, data: Path, runs: Path) -> Config:
    raw = TASKS[task](data, runs / "data" / task)
    raw["output"] = str(runs / task)
    raw["measurement"] |= {"seeds": (0,)}  # type: ignore[operator]
    return parse_config(raw, where=task)


def trials_of(run: Run, store: TrialStore) -> list[Trial]:
    """One for each d of the menu; no full fine-tuning, which no message is made from."""
    (rate,), (seed,) = run.spec.training.learning_rates, run.spec.menu.seeds
    keys = [Keys(run.spec).key(d=d, seed=seed, learning_rate=rate) for d in run.spec.menu.dims]
    sweep = Sweep(run.make_subspace, store=store, reporter=run.reporter, executor=InProcess(run.runner), retries=0)
    return sweep.complete(keys)


def trained_on(run: Run, trial: Trial, w: torch.Tensor) -> torch.Tensor:
    """w after as many further steps as a candidate has, at a tenth of the trial's rate and without rounding."""
    spec, key = run.spec, trial.key
    subspace = run.make_subspace(d=key.d, seed=key.seed)
    subspace.set_coordinates(w)
    train(
        subspace,
        [subspace.theta_d],
        data=run.data["train"],
        learning_rate=coordinate_rate(key) / 10,
        steps=spec.training.quantization_steps,
        seed=key.seed,
        settings=spec.training,
        task=task_by_name(spec.learning_task),
    )
    return subspace.theta_d.detach().clone()


def afterwards(run: Run, trial: Trial, w: torch.Tensor, *, errors: int) -> FrontierPoint | None:
    """The shortest message found for w with at most so many errors, by bisection over the distance from w."""
    nearest, farthest, found = 0.0, float(w.std()), None
    for _ in range(HALVINGS):
        middle = (nearest + farthest) / 2
        content = shortest_message(w.numpy(), max_rms_error=middle, d=trial.key.d, seed=trial.key.seed, spec=run.spec)
        point = point_for(run, content)
        if point.errors <= errors:
            nearest = middle
            found = point if found is None or point.bits < found.bits else found
        else:
            farthest = middle
    return found


def point_for(run: Run, content: bytes) -> FrontierPoint:
    decoded = decode_message(content, spec=run.spec)
    network = network_at(decoded, make_subspace=run.make_subspace)
    task, batch_size = task_by_name(run.spec.learning_task), run.spec.model.eval_batch_size
    score = count_errors(network, run.data["train"], batch_size=batch_size, task=task)
    return point_of(run.spec, decoded.message, score, "quantised afterwards")


def rows_of(run: Run) -> Iterator[dict[str, object]]:
    grid = step_grid(run.spec)
    with TrialStore(run.store) as store:
        candidates = Candidates(run, store)
        for trial in trials_of(run, store):
            w = store.vector(str(trial.vector_sha256))
            plain = {"as the trial left it": w, "trained on, unrounded": trained_on(run, trial, w)}
            for fraction in FRACTIONS:
                risk, spread = trial.validation.risk, float(w.std())  # type: ignore[union-attr]
                errors = round(risk * run.spec.task.train.n)
                price = price_of_a_bit(run.spec, errors=errors, bits=2.0 * trial.key.d, loss=trial.final_loss or 1.0)
                made = candidates.make(
                    Proposal(
                        trial=trial,
                        start_sha256=str(trial.vector_sha256),
                        step_index=grid.nearest_index(fraction * spread),
                        price=price,
                        steps=run.spec.training.quantization_steps,
                        tried_as="from the trial",
                    )
                )
                if made is None:
                    continue
                for name, one in plain.items():
                    yield row(fraction, name, made.point, afterwards(run, trial, one, errors=made.point.errors))


def row(fraction: float, name: str, ours: FrontierPoint, theirs: FrontierPoint | None) -> dict[str, object]:
    return {
        "d": ours.d,
        "step (sd of w)": fraction,
        "training error (%)": round(100 * ours.errors / ours.n, 2),
        "bits, trained for the rate": ours.bits,
        "bound (%)": round(100 * ours.bound, 2),
        "w quantised afterwards": name,
        "its bits": "none found" if theirs is None else theirs.bits,
        "its error (%)": "" if theirs is None else round(100 * theirs.errors / theirs.n, 2),
        "its bound (%)": "" if theirs is None else round(100 * theirs.bound, 2),
        "its code": "" if theirs is None else theirs.code,
        "fewer bits (%)": "" if theirs is None else round(100 * (1 - ours.bits / theirs.bits), 1),
    }


def write(rows: list[dict[str, object]], *, folder: Path, name: str, n: int) -> None:
    """After each row: what was computed is not lost when the rest is not."""
    about = provenance_line(n=n)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# {about}\n")
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---:|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, one.values())) + " |" for one in rows]
    (folder / f"{name}.md").write_text("\n".join([f"<!-- {about} -->", *lines, ""]), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/rate"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/rate"))
    arguments = parser.parse_args()
    config = configuration(arguments.task, data=arguments.data.resolve(), runs=arguments.runs.resolve())
    rows: list[dict[str, object]] = []
    with ProgressBar(Console()) as reporter:
        run = prepare(config, reporter=reporter)
        for one in rows_of(run):
            rows.append(one)
            reporter.say("; ".join(f"{key} {value}" for key, value in one.items()))
            write(rows, folder=arguments.output, name=arguments.task, n=run.spec.task.train.n)


if __name__ == "__main__":
    main()
