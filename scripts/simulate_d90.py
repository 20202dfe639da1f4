"""How often the interval of d90 holds the truth, how far the estimate is off, and what a search saves: by simulation.

    python scripts/simulate_d90.py coverage [--studies 1200] [--tuning] [--output docs/results/estimation]
    python scripts/simulate_d90.py mrpc     [--studies 2000] [--tuning] [--output docs/results/estimation]
    python scripts/simulate_d90.py shared   [--studies 300]  [--tuning] [--output docs/results/estimation]
    python scripts/simulate_d90.py search   [--studies 80]   [--tuning] [--output docs/results/estimation]

Constants of the estimator and of the search were chosen on the tuning studies (--tuning: seed 1, nothing is written);
what is written comes from other studies (seed 2). On one core: 10, 15, 2 and 25 minutes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from idbounds.core.records import write_atomically
from idbounds.estimation import FITS, intrinsic_dimension
from idbounds.provenance import provenance
from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.table import NOTHING, Cell, Table
from idbounds.testing.simulated_answers import DIFFICULTY_SD, shared_trials
from idbounds.testing.simulated_search import FULL_MENU, MENU, Outcome, full_grid, plan_for, search
from idbounds.testing.simulated_studies import (
    LARGEST_D,
    SHAPES,
    SMALLEST_D,
    Study,
    Verdict,
    judge,
    log_grid,
    mrpc_study,
    random_study,
)

TUNING_SEED, REPORT_SEED = 1, 2
GRIDS, SEEDS, FEWEST_BASELINE_SEEDS = (6, 8, 10, 13, 20), (1, 2, 3, 5), 3
MOST_ANSWERS = 2000
#: Draws of the simulated MRPC setting begin at a multiple of this, so that tuning and report share none.
MRPC_DRAWS, FIRST_CROSSINGS = 10_000, 300
MEASURES = ("number", "coverage (%)", "± (%)", "median error (%)", "upper / lower")
SEARCH_GRIDS, SEARCH_SEEDS = (8, 12, 16, 24), (1, 2, 3, 5)


def verdict_of(study: Study, *, grid: int, seeds: int, baseline_seeds: int, fit: str, rule: str, draw: int) -> Verdict:
    """One draw of trials, estimated by one fit. The same draw gives every fit the same trials."""
    generator = np.random.default_rng(draw)
    trials = study.grid_trials(log_grid(grid), seeds=seeds, baseline_seeds=baseline_seeds, generator=generator)
    estimate = intrinsic_dimension(trials, parametrization="simulated", majority_accuracy=study.low, rule=rule, fit=fit)
    return judge(estimate, truth=study.d90(estimate_target(study, rule)))


def estimate_target(study: Study, rule: str) -> float:
    """The target as it is in truth."""
    return 0.9 * study.full if rule == "paper" else study.low + 0.9 * (study.full - study.low)


def random_verdicts(count: int, *, seed: int) -> Iterator[tuple[dict[str, str], dict[str, Verdict]]]:
    """(what the study is like, verdicts by fit), the shapes in turn."""
    generator = np.random.default_rng(seed)
    for number in range(count):
        study = random_study(generator, shape=SHAPES[number % len(SHAPES)])
        grid, seeds = int(generator.choice(GRIDS)), int(generator.choice(SEEDS))
        rule = str(generator.choice(["paper", "chance_corrected"]))
        draw = int(generator.integers(2**31))
        verdicts = {
            fit: verdict_of(
                study, grid=grid, seeds=seeds, baseline_seeds=max(seeds, FEWEST_BASELINE_SEEDS), fit=fit, rule=rule, draw=draw
            )
            for fit in FITS
        }
        yield (
            {
                "shape": study.shape,
                "d in the grid": f"{grid:2d}",
                "seeds": str(seeds),
                "test examples": f"{study.num_examples:5d}",
                "sd between seeds (%)": f"{100 * study.seed_sd:g}",
                "rule": rule,
            },
            verdicts,
        )


def summary(label: Sequence[str], verdicts: Sequence[Verdict]) -> tuple[Cell, ...]:
    errors = [verdict.error for verdict in verdicts if verdict.error is not None]
    coverage = float(np.mean([verdict.covered for verdict in verdicts]))
    half = 1.96 * (coverage * (1 - coverage) / len(verdicts)) ** 0.5
    error = float(np.median(errors)) if errors else None
    width = float(np.exp(np.median([verdict.width for verdict in verdicts])))
    return (
        *(Cell(text.strip(), text.strip()) for text in label),
        Cell(len(verdicts), str(len(verdicts))),
        Cell(coverage, f"{100 * coverage:.1f}"),
        Cell(half, f"{100 * half:.1f}"),
        Cell(error, NOTHING if error is None else f"{100 * error:.1f}"),
        Cell(width, f"{width:.2f}"),
    )


def first_crossing(study: Study, *, seeds: int, count: int) -> float:
    """Median over draws of the first d of a 100-point grid whose mean accuracy exceeds 0.9 of the baseline's."""
    found = []
    for draw in range(count):
        trials = study.grid_trials(log_grid(100), seeds=seeds, baseline_seeds=seeds, generator=np.random.default_rng(draw))
        means = {
            d: np.mean([trial.test.accuracy for trial in group if trial.test is not None])
            for d, group in groupby(trials, key=lambda trial: trial.key.d)
        }
        found.append(next((d for d in log_grid(100) if means[d] >= 0.9 * means[0]), LARGEST_D))
    return float(np.median(found))


