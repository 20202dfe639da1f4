"""The traps of docs/theory/traps.md that no other test covers; and that each test the page names exists."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from pydantic import ValidationError

from idbounds.bounds import BOUNDS
from idbounds.bounds.catoni import CatoniFixed, CatoniGrid
from idbounds.bounds.compression import universal_code_nats
from idbounds.core.values import LedgerItem

ROOT = Path(__file__).parents[2]


def test_a_million_bits_do_not_underflow() -> None:
    value = float(BOUNDS["occam_binomial"].value(errors=10**6, n=10**8, complexity_nats=1e6 * math.log(2), delta=0.05))
    assert 0.01 < value < 0.05
    assert float(BOUNDS["occam_binomial"].value(errors=3, n=100, complexity_nats=7e7, delta=1e-300)) == 1.0


def test_catoni_at_a_tiny_rate_uses_expm1() -> None:
    """At λ/n = 1e-8 both 1 - exp are 0 in float32 and lose half their digits in float64."""
    value = float(CatoniFixed().value(empirical_risk=0.2, n=10**9, complexity_nats=0.5, delta=0.5, lam=10.0))
    with mpmath.workdps(50):
        rate, nats = mpmath.mpf(10) / 10**9, mpmath.mpf(0.5) + mpmath.log(2)
        exact = (1 - mpmath.exp(-rate * mpmath.mpf(0.2) - nats / 10**9)) / (1 - mpmath.exp(-rate))
    assert exact <= value <= exact + mpmath.mpf("1e-12")


@pytest.mark.parametrize(
    ("risk", "n", "nats"), [(0.5, 500, 60.0), (0.0, 50, 5.0), (0.3, 10**9, 1e3), (0.05, 10**4, 2.0), (0.6, 2000, 250.0)]
)
def test_catoni_is_minimised_over_all_of_lambda(risk: float, n: int, nats: float) -> None:
    """Against 200,000 values of λ from 1 to 3000 n: a bracket mistaken for bounds misses most of them."""
    log_lam = np.linspace(1e-9, math.log(n) + 8, 200_000)
    lam, alpha = np.exp(log_lam), 1e-4
    price = nats - math.log(0.05) + 2 * np.log(2 + log_lam / math.log1p(alpha))
    every = np.expm1(-lam / n * (risk + (1 + alpha) / lam * price)) / np.expm1(-lam / n)
    found = float(CatoniGrid().value(empirical_risk=risk, n=n, complexity_nats=nats, delta=0.05))
    assert found == pytest.approx(min(float(every.min()), 1.0), abs=1e-9)


def test_tuning_lambda_costs_something() -> None:
    """The smallest fixed-λ value over many λ is not a bound; the grid's is larger by its union."""
    arguments = {"empirical_risk": 0.1, "n": 5000, "complexity_nats": 100.0, "delta": 0.05}
    tuned = min(float(CatoniFixed().value(**arguments, lam=float(lam))) for lam in np.geomspace(10, 1e5, 400))
    assert float(CatoniGrid().value(**arguments)) > tuned
    assert tuned == pytest.approx(float(BOUNDS["occam_kl"].value(**arguments)), abs=1e-4)


def test_the_universal_prior_sums_to_one() -> None:
    """Over all strings: Σ over ℓ of 2^ℓ strings times their weight; without the normaliser it is π²/6."""
    lengths = np.arange(1, 10**6, dtype=np.float64)
    total = math.fsum(np.exp(lengths * math.log(2) - universal_code_nats(lengths)))
    assert total <= 1.0
    assert total > 0.999
    owed = float(universal_code_nats(1000.0)) / math.log(2) - (1000 + 2 * math.log2(1000))
    assert owed == pytest.approx(0.718, abs=1e-3)


def test_a_ledger_cannot_be_negative() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        LedgerItem(name="misc", bits=-2.0, reason="posterior scales")


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::([\w.]+)`", (ROOT / "docs" / "theory" / "traps.md").read_text())
    assert len(named) > 20
    for file, test in named:
        text = (ROOT / file).read_text()
        for part in test.split("."):
            assert re.search(rf"(def|class) {part}\b", text), f"{file} has no {part}"


def test_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_bound_pages.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
