"""Products of the families of `TableProjection` on a CUDA device, through torch and through Triton, over copies and reads.

    python scripts/bench/projections_gpu.py [--repeats 7]

Two ratios, each of times on the same device in the same run: (theta_0 + P w, then P^T g) over (copy + read), and
(P w + P^T g) over (fill + read). Called one by one, so that the processor's time to launch their kernels counts where the
device waits for it; and captured in CUDA graphs, both sides of the ratio, where it does not. The rows of each path are held
to the CPU's, bit for bit; the exit status is 1 where one differs. docs/results/projections/gpu.txt is what it printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata

import torch

from idbounds.projections import projection
from idbounds.projections.base import Projection
from idbounds.projections.compiled import SWITCH
from idbounds.provenance import provenance

SIZES = (10**6, 10**7, 125_000_000)
DIMENSIONS = (100, 1_000, 10_000)
FAMILIES = ("fastfood", "one_hot", "signed_permutation")
SEED = 0
#: So many rows at each end of P w are compared with the CPU's.
COMPARED = 10**6


def seconds(step: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that compiles and allocates."""
    step()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """A replay of a call, which has run before."""
    step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def same_bits(P: Projection, w: torch.Tensor) -> bool:
    """Whether the first and the last rows on the device are those on the CPU."""
    ends = ((0, min(COMPARED, P.D)), (max(0, P.D - COMPARED), P.D))
    return all(
        torch.equal(
            P.rows(w.cuda(), start=start, stop=stop).cpu().view(torch.int32),
            P.rows(w, start=start, stop=stop).view(torch.int32),
        )
        for start, stop in ends
    )


def measure(D: int, repeats: int, paths: list[str]) -> bool:
    """Print the table's rows for one D; whether all bits were the CPU's."""
    generator = torch.Generator().manual_seed(SEED)
    theta_0, g = torch.randn(D, generator=generator).cuda(), torch.randn(D, generator=generator).cuda()
    memory, right = torch.empty_like(g), True
    floors = [partial(copy_and_read, memory, theta_0, g), partial(fill_and_read, memory, g)]
    called, replayed = ([seconds(one, repeats) for one in some] for some in (floors, map(captured, floors)))
    print(f"D = {D:.3g}: copy + read {1e3 * called[0]:.3f} ms, fill + read {1e3 * called[1]:.3f} ms; ", end="")
    print(f"in CUDA graphs {1e3 * replayed[0]:.3f} and {1e3 * replayed[1]:.3f} ms")
    for family, d, path in itertools.product(FAMILIES, DIMENSIONS, paths):
        os.environ[SWITCH] = "1" if path == "torch" else ""
        P, w = projection(family, d=d, D=D, seed=SEED), torch.randn(d, generator=generator)
        same = same_bits(P, w)
        right = right and same
        # Bound now: a lambda would read the loop's variables when it is called.
        products = [partial(move_and_pull, P, theta_0, w.cuda(), g), partial(make_and_pull, P, w.cuda(), g)]
        step, pair = (seconds(one, repeats) / floor for one, floor in zip(products, called, strict=True))
        print(f"  {family:18} d = {d:<6} {path:6} step {step:7.2f}  pair {pair:7.2f}", end="")
        if path == "triton":  # torch's path draws its numbers on the processor
            step, pair = (seconds(captured(one), repeats) / floor for one, floor in zip(products, replayed, strict=True))
            print(f"  in CUDA graphs: step {step:6.2f}  pair {pair:6.2f}", end="")
        print(f"  bits {'as on the CPU' if same else 'DIFFER'}", flush=True)
    return right


def copy_and_read(memory: torch.Tensor, theta_0: torch.Tensor, g: torch.Tensor) -> None:
    memory.copy_(theta_0)
    g.sum()


def fill_and_read(memory: torch.Tensor, g: torch.Tensor) -> None:
    memory.fill_(1.0)
    g.sum()


def move_and_pull(P: Projection, theta_0: torch.Tensor, w: torch.Tensor, g: torch.Tensor) -> None:
    P.move(theta_0, w, name="")
    P.adjoint_rows(g)


def make_and_pull(P: Projection, w: torch.Tensor, g: torch.Tensor) -> None:
    P.rows(w)
    P.adjoint_rows(g)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device here, so nothing was measured.")
    # Threads of the CPU would each launch a part of a product; the device has parallelism of its own.
    torch.set_num_threads(1)
    paths = ["torch", *(["triton"] if importlib.util.find_spec("triton") else [])]
    facts = provenance() | {name: metadata.version(name) for name in paths}
    print(f"made by scripts/bench/projections_gpu.py --repeats {repeats}, seed {SEED}, float32")
    print(f"device: {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}", end=", ")
    print(*(f"{name}: {value}" for name, value in facts.items()), sep=", ")
    right = [measure(D, repeats, paths) for D in SIZES]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
