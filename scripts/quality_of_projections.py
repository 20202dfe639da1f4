"""How good each random projection is: its singular values, its coherence, and the d90 of a small problem trained along it.

    python scripts/quality_of_projections.py [--seeds 4] [--output docs/results/projections]

The problem: a 64-64-10 network on scikit-learn's digits, trained from its random start along d directions. P is that of the
network's own layout. The learning rate is chosen once, on the validation split along dense Gaussian directions, and is
the same for every projection. Eleven minutes on one core; writes quality.csv and quality.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is imported

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from idbounds import Subspace, projection
from idbounds.core.records import write_atomically
from idbounds.core.streams import Stream
from idbounds.core.values import IntrinsicDimension, Score, Trial, TrialKey
from idbounds.estimation import choose_trials, intrinsic_dimension
from idbounds.projections import PROJECTIONS
from idbounds.provenance import provenance
from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.table import NOTHING, Cell, Table

#: Not random: what they measure is not a property of the family.
NOT_RANDOM = {"identity", "basis"}
#: Options beside the defaults that are worth a line of their own.
OPTIONS: dict[str, tuple[dict[str, int], ...]] = {
    "dense": ({}, {"rademacher": 1}),
    "fastfood_single_block": ({}, {"rademacher": 1}),
    "kronecker": ({}, {"orthonormal": 1}, {"terms": 2}),
}

#: d of the algebraic columns, and at which the learning rate is chosen: near d90, and no power of two.
D_SHOWN = 100
#: Pairs of rows for the quantile of |cos|; its tail of 0.1 % then holds 200 of them.
ROW_PAIRS = 200_000

HIDDEN = 64
SPLIT = {"train": 1000, "validation": 297, "test": 500}
STEPS = 150
DIMS = (60, 80, 100, 130, 170, 300)
#: So far apart that the neighbours of the chosen rate are worse on the validation split.
RATES = (0.03, 0.1, 0.3, 1.0)
FULL_RATES = (0.001, 0.003, 0.01)


@dataclass(frozen=True)
class Variant:
    """A family with its options."""

    family: str
    options: dict[str, int]

    def __str__(self) -> str:
        return " ".join((self.family, *(f"{name}={value}" for name, value in self.options.items())))


@dataclass(frozen=True)
class Algebra:
    """Medians over seeds; rows that are zero have no angle."""

    smallest: float
    largest: float
    columns: float
    row_mean_square: float | None
    row_tail: float | None
    moving: float


def variants() -> list[Variant]:
    random = [family for family in PROJECTIONS if family not in NOT_RANDOM]
    return [Variant(family, options) for family in random for options in OPTIONS.get(family, ({},))]


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def layout() -> tuple[tuple[str, int], ...]:
    return tuple((name, weight.numel()) for name, weight in network(0).named_parameters())


def cosines(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def algebra_of(variant: Variant, seed: int) -> Algebra:
    P = projection(variant.family, d=D_SHOWN, layout=layout(), seed=seed, **variant.options).to_dense().numpy()
    singular = np.linalg.svd(P, compute_uv=False)
    columns = cosines(P.T)
    moving = np.abs(P).sum(axis=1) > 0
    rows = cosines(P[moving])
    n = len(rows)
    first, second = np.random.default_rng(seed).integers(n, size=(2, ROW_PAIRS))
    angles = np.abs(np.einsum("ij,ij->i", rows[first], rows[second]))[first != second]
    return Algebra(
        smallest=float(singular[-1]),
        largest=float(singular[0]),
        columns=float(np.abs(columns @ columns.T - np.eye(D_SHOWN)).max()),
        # Over all pairs: || R^T R ||_F^2 holds each pair twice and n ones.
        row_mean_square=float((np.square(rows.T @ rows).sum() - n) / (n * (n - 1))) if moving.all() else None,
        row_tail=float(np.quantile(angles, 0.999)) if moving.all() else None,
        moving=float(moving.mean()),
    )


def median_of(found: Sequence[Algebra]) -> Algebra:
    def median(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.median(known)) if len(known) == len(values) else None

    return Algebra(**{field: median([getattr(one, field) for one in found]) for field in Algebra.__dataclass_fields__})


class Problem:
    """Digits, cut into three splits once."""

    def __init__(self) -> None:
        digits = load_digits()
        order = Stream(seed=0, purpose="quality/split").permutation(0, sum(SPLIT.values()))
        pixels = torch.from_numpy(digits.data[order]).float() / 16 - 0.5  # from 0 .. 16
        labels = torch.from_numpy(digits.target[order])
        cut = list(SPLIT.values())
        self.splits = dict(zip(SPLIT, zip(pixels.split(cut), labels.split(cut), strict=True), strict=True))
        self.majority = float(torch.bincount(self.splits["test"][1]).max()) / SPLIT["test"]
        self.sha256 = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()

    def trial(self, variant: Variant | None, *, d: int, seed: int, rate: float) -> Trial:
        """One training run; without a variant, of all weights."""
        model: nn.Module = network(seed)
        if variant is not None:
            model = subspace(model, variant, d=d, seed=seed)
        began = time.perf_counter()
        loss = self._train(model, rate)
        return Trial(
            key=TrialKey(spec_sha256=self.sha256, method=str(variant or "all weights"), d=d, seed=seed, learning_rate=rate),
            status="finished",
            validation=self._score(model, "validation"),
            test=self._score(model, "test"),
            final_loss=loss,
            seconds=time.perf_counter() - began,
        )

    def _train(self, model: nn.Module, rate: float) -> float:
        pixels, labels = self.splits["train"]
        optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=rate)
        loss = torch.tensor(0.0)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(pixels), labels)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _score(self, model: nn.Module, split: str) -> Score:
        pixels, labels = self.splits[split]
        answers: Tensor = model(pixels).argmax(dim=1)
        return Score(errors=int((answers != labels).sum()), n=len(labels))


def subspace(model: nn.Module, variant: Variant, *, d: int, seed: int) -> Subspace:
    """With the family's options, which `Subspace` does not take."""
    made = Subspace(model, dim=d, projection=variant.family, seed=seed)
    sizes = tuple(made.projection.sizes.items())
    made.projection = projection(variant.family, d=d, layout=sizes, seed=seed, **variant.options)
    return made