def verdict_table(
    name: str, *, first: tuple[str, str], rows: tuple[tuple[Cell, ...], ...], caption: str, notes: tuple[str, ...]
) -> Table:
    """Rows of `summary` under its heads, with the provenance after the notes."""
    return Table(
        name=name,
        heads=(*first, "fit", *MEASURES),
        numeric=(False, False, False, True, True, True, True, True),
        rows=rows,
        caption=caption,
        notes=(*notes, *(f"{what}: {value}" for what, value in provenance().items())),
    )


def coverage_table(count: int, *, seed: int) -> Table:
    groups: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for properties, verdicts in random_verdicts(count, seed=seed):
        for fit, verdict in verdicts.items():
            groups["all studies", "", fit].append(verdict)
            groups["shape", properties["shape"], fit].append(verdict)
        for name, value in properties.items():
            if name != "shape":
                groups[name, value, "averaged"].append(verdicts["averaged"])
    rows = [summary(label, groups[label]) for label in sorted(groups, key=order)]
    return verdict_table(
        "coverage",
        first=("studies", "which"),
        rows=tuple(rows),
        caption=(
            "Simulated studies: how many of the nominal 90 % intervals hold the true d90, with the half-width of a 95 % "
            "interval for that share; median of |estimate / true − 1|; median of upper over lower end, inside the grid."
        ),
        notes=(
            f"{count} random studies, seed {seed}; the constants were chosen on those of seed {TUNING_SEED}; "
            f"d from {SMALLEST_D} to {LARGEST_D}, as many seeds of full fine-tuning as of a d "
            f"but at least {FEWEST_BASELINE_SEEDS}; errors are over studies whose d90 is in that range",
        ),
    )


def mrpc_table(count: int, *, seed: int) -> Table:
    """So many draws that the median error of a row is known to half a percentage point."""
    study, rows, notes = mrpc_study(), [], []
    for seeds in (1, 5):
        for baseline_seeds in sorted({seeds, 5}):
            verdicts = [
                verdict_of(study, grid=100, seeds=seeds, baseline_seeds=baseline_seeds, fit="averaged", rule="paper", draw=draw)
                for draw in range(seed * MRPC_DRAWS, seed * MRPC_DRAWS + count)
            ]
            rows.append(summary((f"{seeds} seeds a d", f"{baseline_seeds} of full fine-tuning", "averaged"), verdicts))
        crossing = first_crossing(study, seeds=seeds, count=FIRST_CROSSINGS)
        notes.append(f"first crossing, {seeds} seeds a d and full, {FIRST_CROSSINGS} draws: median {crossing:.0f} for 1000")
    return verdict_table(
        "mrpc",
        first=("trials", "and"),
        rows=tuple(rows),
        caption=(
            "The simulated MRPC setting: true d90 = 1000, 100 d from 10 to 10,000, 408 test examples, seeds that differ by 1 "
            "%. Columns as in coverage."
        ),
        notes=(
            f"draws from number {seed * MRPC_DRAWS} on",
            *notes,
        ),
    )


def shared_table(count: int, *, seed: int) -> Table:
    generator = np.random.default_rng(seed)
    found: dict[str, list[Verdict]] = {"counts": [], "answers": []}
    for _ in range(count):
        study = random_study(generator)
        study = replace(study, num_examples=min(study.num_examples, MOST_ANSWERS))
        seeds = int(generator.choice(SEEDS))
        trials, answers = shared_trials(
            study, log_grid(12), seeds=seeds, baseline_seeds=max(seeds, FEWEST_BASELINE_SEEDS), generator=generator
        )
        for known, outcomes in (("counts", None), ("answers", answers)):
            estimate = intrinsic_dimension(trials, parametrization="simulated", majority_accuracy=study.low, outcomes=outcomes)
            found[known].append(judge(estimate, truth=study.d90(estimate_target(study, "paper"))))
    return verdict_table(
        "shared_test_set",
        first=("studies", "what is known"),
        rows=tuple(summary(("one test set for all trials", known, "averaged"), verdicts) for known, verdicts in found.items()),
        caption=(
            "Studies whose trials are all scored on the same examples, some of them hard for every trial: intervals from "
            "counts alone, as if every trial had examples of its own, and from the answers to each. Columns as in coverage."
        ),
        notes=(f"seed {seed}; 12 d; difficulty has sd {DIFFICULTY_SD:g} on the logit scale; at most {MOST_ANSWERS} examples",),
    )


