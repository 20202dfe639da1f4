"""The chart of docs/theory/order.md: every arrow is true of the code, and every proven pair has its path of arrows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import BOUNDS

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "scripts"), str(ROOT / "tests" / "bounds")]
from make_order_chart import ORDER, SAME  # noqa: E402 - neither folder is a package
from test_order import test_order as order_of_pairs  # noqa: E402

CASE = st.tuples(st.integers(1, 10**7), st.floats(0, 1), st.floats(0, 1e5), st.floats(1e-12, 0.5))


def at(name: str, case: tuple[int, float, float, float]) -> float:
    n, share, nats, delta = case
    return float(BOUNDS[name].from_counts(errors=min(int(share * (n + 1)), n), n=n, complexity_nats=nats, delta=delta))


@given(case=CASE)
@pytest.mark.parametrize(("smaller", "larger"), ORDER)
def test_every_arrow_is_true(smaller: str, larger: str, case: tuple[int, float, float, float]) -> None:
    assert at(smaller, case) <= at(larger, case) * (1 + 1e-12)


@given(case=CASE)
@pytest.mark.parametrize(("name", "other"), [(name, other) for name, (other, _) in SAME.items()])
def test_what_is_called_equal_is(name: str, other: str, case: tuple[int, float, float, float]) -> None:
    assert at(name, case) == pytest.approx(at(other, case), rel=1e-12)


def above(name: str) -> set[str]:
    """All that a path of arrows leads to."""
    found = {larger for smaller, larger in ORDER if smaller == name}
    return found.union(*map(above, found))


def test_every_pair_of_the_property_tests_has_a_path() -> None:
    (parameters,) = order_of_pairs.pytestmark
    representative = {other: name for name, (other, _) in SAME.items()}
    drawn = [tuple(representative.get(name, name) for name in pair) for pair in parameters.args[1]]
    assert len(drawn) >= 12
    assert [pair for pair in drawn if pair[1] not in above(pair[0])] == []


def test_no_arrow_follows_from_others() -> None:
    between = [pair for pair in ORDER if any(pair[1] in above(other) for smaller, other in ORDER if smaller == pair[0])]
    assert between == []


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_order_chart.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