def measure(problem: Problem, seeds: range) -> Iterator[tuple[Variant, list[Trial], IntrinsicDimension]]:
    """(variant, its trials, d90); rates are chosen first, by validation."""
    menu = [problem.trial(None, d=0, seed=seed, rate=rate) for seed in seeds for rate in FULL_RATES]
    gaussian = Variant("dense", {})
    menu += [problem.trial(gaussian, d=D_SHOWN, seed=seed, rate=rate) for seed in seeds for rate in RATES]
    full, chosen = choose_trials(menu)
    print(f"learning rates: {chosen.learning_rate} in a subspace, {full.learning_rate} for all weights", flush=True)
    for variant in variants():
        trials = [problem.trial(variant, d=d, seed=seed, rate=chosen.learning_rate) for d in DIMS for seed in seeds]
        d90 = intrinsic_dimension([*full.trials, *trials], parametrization="full_weights", majority_accuracy=problem.majority)
        yield variant, trials, d90


def number(value: float | None, places: int) -> Cell:
    return Cell(value, NOTHING if value is None else f"{value:.{places}f}")


def d90_cells(d90: IntrinsicDimension) -> tuple[Cell, ...]:
    low = Cell(d90.lower, f"< {d90.smallest_d}" if d90.lower is None else f"{d90.lower:.0f}")
    high = Cell(d90.upper, f"> {d90.largest_d}" if d90.upper is None else f"{d90.upper:.0f}")
    reached = d90.grid[-1][1] >= d90.target_accuracy
    outside = f"< {d90.smallest_d}" if reached else f"> {d90.largest_d}"
    return Cell(d90.value, outside if d90.value is None else f"{d90.value:.0f}"), low, high


def row_of(variant: Variant, algebra: Algebra, trials: Sequence[Trial], d90: IntrinsicDimension) -> tuple[Cell, ...]:
    accuracy = np.mean([trial.test.accuracy for trial in trials if trial.test is not None and trial.key.d == D_SHOWN])
    return (
        Cell(str(variant), str(variant)),
        number(algebra.smallest, 3),
        number(algebra.largest, 3),
        number(algebra.columns, 3),
        number(None if algebra.row_mean_square is None else D_SHOWN * algebra.row_mean_square, 2),
        number(algebra.row_tail, 2),
        Cell(algebra.moving, f"{100 * algebra.moving:.1f}"),
        *d90_cells(d90),
        Cell(float(accuracy), f"{100 * accuracy:.1f}"),
    )


HEADS = (
    "projection",
    "smallest σ",
    "largest σ",
    "columns: largest cos",
    "rows: d · mean cos²",
    "rows: 99.9 % of cos",
    "weights that move (%)",
    "d90",
    "lower",
    "upper",
    f"accuracy at d = {D_SHOWN} (%)",
)


def table_of(rows: Sequence[tuple[Cell, ...]], d90: IntrinsicDimension, *, rate: float, seeds: range) -> Table:
    made = {**provenance(), "scikit-learn": metadata.version("scikit-learn")}
    return Table(
        name="quality",
        heads=HEADS,
        numeric=(False, *(True for _ in HEADS[1:])),
        rows=tuple(rows),
        caption=(
            f"Projections for the layout of a 64-{HIDDEN}-10 network, D = {sum(size for _, size in layout())}: singular values "
            f"and |cos| of columns and rows at d = {D_SHOWN}, medians over {len(seeds)} seeds; d90 on digits, 0.9 of the "
            f"{100 * d90.baseline_accuracy:.1f} % that all weights reach, with its 90 % interval."
        ),
        notes=(
            f"seeds {seeds.start} to {seeds.stop - 1}; d in {', '.join(map(str, DIMS))}; "
            f"{STEPS} steps of Adam at learning rate {rate} on all {SPLIT['train']} training images; "
            f"{SPLIT['validation']} for validation, {SPLIT['test']} for testing",
            *(f"{name}: {value}" for name, value in made.items()),
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4, help="how many, from 0 on")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "results" / "projections")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.seeds)
    began, rows = time.perf_counter(), []
    for variant, trials, d90 in measure(Problem(), seeds):
        algebra = median_of([algebra_of(variant, seed) for seed in seeds])
        rows.append(row_of(variant, algebra, trials, d90))
        print(f"{time.perf_counter() - began:4.0f} s  {'  '.join(cell.text for cell in rows[-1])}", flush=True)
    table = table_of(rows, d90, rate=trials[0].key.learning_rate, seeds=seeds)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.output / "quality.csv", to_csv(table).encode())
    write_atomically(arguments.output / "quality.md", to_markdown(table).encode())
    print(f"{arguments.output}/quality.md written in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
