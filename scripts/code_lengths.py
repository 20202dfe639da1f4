"""How long messages are: against the entropy of their own model class, and against the accounting of Lotfi et al. (2022).

    python scripts/code_lengths.py RUN... [--output docs/results/codes]

RUN is a run's folder; measured are the coefficients of its subspace trials, trained without rounding. Results: lengths.csv,
speed.csv, and of them report.md and summary.md.

The accounting of Lotfi et al. ("PAC-Bayes compression bounds so tight that they can explain generalization", NeurIPS 2022;
the formulas are those of the code released with it, get_message_len and compute_bound): a codebook of L values fitted to
the coefficients, 16 bits an entry; ceil(log2 of the largest count) bits an entry for the counts; ceil(d H) + 1 bits for the
arithmetic code, H the empirical entropy; and 2 log2 of that sum. d and seed are not in it. Both of their codebooks are
made, k-means and means over equal bins, and each is compared with our shortest message that has no larger error. Ours
includes d, seed, step and code.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idbounds.codes import decode_message, encode_message, get_code, shortest_message, step_grid
from idbounds.codes.quantizers import FineStep, e8
from idbounds.codes.registry import CODE_WEIGHTS, CODES
from idbounds.codes.viterbi import trellis
from idbounds.core.values import RunSpec
from idbounds.measurement.keys import FULL_FINE_TUNING
from idbounds.measurement.store import TrialStore
from idbounds.provenance import provenance

#: Codebook sizes to compare at; their released configurations use 5 to 30 levels.
LEVELS = (3, 5, 7, 9, 12, 16)
#: Steps in standard deviations for the comparison with the entropy: the pipeline uses a half.
STEPS = (0.35, 0.5, 0.7, 1.0)
SPEED_SIZES = (1_000, 50_000)
#: Where Gaussian integers are none that a code has words for.
FITTING = {
    "ternary": np.sign,
    "e8": lambda values: e8(values, step_index=64, grid=FineStep()).symbols,
    "trellis": lambda values: trellis(values, step_index=64, max_rms_error=0.0, grid=FineStep()).symbols,
}
#: Of sixteen for the codes that have a mass by default and three for the trellis, which a spec must declare.
MASSES = CODE_WEIGHTS | {"trellis": 3}


def entropy_bits(symbols: NDArray[np.int64]) -> float:
    """d times the empirical entropy."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-np.sum(counts * np.log2(counts / counts.sum())))


