"""What the scripts of small studies share: rates are tried with the first seed, and the other seeds get the best of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# Before torch is imported: see idbounds/cli.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import pandas as pd
from rich.console import Console

from idbounds.console import ProgressBar
from idbounds.core.records import write_atomically
from idbounds.core.values import Trial
from idbounds.estimation import Point, choose_trials
from idbounds.measurement.executors import InProcess
from idbounds.measurement.keys import Keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.preparation import Run
from idbounds.provenance import provenance_line


def trials_of(run: Run, *, dims: Sequence[int]) -> list[Trial]:
    """At each d (0 is full fine-tuning) every rate with the first seed, and the best on validation with the others.

    What the run's store holds is not trained again.
    """
    keys, training, (first, *others) = Keys(run.spec), run.spec.training, run.spec.menu.seeds
    trials: list[Trial] = []
    with TrialStore(run.store) as store, InProcess(run.runner) as executor:
        sweep = Sweep(run.make_subspace, store=store, reporter=ProgressBar(Console()), executor=executor)
        for d in dims:
            rates = training.learning_rates if d else training.full_learning_rates
            tried = sweep.complete(keys.keys(d=d, seeds=[first], learning_rates=rates))
            best = choose_trials(tried)[0].learning_rate
            trials += tried + sweep.complete(keys.keys(d=d, seeds=others, learning_rates=[best]))
    return trials


def accuracy_row(point: Point, *, rates: Sequence[float]) -> dict[str, object]:
    """A point in percent, and whether a better rate may lie beyond those that were tried."""
    percents = [100 * score.accuracy for score in point.scores]
    return {
        "d": point.d or "full",
        "learning rate": f"{point.learning_rate:g}",
        "rate at the edge of its list": len(rates) > 1 and point.learning_rate in (min(rates), max(rates)),
        "seeds": len(percents),
        "accuracy (%)": sum(percents) / len(percents),
        "lowest (%)": min(percents),
        "highest (%)": max(percents),
    }


def write_table(table: pd.DataFrame, path: Path, *, as_text: Sequence[str] = ()) -> None:
    """`path`.csv and `path`.md, each with the provenance in front; columns `as_text` are shown as they are."""
    about = _provenance()
    write_atomically(path.with_suffix(".csv"), f"# {about}\n{table.to_csv(index=False, float_format='%.5g')}".encode())
    shown = table.astype(dict.fromkeys(as_text, str))
    fixed = [table.columns.get_loc(name) for name in as_text]
    text = shown.to_markdown(index=False, floatfmt=".1f", intfmt=",", disable_numparse=fixed)
    write_atomically(path.with_suffix(".md"), f"<!-- {about} -->\n{text}\n".encode())
    print(text, flush=True)


@cache
def _provenance() -> str:
    """Once a process: a table that was just written must not make the tree of the next one dirty."""
    return provenance_line()
