"""Time and memory of P w and P^T g beside the machine's floor and beside plain references of what peers do, in one run.

    python scripts/bench/projections.py [--sizes 1e6 1e7 1.25e8] [--output docs/results/projections]

Every family moves one tensor of D weights into memory that is there already, as training does. Ratios, because machines
are noisy: `bare` is (P w, then P^T g) over (fill D floats, then read D floats); `step` is (theta_0 + P w, then P^T g) over
(copy D floats, then read D floats). Each is the median over rounds in which product and floor take turns. Memory is the growth
of the process's peak over theta_0, theta and the gradient, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

# Before torch is imported: see idbounds/cli.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from idbounds.projections import projection
from idbounds.projections.compiled import SWITCH
from idbounds.provenance import provenance_line

SEED = 0
WARM_UP = 2**14
OURS = ("fastfood", "one_hot", "signed_permutation")


class Product(Protocol):
    """One way to compute P w and P^T g for one tensor."""

    def rows(self, out: Tensor) -> None: ...
    def move(self, theta_0: Tensor, out: Tensor) -> None: ...
    def adjoint(self, g: Tensor) -> Tensor: ...


class Ours:
    """A registered family."""

    def __init__(self, family: str, d: int, size: int) -> None:
        self.P = projection(family, d=d, D=size, seed=SEED)
        self.w = gaussian(d)

    def rows(self, out: Tensor) -> None:
        self.P.at(self.w).write(out, name="")

    def move(self, theta_0: Tensor, out: Tensor) -> None:
        self.P.at(self.w).write(out, name="", theta_0=theta_0)

    def adjoint(self, g: Tensor) -> Tensor:
        return self.P.adjoint_rows(g)


class Peer:
    """What public code does: P w in fresh memory, then the sum."""

    def product(self) -> Tensor:
        raise NotImplementedError

    def rows(self, out: Tensor) -> None:
        out.copy_(self.product())

    def move(self, theta_0: Tensor, out: Tensor) -> None:
        torch.add(theta_0, self.product(), out=out)


class ButterflyFastfood(Peer):
    """One block of length 2^k >= D with stored B, Π and G, butterflies that stack halves: per tensor, as jgamper's package."""

    def __init__(self, d: int, size: int) -> None:
        self.d, self.size, self.block = d, size, 1 << (size - 1).bit_length()
        generator = torch.Generator().manual_seed(SEED)
        self.signs = torch.randint(0, 2, (self.block,), generator=generator).float() * 2 - 1
        self.permutation = torch.randperm(self.block, generator=generator)
        self.inverse = self.permutation.argsort()
        self.gaussians = torch.randn(self.block, generator=generator)
        self.factor = 1 / math.sqrt(self.block * size)
        self.w = gaussian(d)

    def product(self) -> Tensor:
        padded = torch.zeros(self.block)
        padded[: self.d] = self.w
        mixed = butterflies(padded * self.signs)[self.permutation] * self.gaussians
        return butterflies(mixed)[: self.size] * self.factor

    def adjoint(self, g: Tensor) -> Tensor:
        padded = torch.zeros(self.block)
        padded[: self.size] = g
        mixed = (butterflies(padded) * self.gaussians)[self.inverse]
        return (butterflies(mixed) * self.signs)[: self.d] * self.factor


def butterflies(vector: Tensor) -> Tensor:
    half, length = 1, vector.numel()
    while half < length:
        pairs = vector.view(-1, 2, half)
        vector = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).view(-1)
        half *= 2
    return vector


class StoredOneHot(Peer):
    """An int64 index and a scale for each weight, stored, as PEFT's UniLora keeps them."""

    def __init__(self, d: int, size: int) -> None:
        self.index = torch.randint(0, d, (size,), generator=torch.Generator().manual_seed(SEED))
        counts = torch.bincount(self.index, minlength=d).float()
        self.scale = counts.rsqrt()[self.index]
        self.w = gaussian(d)

    def product(self) -> Tensor:
        return self.w[self.index] * self.scale

    def adjoint(self, g: Tensor) -> Tensor:
        return torch.zeros(self.w.numel()).index_add_(0, self.index, g * self.scale)


class RoundedKronecker(Peer):
    """A ⊗ B with square factors of the whole layout, stored, as tight-pac-bayes' RDKron."""

    def __init__(self, d: int, size: int) -> None:
        self.size = size
        rows, columns = math.isqrt(size - 1) + 1, math.isqrt(d - 1) + 1
        generator = torch.Generator().manual_seed(SEED)
        self.left = torch.randn(rows, columns, generator=generator)
        self.right = torch.randn(rows, columns, generator=generator) / math.sqrt(size)
        self.w = torch.zeros(columns, columns)
        self.w.view(-1)[:d] = gaussian(d)
        self.d = d

    def product(self) -> Tensor:
        return (self.left @ self.w @ self.right.t()).view(-1)[: self.size]

    def adjoint(self, g: Tensor) -> Tensor:
        padded = torch.zeros(len(self.left) ** 2)
        padded[: self.size] = g
        return (self.left.t() @ padded.view(len(self.left), -1) @ self.right).reshape(-1)[: self.d]


class StoredDense(Peer):
    """The whole matrix in memory."""

    def __init__(self, d: int, size: int) -> None:
        self.matrix = torch.randn(size, d, generator=torch.Generator().manual_seed(SEED)).div_(math.sqrt(size))
        self.w = gaussian(d)

    def product(self) -> Tensor:
        return self.matrix @ self.w

    def adjoint(self, g: Tensor) -> Tensor:
        return self.matrix.t() @ g


