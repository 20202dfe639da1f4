"""Choices that are paid for, inverse questions, and the table that the command line prints."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import BOUNDS, bound_by_name, inverse
from idbounds.bounds.compose import best_of, best_run, certified_table, charged, union_item
from idbounds.bounds.table import all_bounds_for, code_length
from idbounds.core.errors import ConfigError, UnsupportedEvidenceError
from idbounds.core.values import Complexity, Evidence, LedgerItem

BINOMIAL, KL, HOEFFDING = BOUNDS["occam_binomial"], BOUNDS["occam_kl"], BOUNDS["occam_hoeffding"]
ANSWERING = ["occam_binomial", "occam_kl", "occam_hoeffding", "seeger", "catoni_grid", "occam_empirical_bernstein"]


def evidence(errors: int = 100, n: int = 2000, split: str = "train") -> Evidence:
    return Evidence.checked(errors=errors, n=n, split=split, examples_sha256="0" * 64)


def code(bits: float = 300.0) -> Complexity:
    return Complexity(ledger=(LedgerItem(name="coefficients", bits=bits, reason="test"),))


def value(name: str, errors: int, n: int, bits: float, delta: float = 0.05) -> float:
    nats = math.nextafter(bits * math.log(2), math.inf) if bits else 0.0
    return float(BOUNDS[name].from_counts(errors=errors, n=n, complexity_nats=nats, delta=delta))


# composition


def test_best_of_charges_log2_of_the_number_of_inequalities() -> None:
    made = best_of([BINOMIAL, KL, HOEFFDING, BOUNDS["seeger"]], evidence(), code(), delta=0.05)
    assert made.family == "occam_binomial"
    assert made.complexity.ledger[-1].bits == 2.0
    assert made.value == BINOMIAL.certify(evidence(), charged(code(), made.complexity.ledger[-1]), delta=0.05).value
    assert made.value > BINOMIAL.certify(evidence(), code(), delta=0.05).value


def test_best_of_one_is_free() -> None:
    assert best_of([KL], evidence(), code(), delta=0.05) == KL.certify(evidence(), code(), delta=0.05)


def test_a_union_over_m_is_delta_over_m() -> None:
    item = union_item(5, name="seed", reason="best of 5")
    as_ledger = KL.certify(evidence(), charged(code(), item), delta=0.05).value
    as_delta = KL.certify(evidence(), code(), delta=0.01).value
    assert as_ledger == pytest.approx(as_delta, abs=1e-12)


def test_best_run_charges_the_whole_menu() -> None:
    runs = [(evidence(100), code(300)), (evidence(90), code(500))]
    made = best_run(BINOMIAL, runs, delta=0.05, menu_size=216, what="setting")
    assert made.complexity.ledger[-1].bits == pytest.approx(math.log2(216), rel=1e-15)
    with pytest.raises(ConfigError, match="untried settings count too"):
        best_run(BINOMIAL, runs, delta=0.05, menu_size=1, what="setting")


def test_a_table_says_what_delta_covers() -> None:
    rows = [(BINOMIAL, evidence(), code()), (KL, evidence(), code())]
    by_row, by_table = (certified_table(rows, delta=0.05, scope=scope) for scope in ("row", "table"))
    assert by_row.rows[0].delta == 0.05
    assert by_table.rows[0].delta == pytest.approx(0.025)
    assert by_table.rows[0].delta * 2 <= 0.05
    assert "each row" in by_row.statement
    assert "at once" in by_table.statement
    assert by_table.rows[1].value > by_row.rows[1].value


@pytest.mark.parametrize(
    "call",
    [
        lambda: best_of([], evidence(), code(), delta=0.05),
        lambda: best_of([KL, KL], evidence(), code(), delta=0.05),
        lambda: best_of([KL, BOUNDS["test_set"]], evidence(), code(), delta=0.05),
        lambda: best_run(KL, [], delta=0.05, menu_size=3, what="d"),
        lambda: union_item(0, name="d", reason=""),
        lambda: union_item(2.5, name="d", reason=""),
        lambda: certified_table([], delta=0.05, scope="row"),
        lambda: certified_table([(KL, evidence(), code())], delta=0.05, scope="page"),
        lambda: certified_table([(KL, evidence(), code())], delta=5, scope="row"),
    ],
)
def test_bad_compositions_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        call()


# inverse questions


@given(name=st.sampled_from(ANSWERING), target=st.floats(0.06, 0.99), errors=st.integers(0, 100))
def test_largest_num_bits_round_trip(name: str, target: float, errors: int) -> None:
    bits = inverse.largest_num_bits(BOUNDS[name], target=target, errors=errors, n=2000, delta=0.05)
    if bits is None:
        assert value(name, errors, 2000, 0.0) > target
    else:
        assert value(name, errors, 2000, bits) <= target < value(name, errors, 2000, bits * (1 + 1e-6) + 1e-6)


@pytest.mark.parametrize("name", ANSWERING)
def test_largest_d_and_bits_per_coordinate(name: str) -> None:
    d = inverse.largest_d(BOUNDS[name], target=0.35, errors=100, n=2000, bits_per_coordinate=3, delta=0.05)
    assert d is not None
    assert value(name, 100, 2000, 3 * d) <= 0.35 < value(name, 100, 2000, 3 * (d + 1))
    bits = inverse.bits_per_coordinate(BOUNDS[name], target=0.35, errors=100, n=2000, d=d, delta=0.05)
    assert bits is not None
    assert 3 <= bits < 3 * (d + 1) / d


@pytest.mark.parametrize("name", ANSWERING)
def test_largest_errors(name: str) -> None:
    errors = inverse.largest_errors(BOUNDS[name], target=0.35, n=2000, num_bits=100, delta=0.05)
    assert errors is not None
    assert value(name, errors, 2000, 100) <= 0.35 < value(name, errors + 1, 2000, 100)
    assert inverse.largest_errors(BOUNDS[name], target=0.001, n=2000, num_bits=100, delta=0.05) is None


@pytest.mark.parametrize("name", ANSWERING)
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_smallest_n(name: str, rate: float) -> None:
    n = inverse.smallest_n(BOUNDS[name], target=0.3, empirical_risk=rate, num_bits=100, delta=0.05)
    assert n is not None
    for more in (n, n + 1, n + 37, 3 * n):
        assert value(name, math.ceil(rate * more - 1e-9), more, 100) <= 0.3
    assert value(name, math.ceil(rate * (n - 1) - 1e-9), n - 1, 100) > 0.3


def test_smallest_n_is_none_when_the_rate_is_too_large() -> None:
    assert inverse.smallest_n(KL, target=0.3, empirical_risk=0.3, num_bits=10, delta=0.05) is None


def test_break_even_n_beats_the_majority_class() -> None:
    n = inverse.break_even_n(BINOMIAL, majority_error=0.316, empirical_risk=0.1, num_bits=621, delta=0.05)
    assert n is not None
    assert value("occam_binomial", math.ceil(0.1 * n - 1e-9), n, 621) < 0.316


@pytest.mark.parametrize(
    "call",
    [
        lambda: inverse.largest_num_bits(KL, target=30, errors=1, n=10, delta=0.05),
        lambda: inverse.largest_num_bits(KL, target=0.3, errors=11, n=10, delta=0.05),
        lambda: inverse.largest_d(KL, target=0.3, errors=1, n=10, bits_per_coordinate=0, delta=0.05),
        lambda: inverse.bits_per_coordinate(KL, target=0.3, errors=1, n=10, d=0, delta=0.05),
        lambda: inverse.largest_errors(KL, target=0.3, n=0, num_bits=1, delta=0.05),
        lambda: inverse.smallest_n(KL, target=0.3, empirical_risk=10, num_bits=1, delta=0.05),
        lambda: inverse.largest_num_bits(BOUNDS["documents"], target=0.3, errors=1, n=10, delta=0.05),
    ],
)
def test_bad_questions_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        call()


# the table


def test_rows_are_sorted_and_complete() -> None:
    table = all_bounds_for(errors=367, n=3668, num_bits=621)
    assert [row.value for row in table.rows] == sorted(row.value for row in table.rows)
    assert {row.family for row in table.rows} | {name for name, _ in table.not_applicable} == set(BOUNDS)
    assert all(reason for _, reason in table.not_applicable)
    assert all(row.assumptions and row.source and row.latex for row in table.rows)


def test_d_times_bits_is_the_same_as_bits() -> None:
    by_d, by_bits = all_bounds_for(errors=10, n=500, d=20, bits_per_coordinate=3), all_bounds_for(errors=10, n=500, num_bits=60)
    assert by_d == by_bits


def test_an_interval_of_d_gives_an_interval() -> None:
    table = all_bounds_for(errors=367, n=3668, d_interval=(150, 207), bits_per_coordinate=3)
    assert table.num_bits == 621
    assert all(row.lower_value is not None and row.lower_value <= row.value for row in table.rows)


def test_a_held_out_set_gets_the_test_set_bound_only() -> None:
    table = all_bounds_for(errors=367, n=3668, split="test")
    assert [row.family for row in table.rows] == ["test_set"]
    with_bits = all_bounds_for(errors=367, n=3668, split="test", num_bits=10)
    assert with_bits.rows == ()


def test_one_example_is_not_enough_for_a_variance() -> None:
    reasons = dict(all_bounds_for(errors=0, n=1, num_bits=0).not_applicable)
    assert "at least 2" in reasons["occam_empirical_bernstein"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"num_bits": 10, "d": 3, "bits_per_coordinate": 2},
        {"d": 3},
        {"bits_per_coordinate": 3},
        {"num_bits": -1},
        {"num_bits": math.nan},
        {"num_bits": 10, "delta": 5},
        {"num_bits": 10, "errors": 501},
        {"num_bits": 10, "errors": 2.5},
        {"num_bits": 10, "n": 0},
        {"d_interval": (3, 2), "bits_per_coordinate": 3},
    ],
)
def test_bad_questions_to_the_table(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        all_bounds_for(**{"errors": 10, "n": 500, **wrong})


def test_code_length() -> None:
    assert code_length(num_bits=5) == 5.0
    assert code_length(d=7, bits_per_coordinate=2) == 14.0


def test_bound_by_name() -> None:
    assert bound_by_name("occam_kl") is KL
    with pytest.raises(ConfigError, match="choose one of occam_binomial"):
        bound_by_name("occam")


def test_test_set_wants_an_empty_ledger() -> None:
    with pytest.raises(UnsupportedEvidenceError, match="ledger charges coefficients"):
        BOUNDS["test_set"].certify(evidence(split="test"), code(), delta=0.05)
