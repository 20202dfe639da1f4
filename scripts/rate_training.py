"""Bits at equal training error: messages trained for the rate beside those of a trained w that is quantised afterwards.

    python scripts/rate_training.py mnist --data ../shared/data/mnist [--output docs/results/rate] [--runs runs/rate]
    python scripts/rate_training.py sst2 --data ../shared/data

One trial, and from its w the candidates of `idbounds compress`. Of those that no other beats in bits and errors both, each is
a row; beside it stands the shortest message found for the trained w with at most as many training errors, from the messages
that `shortest_message` (every quantiser, every step) finds for distances from w in a fine ladder: for w as the trial left it,
and for w trained on without rounding or price for as many further steps as the longest chain of candidates had, so that it has
seen at least as many examples; each in the codes of the candidates, and with the code `trellis`, which they do not have.
Errors are counted on the whole training set; the bound is the certified one.
Results: NAME.csv, NAME.md. Trials and candidates are kept, and a second call takes up from there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from code_lengths import MASSES, declaring
from minilm_table import sst2_sentences

from idbounds.candidates import Candidates, Tried, point_of
from idbounds.certification import network_at
from idbounds.codes import decode_message, shortest_message
from idbounds.compression import Search
from idbounds.config import Config, parse_config
from idbounds.console import ProgressBar
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.core.values import Score, Trial
from idbounds.measurement.executors import InProcess
from idbounds.measurement.keys import Keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors, train
from idbounds.measurement.trials import coordinate_rate
from idbounds.pipeline import Run, prepare
from idbounds.provenance import provenance_line

#: Distances from w, in its standard deviations: from where rounding changes no answer to where nothing of w is left. From one
#: to the next a coefficient gains log2(1.05) = 0.07 bits.
DISTANCES = np.geomspace(0.02, 1.1, 82)

#: The codes of the quantised w by what the table says of them: of the run's own menu, and of one that declares the trellis.
CODES: dict[str, dict[str, int]] = {"": {}, ", with the trellis": MASSES}


def mnist(data: Path, _: Path) -> dict[str, object]:
    """LeNet from scratch, as in scripts/mnist.toml but for one trial; of d = 500 and 1,000 the one with the smaller bound."""
    return {
        "model": {"builtin": "lenet"},
        "data": {"name": "MNIST", "images": str(data), "validation_fraction": 0.05},
        "measurement": {
            "parametrization": "full_weights",
            "dims": (1000,),
            "learning_rates": (8.0,),
            "batch_size": 128,
            "steps": 1000,
            "quantization_steps": 450,
        },
        "compression": {"candidates": 12},
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
        "steps": 400,
        "quantization_steps": 200,
    }
    raw["compression"] = {"candidates": 8}
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


def trained_on(run: Run, trial: Trial, w: torch.Tensor, *, steps: int) -> torch.Tensor:
    """w after further steps at a tenth of the trial's rate, as candidates have it, without rounding."""
    spec, key = run.spec, trial.key
    subspace = run.make_subspace(d=key.d, seed=key.seed)
    subspace.set_coordinates(w)
    train(
        subspace,
        [subspace.theta_d],
        data=run.data["train"],
        learning_rate=coordinate_rate(key) / 10,
        steps=steps,
        seed=key.seed,
        settings=spec.training,
        task=task_by_name(spec.learning_task),
    )
    return subspace.theta_d.detach().clone()


def steps_of_chain(last: Tried, by_vector: dict[str, Tried]) -> int:
    """Training steps from the trial's w to a candidate, with those of the candidates that it started from."""
    before = by_vector.get(last.proposal.start_sha256)
    own = last.proposal.free_steps + last.proposal.steps
    return own + (0 if before is None else steps_of_chain(before, by_vector))


def quantised_afterwards(
    run: Run, trial: Trial, w: torch.Tensor, *, errors: int, code_weights: dict[str, int]
) -> list[FrontierPoint]:
    """The shortest messages at distances from w, counted, by their bits, up to the first with at most so many errors."""
    key, spread = trial.key, float(w.std(correction=0))
    spec = declaring(run.spec, code_weights=code_weights)
    contents = {
        shortest_message(w.numpy(), max_rms_error=distance * spread, d=key.d, seed=key.seed, spec=spec)
        for distance in DISTANCES
    }
    points: list[FrontierPoint] = []
    messages = [decode_message(content, spec=spec) for content in contents]
    for decoded in sorted(messages, key=lambda one: one.message.complexity.num_bits):
        score = counted(run, network_at(decoded, make_subspace=run.make_subspace))
        points.append(point_of(spec, decoded.message, score, "quantised afterwards"))
        if score.errors <= errors:
            break
    return points


def unrounded_risk(run: Run, trial: Trial, w: torch.Tensor) -> float:
    subspace = run.make_subspace(d=trial.key.d, seed=trial.key.seed)
    subspace.set_coordinates(w)
    return counted(run, subspace).risk


def counted(run: Run, network: nn.Module) -> Score:
    task, batch_size = task_by_name(run.spec.learning_task), run.spec.model.eval_batch_size
    return count_errors(network, run.data["train"], batch_size=batch_size, task=task)


def rows_of(run: Run) -> Iterator[dict[str, object]]:
    with TrialStore(run.store) as store:
        (trial,) = trials_of(run, store)
        tried = Search(run, Candidates(run, store), [trial]).all()
        w = store.vector(str(trial.vector_sha256))
    by_vector = {str(one.candidate.vector_sha256): one for one in tried}
    steps = max(steps_of_chain(one, by_vector) for one in tried)
    ours = Frontier(spec_sha256=run.spec.sha256, points=tuple(one.point for one in tried), chosen=0).efficient()

    def starts() -> Iterator[tuple[str, torch.Tensor]]:
        yield "as the trial left it", w
        yield f"trained on for {steps} steps", trained_on(run, trial, w, steps=steps)

    for name, numbers in starts():
        about = f"{name}, {100 * unrounded_risk(run, trial, numbers):.2f} % unrounded"
        for codes, weights in CODES.items():
            theirs = quantised_afterwards(run, trial, numbers, errors=ours[-1].errors, code_weights=weights)
            for point in ours:
                yield row(point, about + codes, next((one for one in theirs if one.errors <= point.errors), None))


def row(ours: FrontierPoint, name: str, theirs: FrontierPoint | None) -> dict[str, object]:
    return {
        "d": ours.d,
        "training error (%)": round(100 * ours.errors / ours.n, 2),
        "bits, trained for the rate": ours.bits,
        "bound (%)": round(100 * ours.bound, 2),
        "w quantised afterwards, and its error": name,
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
            write(rows, folder=arguments.output, name=arguments.task, n=run.spec.task.train.n)


if __name__ == "__main__":
    main()
