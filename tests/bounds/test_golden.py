"""Numbers printed in papers, each with half a unit of its last digit as tolerance."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from scipy import stats

from idbounds.bounds import BOUNDS
from idbounds.bounds.catoni import CatoniGrid
from idbounds.bounds.table import all_bounds_for

ROWS = list(csv.DictReader((Path(__file__).parents[1] / "golden" / "bounds_lotfi.csv").open()))


@pytest.mark.parametrize("row", ROWS, ids=[row["dataset"] for row in ROWS])
def test_archived_rows_of_lotfi_et_al(row: dict[str, str]) -> None:
    """The grid-Catoni bound (α = 1e-4, δ = 0.05, divergence = code bits × ln 2) gives the printed bound to its last digit.

    The row prints the training error to 0.01 %, and the error count is a whole number. `errors` in the golden file is the
    count that rounds to the printed training error and gives the printed bound.
    """
    n, errors, bits = int(row["n"]), int(row["errors"]), int(row["code_bits"])
    assert f"{100 * errors / n:.2f}" == row["train_error_pct"]
    value = CatoniGrid().from_counts(errors=errors, n=n, complexity_nats=bits * math.log(2), delta=0.05)
    assert f"{100 * float(value):.2f}" == row["printed_bound_pct"]


@pytest.mark.parametrize("row", ROWS, ids=[row["dataset"] for row in ROWS])
def test_occam_binomial_on_the_same_bits_is_tighter(row: dict[str, str]) -> None:
    n, errors, bits = int(row["n"]), int(row["errors"]), int(row["code_bits"])
    value = BOUNDS["occam_binomial"].from_counts(errors=errors, n=n, complexity_nats=bits * math.log(2), delta=0.05)
    assert 100 * float(value) == pytest.approx(float(row["occam_binomial_pct"]), abs=5e-5)
    assert 100 * float(value) < float(row["printed_bound_pct"])


@pytest.mark.parametrize(
    ("d", "n", "bits", "printed"),
    [
        (207, 3668, 16, 0.560),
        (207, 3668, 3, 0.243),
        (774, 363_846, 16, 0.109),
        (774, 363_846, 3, 0.047),
        (1608, 3668, 3, 0.675),
    ],
)
def test_gaps_of_aghajanyans_theorem(d: int, n: int, bits: int, printed: float) -> None:
    """RoBERTa-large on MRPC and QQP, BERT-base on MRPC: Theorem 1 with explicit constants."""
    gap = BOUNDS["aghajanyan"].value(empirical_risk=0.0, n=n, d=d, bits_per_coordinate=bits, delta=0.05)
    assert float(gap) == pytest.approx(printed, abs=5e-4)


def test_bert_base_on_mrpc_at_16_bits_is_vacuous() -> None:
    assert float(BOUNDS["aghajanyan"].value(empirical_risk=0.0, n=3668, d=1608, bits_per_coordinate=16, delta=0.05)) == 1.0


@pytest.mark.parametrize(("errors", "n", "delta"), [(5, 100, 0.05), (0, 20, 0.025), (40, 1000, 0.01), (999, 1000, 0.1)])
def test_test_set_is_clopper_pearson(errors: int, n: int, delta: float) -> None:
    exact = stats.beta.ppf(1 - delta, errors + 1, n - errors)
    assert float(BOUNDS["test_set"].value(errors=errors, n=n, delta=delta)) == pytest.approx(exact, abs=1e-12)


def test_the_table_of_roberta_large_on_mrpc() -> None:
    table = all_bounds_for(errors=367, n=3668, d=207, bits_per_coordinate=3, delta=0.05)
    values = {row.family: round(row.value, 4) for row in table.rows}
    assert next(iter(values)) == "occam_binomial"
    assert values["occam_binomial"] == 0.3010
    assert values["occam_kl"] == 0.3020
    assert values["occam_hoeffding"] == values["aghajanyan"] == 0.3431
    assert {name for name, _ in table.not_applicable} >= {"test_set", "arora", "documents", "parameter_counting"}