class Case(NamedTuple):
    """One line of the table."""

    name: str
    make: Callable[[int, int], Product]
    pure_torch: bool
    largest: float  # beyond this many D d, or D where it does not depend on d, it is left out: minutes, or too much memory
    by_entries: bool = False


def _ours(family: str) -> Callable[[int, int], Product]:
    return lambda d, size: Ours(family, d, size)


CASES = [
    *(Case(f"{family}, compiled", _ours(family), False, math.inf) for family in OURS),
    *(Case(f"{family}, torch", _ours(family), True, math.inf) for family in OURS),
    Case("kronecker, torch", _ours("kronecker"), True, math.inf),
    Case("peer: butterfly Fastfood, one block", ButterflyFastfood, True, 1e7),
    Case("peer: stored int64 one-hot", StoredOneHot, True, math.inf),
    Case("peer: rounded Kronecker", RoundedKronecker, True, math.inf),
    Case("peer: stored dense", StoredDense, True, 1.1e9, by_entries=True),
]


def gaussian(size: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(SEED).standard_normal(size, dtype=np.float32))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(case: Case, *, size: int, d: int, theta_0: Tensor, out: Tensor, repeats: int) -> dict[str, object]:
    """Times and ratios of one case: medians over rounds, each with floors of its own, after one that is not counted.

    There are fewer rounds where they take longer than 10 s together, but one at least.
    """
    os.environ.pop(SWITCH, None)
    if case.pure_torch:
        os.environ[SWITCH] = "1"
    start = time.perf_counter()
    product = case.make(d, size)
    setup = time.perf_counter() - start
    actions: dict[str, Callable[[], object]] = {
        "fill": lambda: out.fill_(1.0),
        "copy": lambda: out.copy_(theta_0),
        "read": theta_0.sum,
        "P w (s)": lambda: product.rows(out),
        "theta_0 + P w (s)": lambda: product.move(theta_0, out),
        "P^T g (s)": lambda: product.adjoint(theta_0),
    }
    for action in actions.values():
        action()
    rounds: list[dict[str, float]] = []
    while not rounds or (len(rounds) < repeats and sum(sum(one.values()) for one in rounds) < 10):
        rounds.append({name: seconds(action) for name, action in actions.items()})
    times = pd.DataFrame(rounds)
    return {
        "projection": case.name,
        "D": size,
        "d": d,
        "threads": torch.get_num_threads(),
        **times.drop(columns=["fill", "copy", "read"]).median(),
        "bare": ((times["P w (s)"] + times["P^T g (s)"]) / (times["fill"] + times["read"])).median(),
        "step": ((times["theta_0 + P w (s)"] + times["P^T g (s)"]) / (times["copy"] + times["read"])).median(),
        "setup (s)": setup,
    }


def extra_bytes(name: str, size: int, d: int) -> float:
    """Growth of the peak over theta_0, theta and gradient, bytes a weight, in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", json.dumps([name, size, d])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory_of(name: str, size: int, d: int) -> None:
    case = next(case for case in CASES if case.name == name)
    if case.pure_torch:
        os.environ[SWITCH] = "1"
    torch.set_num_threads(1)
    # So that code that is loaded or compiled at first use is not counted; a size that every family takes, and that cuts a unit.
    small, some = case.make(d, 2 * WARM_UP + 1), torch.zeros(2 * WARM_UP + 1)
    small.move(some, torch.zeros_like(some))
    small.adjoint(some)
    theta_0, out = torch.ones(size), torch.ones(size)
    gradient = torch.ones(size)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak begins anew at what is held now
    before = peak_bytes()
    product = case.make(d, size)
    product.move(theta_0, out)
    product.adjoint(gradient)
    print((peak_bytes() - before) / size)


def peak_bytes() -> int:
    """The most memory that the process has held since the peak was reset (VmHWM of Linux)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e6, 1e7, 1.25e8])
    parser.add_argument("--dims", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("docs/results/projections"))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print_memory_of(*json.loads(arguments.memory_of))
        return
    table = []
    for size in map(int, arguments.sizes):
        theta_0, out = torch.ones(size), torch.ones(size)
        for case in CASES:
            for d in arguments.dims:
                if (size * d if case.by_entries else size) > case.largest:
                    continue
                memory = extra_bytes(case.name, size, d)
                for threads in arguments.threads:
                    torch.set_num_threads(threads)
                    row = measure(case, size=size, d=d, theta_0=theta_0, out=out, repeats=arguments.repeats)
                    row["extra memory (bytes a weight)"] = memory
                    table.append(row)
                    print(" ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    write(pd.DataFrame(table), arguments.output)


def write(table: pd.DataFrame, folder: Path) -> None:
    """speed.csv with every number, speed.md with the ratios, both under the machine, versions and seed."""
    about = provenance_line(seed=SEED)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.csv").write_text(f"# {about}\n{table.to_csv(index=False, float_format='%.4g')}")
    ratios = table.pivot_table(index=["D", "d", "projection"], columns="threads", values=["bare", "step"], sort=False)
    ratios.columns = [f"{ratio}, {threads} thread{'s' * (threads > 1)}" for ratio, threads in ratios.columns]
    memory = table.groupby(["D", "d", "projection"], sort=False)["extra memory (bytes a weight)"].first()
    shown = ratios.join(memory).reset_index()
    text = shown.to_markdown(index=False, floatfmt=".2f", intfmt=",")
    (folder / "speed.md").write_text(f"<!-- {about} -->\n{text}\n")


if __name__ == "__main__":
    main()
