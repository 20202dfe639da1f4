"""Bits a coefficient above the rate-distortion function of a Gaussian: the trellis, the lattice E8, and one step.

    python scripts/rate_distortion.py [--output docs/results/codes]     # a minute or two

20,000 Gaussians (seed 0). For each error the shortest code word of those steps, the six coarsest, whose root mean square error
is at most that; log2(sigma / error) is taken from its bits a coefficient. Result: rate_distortion.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idbounds.codes import Quantized, get_code
from idbounds.codes.arithmetic import ArithmeticEncoder
from idbounds.codes.quantizers import FineStep, e8
from idbounds.codes.shortest import AIMS, rms_error
from idbounds.codes.viterbi import trellis
from idbounds.provenance import provenance_line

GRID = FineStep()
OCTAVES = (0.5, 1.0, 1.5, 2.0, 3.0)
NUM_COEFFICIENTS, NUM_STEPS = 20_000, 6
#: From a step of 8 standard deviations to one of a hundredth.
INDICES = range(GRID.nearest_index(8.0), GRID.nearest_index(0.01))

Quantiser = Callable[[NDArray[np.float64], int, float], Iterator[Quantized]]


def one_step(w: NDArray[np.float64], index: int, _: float) -> Iterator[Quantized]:
    yield Quantized(GRID.quantize(w, step=GRID.step(index)), index)


def lattice(w: NDArray[np.float64], index: int, _: float) -> Iterator[Quantized]:
    yield e8(w, step_index=index, grid=GRID)


def paths(w: NDArray[np.float64], index: int, error: float) -> Iterator[Quantized]:
    """Only where nearest multiples keep the error: at other steps no path does."""
    if rms_error(w, next(one_step(w, index, error)), GRID) <= error:
        for factor in AIMS:
            yield trellis(w, step_index=index, max_rms_error=factor * error, grid=GRID)


METHODS: dict[str, tuple[str, Quantiser]] = {
    "trellis": ("trellis", paths),
    "E8": ("e8", lattice),
    "one step": ("gaussian", one_step),
}


def bits(name: str, quantized: Quantized) -> float:
    coder = ArithmeticEncoder()
    get_code(name).encode(quantized.symbols, coder=coder)
    return coder.used


def excess(w: NDArray[np.float64], name: str, quantiser: Quantiser, *, octaves: float) -> float:
    error = 2.0**-octaves
    found = ([bits(name, one) for one in quantiser(w, index, error) if rms_error(w, one, GRID) <= error] for index in INDICES)
    return min(min(lengths) for lengths in islice(filter(None, found), NUM_STEPS)) / len(w) - octaves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/codes"))
    output = parser.parse_args().output
    w = np.random.default_rng(0).standard_normal(NUM_COEFFICIENTS)
    w /= math.sqrt(np.mean(w**2))
    lines = [f"<!-- {provenance_line(n=NUM_COEFFICIENTS)} -->"]
    lines += ["| log2(sigma / error) | " + " | ".join(f"{one:g}" for one in OCTAVES) + " |", "|:---|" + "---:|" * len(OCTAVES)]
    for title, (name, quantiser) in METHODS.items():
        cells = [f"{excess(w, name, quantiser, octaves=one):.2f}" for one in OCTAVES]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    output.mkdir(parents=True, exist_ok=True)
    (output / "rate_distortion.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
