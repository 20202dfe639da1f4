"""Whatever certificate, specification and message a stranger sends: refused, or found to differ; never a crash or a lie."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from forged_files import forged_trio, honest, outcome_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("d", [3, 10, 40])
@pytest.mark.parametrize("code", [None, "adaptive", "gaussian", "laplace"])
def test_an_honest_trio_agrees(tmp_path, d, code):
    assert outcome_of(honest(d, code), tmp_path) == "agrees"


@given(seed=st.integers(0, 2**32))
def test_any_seed_of_forgeries(tmp_path_factory, seed):
    folder, random = tmp_path_factory.mktemp("forged"), Random(seed)
    assert {outcome_of(forged_trio(random), folder) for _ in range(5)} <= {"refused", "differs", "agrees"}


def test_two_thousand_forgeries(tmp_path):
    _forge(2_000, tmp_path)


@pytest.mark.slow
def test_two_hundred_thousand_forgeries(tmp_path):
    _forge(200_000, tmp_path)


def _forge(number, folder):
    random = Random(0)
    outcomes = Counter(outcome_of(forged_trio(random), folder) for _ in range(number))
    assert set(outcomes) <= {"refused", "differs", "agrees"}, outcomes
    # All three happen often: refused at the door, numbers that differ, and changes of what nothing is claimed of, or of the
    # whole trio to another true one.
    assert outcomes["refused"] > number / 3
    assert outcomes["differs"] > number / 10
    assert 0 < outcomes["agrees"] < number / 4