def search_table(count: int, *, seed: int) -> Table:
    generator = np.random.default_rng(seed)
    random = [(random_study(generator), int(generator.integers(2**31))) for _ in range(count)]
    mrpc = [(replace(mrpc_study(), best_rate=1.2), seed * MRPC_DRAWS + number) for number in range(count // 2)]
    rows = []
    for name, studies, wanted in (("random", random, (2.0, 1.5)), ("simulated MRPC", mrpc, (2.0,))):
        grids = {
            (grid, seeds): [
                full_grid(study, log_grid(grid), seeds=seeds, baseline_seeds=max(seeds, FEWEST_BASELINE_SEEDS), draw=draw)
                for study, draw in studies
            ]
            for grid in SEARCH_GRIDS
            for seeds in SEARCH_SEEDS
        }
        for ratio in wanted:
            found = [search(study, plan_for(study, wanted_ratio=ratio), draw=draw) for study, draw in studies]
            rows += compared(name, ratio, found, grids)
    return Table(
        name="search",
        heads=("studies", "strategy", "number", "trials", "share", "upper / lower", "median error (%)", "coverage (%)"),
        numeric=(False, False, True, True, True, True, True, True),
        rows=tuple(rows),
        caption=(
            "The search beside the cheapest full grid (every d, seed and learning rate) with a median interval no wider and "
            "a median error no larger: mean number of trials, all of equally many training steps, full fine-tuning "
            "included; share: trials of the search over those of the grid."
        ),
        notes=(
            f"seed {seed}; the constants were chosen on studies of seed {TUNING_SEED}; {len(MENU)} learning rates, "
            f"{len(FULL_MENU)} for full fine-tuning; a tenth of the rise is lost for each step away from the best rate",
            f"grids of {', '.join(map(str, SEARCH_GRIDS))} d with {', '.join(map(str, SEARCH_SEEDS))} seeds",
            *(f"{name}: {value}" for name, value in provenance().items()),
        ),
    )


def compared(
    name: str, ratio: float, found: Sequence[Outcome], grids: dict[tuple[int, int], list[Outcome]]
) -> list[tuple[Cell, ...]]:
    """The search's row, and that of the cheapest grid of the same precision, or of the most precise one if none has it."""
    width, error = precision(found)
    equal = {key: outcomes for key, outcomes in grids.items() if all(np.array(precision(outcomes)) <= (width, error))}
    pool = equal or grids
    key = min(pool, key=(lambda key: mean_trials(pool[key])) if equal else (lambda key: precision(pool[key])[0]))
    dims, seeds = key
    label = f"grid of {dims} d, {seeds} seeds" + ("" if equal else " (most precise, still worse)")
    share = mean_trials(found) / mean_trials(pool[key])
    return [outcome_row(name, f"search to {ratio:g}", found, share), outcome_row(name, label, pool[key], None)]


def precision(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Median width and median error."""
    errors = [outcome.verdict.error for outcome in outcomes if outcome.verdict.error is not None]
    return float(np.median([outcome.verdict.width for outcome in outcomes])), float(np.median(errors))


def mean_trials(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.trials for outcome in outcomes]))


def outcome_row(name: str, strategy: str, outcomes: Sequence[Outcome], share: float | None) -> tuple[Cell, ...]:
    width, error = precision(outcomes)
    coverage = float(np.mean([outcome.verdict.covered for outcome in outcomes]))
    return (
        Cell(name, name),
        Cell(strategy, strategy),
        Cell(len(outcomes), str(len(outcomes))),
        Cell(mean_trials(outcomes), f"{mean_trials(outcomes):.1f}"),
        Cell(share, NOTHING if share is None else f"{share:.2f}"),
        Cell(float(np.exp(width)), f"{np.exp(width):.2f}"),
        Cell(error, f"{100 * error:.1f}"),
        Cell(coverage, f"{100 * coverage:.1f}"),
    )


def order(label: tuple[str, str, str]) -> tuple[int, str, int, str]:
    groups = ("all studies", "shape", "d in the grid", "seeds", "test examples", "sd between seeds (%)", "rule")
    return groups.index(label[0]), label[0], list(FITS).index(label[2]), label[1]


PARTS: dict[str, tuple[Callable[..., Table], int]] = {
    "coverage": (coverage_table, 1200),
    "mrpc": (mrpc_table, 2000),
    "shared": (shared_table, 300),
    "search": (search_table, 80),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--studies", type=int, help="how many")
    parser.add_argument("--tuning", action="store_true", help="the tuning studies; print only")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "results" / "estimation")
    arguments = parser.parse_args()
    began = time.perf_counter()
    make, studies = PARTS[arguments.part]
    table = make(arguments.studies or studies, seed=TUNING_SEED if arguments.tuning else REPORT_SEED)
    print(to_markdown(table))
    print(f"{time.perf_counter() - began:.0f} s")
    if not arguments.tuning:
        write_atomically(arguments.output / f"{table.name}.csv", to_csv(table).encode())
        write_atomically(arguments.output / f"{table.name}.md", to_markdown(table).encode())


if __name__ == "__main__":
    main()