def their_kmeans(w: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Lloyd's iterations from quantiles; entries as float16."""
    entries = np.quantile(w, (np.arange(levels) + 0.5) / levels)
    for _ in range(100):
        nearest = np.argmin(np.abs(w[:, None] - entries), axis=1)
        entries = np.array([w[nearest == i].mean() if np.any(nearest == i) else entries[i] for i in range(levels)])
    return np.sort(entries)


def their_bins(w: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Means over equal bins from -max to max; their start for training with quantisation."""
    edge = np.abs(w).max() + 1e-6
    ends = np.linspace(-edge, edge, levels + 1)
    bins = np.digitize(w, ends) - 1
    return np.array([w[bins == i].mean() if np.any(bins == i) else ends[i] for i in range(levels)])


def their_length(w: NDArray[np.float64], entries: NDArray[np.float64]) -> tuple[float, float]:
    """Bits and root mean square error."""
    codebook = entries.astype(np.float16).astype(np.float64)
    symbols = np.argmin(np.abs(w[:, None] - codebook), axis=1)
    largest = int(np.bincount(symbols).max())
    length = math.ceil(entropy_bits(symbols)) + 1 + len(codebook) * (16 + math.ceil(math.log2(largest)))
    return length + 2 * math.log2(length), float(np.sqrt(np.mean((w - codebook[symbols]) ** 2)))


def class_bits(symbols: NDArray[np.int64]) -> tuple[float, float]:
    """The class of `adaptive`: likelihood at its best probabilities, signs included, and its model cost.

    The cost is the logarithm of Shtarkov's sum for each question, the least that any code of the class can owe in the worst
    case (Shtarkov 1987), over the questions that were asked.
    """
    magnitudes = np.abs(symbols)
    likelihood, cost = float(np.count_nonzero(magnitudes)), 0.0
    for level in range(int(magnitudes.max()) + 1):
        n, k = int(np.sum(magnitudes >= level)), int(np.sum(magnitudes == level))
        likelihood += sum(-c * math.log2(c / n) for c in (k, n - k) if c)
        cost += shtarkov(n)
    return likelihood, cost


def shtarkov(n: int) -> float:
    """log2 sum_k C(n, k) (k/n)^k ((n-k)/n)^(n-k)."""
    k = np.arange(n + 1)
    log_binomial = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.where(k > 0, k * np.log(k / n), 0) + np.where(k < n, (n - k) * np.log((n - k) / n), 0)
    return float(np.log2(np.sum(np.exp(log_binomial + powers))))


def compare(name: str, w: NDArray[np.float64], spec: RunSpec, seed: int) -> list[dict[str, object]]:
    """One row for each codebook size and kind, one for each step."""
    d, rows = len(w), []
    for levels in LEVELS:
        for kind, make in (("k-means", their_kmeans), ("bins", their_bins)):
            theirs, error = their_length(w, make(w, levels))
            decoded = decode_message(shortest_message(w, max_rms_error=error, d=d, seed=seed, spec=spec), spec=spec)
            ours = decoded.message.complexity.num_bits
            rows.append(
                {"run": name, "d": d, "against": f"Lotfi et al., {levels} levels, {kind}", "their_bits": round(theirs, 1)}
                | {"our_bits": ours, "ratio": round(ours / theirs, 4), "code": decoded.code}
            )
    for fraction in STEPS:
        grid = step_grid(spec)
        index = grid.nearest_index(fraction * float(w.std()))
        symbols = grid.quantize(w, step=grid.step(index))
        likelihood, cost = class_bits(symbols)
        for code in ("adaptive", None):
            data = encode_message(quantized=symbols, step_index=index, d=d, seed=seed, spec=spec, code=code)
            decoded = decode_message(data, spec=spec)
            ours = decoded.message.complexity.num_bits
            menus = sum(item.bits for item in decoded.message.complexity.ledger[:4])
            least = likelihood + cost + menus
            against = f"class entropy + model cost + menus, step {fraction} sd, {code or 'shortest'}"
            rows.append(
                {"run": name, "d": d, "against": against, "their_bits": round(least, 1)}
                | {"our_bits": ours, "ratio": round(ours / least, 4), "code": decoded.code}
            )
    return rows


def speeds() -> list[dict[str, object]]:
    """Coefficients a second, Gaussian integers with a standard deviation of 1 step (ternary: 0.5), best of 3."""
    rows = []
    for name in CODES:
        code = get_code(name)
        for d in SPEED_SIZES:
            values = np.rint(np.random.default_rng(0).standard_normal(d)).astype(np.int64)
            if not code.can_encode(values):
                values = FITTING[name](values)
            encode, decode = (min(times) for times in zip(*(_timed(name, values) for _ in range(3)), strict=True))
            rows.append(
                {"code": name, "d": d, "encoded_per_second": round(d / encode), "decoded_per_second": round(d / decode)}
            )
    return rows


def _timed(name: str, values: NDArray[np.int64]) -> tuple[float, float]:
    from idbounds.codes.arithmetic import ArithmeticDecoder, ArithmeticEncoder
    from idbounds.codes.bits import BitReader, BitWriter

    start = time.process_time()
    coder, writer = ArithmeticEncoder(), BitWriter()
    get_code(name).encode(values, coder=coder)
    coder.finish(writer)
    data, middle = writer.to_bytes(), time.process_time()
    get_code(name).decode(ArithmeticDecoder(BitReader(data)), d=len(values))
    return middle - start, time.process_time() - middle


def declaring(spec: RunSpec, *, code_weights: dict[str, int]) -> RunSpec:
    """The specification as it were with these codes in its menu; none are the default ones."""
    menu = spec.menu.model_copy(update={"code_weights": code_weights})
    return spec.model_copy(update={"message_format": 2, "menu": menu})


def coefficients(run: Path) -> list[NDArray[np.float64]]:
    """(d,) of each subspace trial that finished, by d and seed."""
    with TrialStore(run) as store:
        trials = [one for one in store.trials() if one.vector_sha256 is not None and one.key.method != FULL_FINE_TUNING]
        trials.sort(key=lambda one: (one.key.d, one.key.seed))
        return [store.vector(str(one.vector_sha256)).numpy().astype(np.float64) for one in trials]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def report(lengths: list[dict[str, object]], speed: list[dict[str, object]]) -> str:
    """Mean ratios of our bits to theirs over trials, with the largest, by d and kind of comparison; and the speeds."""
    kinds = sorted({(int(str(row["d"])), str(row["against"])) for row in lengths})
    lines = ["| d | our bits over | trials | bits there | bits here | mean ratio | largest | codes chosen |"]
    lines.append("|---:|:---|---:|---:|---:|---:|---:|:---|")
    for d, against in kinds:
        rows = [row for row in lengths if (row["d"], row["against"]) == (d, against)]
        theirs, ours, ratio = (np.array([float(str(r[k])) for r in rows]) for k in ("their_bits", "our_bits", "ratio"))
        codes = ", ".join(sorted({str(row["code"]) for row in rows}))
        lines.append(
            f"| {d} | {against} | {len(rows)} | {theirs.mean():.0f} | {ours.mean():.0f} | {ratio.mean():.3f} "
            f"| {ratio.max():.3f} | {codes} |"
        )
    return "\n".join([*lines, "", *speed_table(speed), "", f"*{origin()}*", ""])


def summary(lengths: list[dict[str, object]]) -> str:
    """Our bits over those of Lotfi et al.: mean over trials, by d and number of levels; in brackets the largest."""
    ds = sorted({int(str(row["d"])) for row in lengths})
    lines = ["| codebook there | levels | " + " | ".join(f"d = {d}" for d in ds) + " |", "|:---|---:|" + "---:|" * len(ds)]
    for kind in ("k-means", "bins"):
        for levels in LEVELS:
            cells = []
            for d in ds:
                against = f"Lotfi et al., {levels} levels, {kind}"
                found = [float(str(r["ratio"])) for r in lengths if (r["d"], r["against"]) == (d, against)]
                cells.append(f"{np.mean(found):.2f} ({max(found):.2f})")
            lines.append(f"| {kind} | {levels} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"*{origin()}*", ""])


def speed_table(speed: list[dict[str, object]]) -> list[str]:
    lines = ["| code | d | encoded a second | decoded a second |", "|:---|---:|---:|---:|"]
    return lines + [f"| {r['code']} | {r['d']} | {r['encoded_per_second']:,} | {r['decoded_per_second']:,} |" for r in speed]


def origin() -> str:
    machine = ", ".join(f"{key} {value}" for key, value in provenance().items())
    return f"python scripts/code_lengths.py; seed 0 for speed, those of the trials else; {machine}."


def main() -> None:
    parser = argparse.ArgumentParser(description="lengths and speeds of the codes")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/results/codes"))
    arguments = parser.parse_args()
    lengths: list[dict[str, object]] = []
    seen: list[NDArray[np.float64]] = []
    for run in arguments.runs:
        declared = RunSpec.read(run / "spec.json")
        spec = declaring(declared, code_weights=MASSES)
        for w in coefficients(run):
            # The same trial on another number of threads has other last bits; it counts once.
            if any(len(w) == len(v) and np.allclose(w, v, rtol=0, atol=1e-2 * w.std()) for v in seen):
                continue
            seen.append(w)
            lengths += compare(declared.task.name, w, spec, seed=spec.menu.seeds[0])
    speed = speeds()
    write(arguments.output / "lengths.csv", lengths)
    write(arguments.output / "speed.csv", speed)
    (arguments.output / "report.md").write_text(report(lengths, speed), encoding="utf-8")
    (arguments.output / "summary.md").write_text(summary(lengths), encoding="utf-8")


if __name__ == "__main__":
    main()
