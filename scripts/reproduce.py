"""Published numbers beside ours: rebuilds docs/results/published, and keeps runs as docs/results/NAME.

    python scripts/reproduce.py                                    # the tables, from committed files; seconds
    python scripts/reproduce.py --keep runs/certified_mnist ...    # first verify these runs and copy them to docs/results

Three tables: the archived rows of Lotfi et al. (2022) under our bounds, from their own errors, n and bits; bounds that follow
from d90 in Table 1 of Aghajanyan et al. (2020) at 2, 3 and 16 bits a coordinate; and the certificates under docs/results
beside published ones. What a run's folder holds that others cannot use, its trials and the paths of its machine, is not
copied; the figure of its frontier is drawn. A run is refused if `idbounds verify`, in a process of its own, does not find
every number as claimed.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
from rate_first import write_table

from idbounds.bounds import BOUNDS
from idbounds.config import parse_config
from idbounds.core.values import CertificateFile, RunSpec
from idbounds.reporting import percent, percent_up

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
DELTA = 0.05
OURS = ("catoni_grid", "occam_kl", "occam_binomial")
BITS_PER_COORDINATE = (2, 3, 16)
#: As printed by Lotfi et al. 2022 (arXiv:2211.13609), data-independent prior, by the task's name here: network, bound in %.
#: For SST-2 and MRPC no certified error of a fine-tuned language model is known to us.
PUBLISHED = {"MNIST": ("LeNet5", "11.6"), "FashionMNIST": ("ResNet20", "32.8")}
#: Not copied: trials and candidates, and what trackers wrote.
_LEFT = ("trials.sqlite*", "vectors", "tensorboard")


def archived_rows() -> pd.DataFrame:
    """Bounds from the errors, n and bits of Lotfi et al., which the golden test holds to their printed last digit."""
    rows = []
    for row in pd.read_csv(ROOT / "tests" / "golden" / "bounds_lotfi.csv").itertuples():
        counts = {"errors": row.errors, "n": row.n, "complexity_nats": row.code_bits * math.log(2), "delta": DELTA}
        values = {BOUNDS[name].title: float(BOUNDS[name].from_counts(**counts)) for name in OURS}
        rows.append(
            {
                "data": row.dataset,
                "network": row.model,
                "n": row.n,
                "errors": row.errors,
                "bits": row.code_bits,
                "printed (%)": f"{row.printed_bound_pct:.2f}",
                **{f"{title} (%)": percent_up(value, digits=2) for title, value in values.items()},
            }
        )
    return pd.DataFrame(rows)


def bounds_of_published_d90() -> pd.DataFrame:
    """What d90 alone would give: the gap of Theorem 1, and the bound of a network without a training error."""
    rows = []
    for row in pd.read_csv(ROOT / "scripts" / "published_d90.csv").itertuples():
        found: dict[str, object] = {"data": row.dataset, "model": row.model, "method": row.method, "d90": row.d90, "n": row.n}
        for bits in BITS_PER_COORDINATE:
            gap = BOUNDS["aghajanyan"].value(empirical_risk=0.0, n=row.n, d=row.d90, bits_per_coordinate=bits, delta=DELTA)
            nats = row.d90 * bits * math.log(2)
            least = BOUNDS["occam_binomial"].from_counts(errors=0, n=row.n, complexity_nats=nats, delta=DELTA)
            found[f"gap at {bits} bits (%)"] = percent_up(float(gap))
            found[f"risk at {bits} bits, no error (%)"] = percent_up(float(least))
        rows.append(found)
    return pd.DataFrame(rows)


def certified() -> pd.DataFrame:
    """Every certificate under docs/results, once: errors, bits, both bounds, the majority, and what was published."""
    rows, seen = [], set()
    for path in sorted(RESULTS.glob("*/certificate.json")):
        spec, one = RunSpec.read(path.parent / "spec.json"), CertificateFile.read(path)
        if one.message_sha256 in seen:
            continue
        seen.add(one.message_sha256)
        network, published = PUBLISHED.get(spec.task.name, ("–", "–"))
        rows.append(
            {
                "folder": path.parent.name,
                "data": spec.task.name,
                "network": spec.model.name,
                "n": one.training.evidence.n,
                "training error (%)": percent(one.training.evidence.empirical_risk),
                "bits": math.ceil(one.training.complexity.num_bits),
                "true risk at most (%)": percent_up(one.training.value),
                "delta": f"{one.training.delta:g}",
                "test error (%)": percent(one.held_out.evidence.empirical_risk),
                "held-out bound (%)": percent_up(one.held_out.value),
                "majority error (%)": percent(one.majority_error),
                "published bound (%)": published,
                "of": network,
            }
        )
    return pd.DataFrame(rows)


def keep(run: Path) -> None:
    """Verify a run in a process of its own, copy what others can use to docs/results, and draw its frontier."""
    idbounds = [sys.executable, "-m", "idbounds"]
    subprocess.run([*idbounds, "verify", str(run)], check=True)
    target = RESULTS / run.resolve().name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(run, target, ignore=shutil.ignore_patterns(*_LEFT))
    if parse_config(json.loads((target / "config.json").read_bytes()), where=str(target)).data.builtin is None:
        (target / "config.json").unlink()  # it names places on this machine; scripts/*.toml stand in for it
    if (target / "frontier.json").exists():
        figure = ["plot", str(target), "--kind", "frontier", "--output", str(target / "frontier.svg")]
        subprocess.run([*idbounds, *figure], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, nargs="+", default=[], help="folders of runs")
    for run in parser.parse_args().keep:
        keep(run)
    tables = {"lotfi2022": archived_rows(), "aghajanyan2020": bounds_of_published_d90(), "certified": certified()}
    for name, table in tables.items():
        write_table(table, RESULTS / "published" / name, as_text=list(table.columns))


if __name__ == "__main__":
    main()
