"""`idbounds bound` and `idbounds solve`, as a user types them."""

import json
import re

import pandas as pd
import pytest
from typer.testing import CliRunner

from idbounds.bounds import BOUNDS
from idbounds.cli import app
from idbounds.core.errors import ConfigError, DataError

ROBERTA_MRPC = ["--n", "3668", "--errors", "367", "--bits-per-coordinate", "3"]


def invoke(*arguments):
    outcome = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


def rows(*arguments):
    return json.loads(invoke("bound", *arguments, "--format", "json").output)


def test_json_is_a_list_of_families_in_full_precision():
    found = rows(*ROBERTA_MRPC, "--d", "207")
    assert [row["value"] for row in found] == sorted(row["value"] for row in found)
    best = found[0]
    exact = BOUNDS["occam_binomial"].from_counts(errors=367, n=3668, complexity_nats=621 * 0.6931471805599454, delta=0.05)
    assert best["family"] == "occam_binomial"
    assert best["value"] == pytest.approx(float(exact), rel=1e-13)
    assert {"family", "value", "assumptions", "source"} <= set(best)
    assert best["assumptions"]


def test_text_names_each_bound_that_does_not_apply_with_a_reason():
    output = invoke("bound", *ROBERTA_MRPC, "--d", "207").output
    assert "0.3011" in output
    assert re.search(r"not test_set: .+held-out", output)
    assert re.search(r"not vc_dimension: .+number of weights", output)


def test_an_interval_of_d_gives_an_interval_of_bounds():
    (low,) = [row for row in rows(*ROBERTA_MRPC, "--d", "150") if row["family"] == "occam_kl"]
    (high,) = [row for row in rows(*ROBERTA_MRPC, "--d", "300") if row["family"] == "occam_kl"]
    (both,) = [row for row in rows(*ROBERTA_MRPC, "--d", "150:300") if row["family"] == "occam_kl"]
    assert (both["lower_value"], both["value"]) == (low["value"], high["value"])


def test_bits_and_d_times_bits_agree():
    assert [row["value"] for row in rows("--n", "3668", "--errors", "367", "--bits", "621")] == [
        row["value"] for row in rows(*ROBERTA_MRPC, "--d", "207")
    ]


def test_csv_gives_every_row(tmp_path):
    path = tmp_path / "measured.csv"
    pd.DataFrame(
        {"name": ["a", "b"], "errors": [367, 10], "n": [3668, 900], "d": [207, 50], "bits_per_coordinate": [3, 2]}
    ).to_csv(path, index=False)
    found = rows("--csv", str(path))
    assert {row["case"] for row in found} == {"a", "b"}
    alone = {row["family"]: row["value"] for row in rows(*ROBERTA_MRPC, "--d", "207")}
    assert {row["family"]: row["value"] for row in found if row["case"] == "a"} == alone


def test_latex_is_a_table_rounded_up():
    output = invoke("bound", *ROBERTA_MRPC, "--d", "207", "--format", "latex").output
    assert r"\toprule" in output
    assert "& 0.3011 &" in output


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["--n", "100"], ConfigError, "--errors and --n"),
        (["--n", "100", "--errors", "101", "--bits", "3"], ConfigError, "101"),
        (["--n", "100", "--errors", "10", "--bits", "3", "--delta", "5"], ValueError, "5"),
        (["--n", "100", "--errors", "10", "--bits", "-3"], ValueError, "-3"),
        (["--n", "100", "--errors", "10", "--bits", "3", "--d", "4"], ConfigError, "either num_bits"),
        (["--n", "100", "--errors", "10", "--d", "a:b"], ConfigError, "a:b"),
        (["--csv", "missing.csv"], DataError, "missing.csv"),
        (["--message", "missing.idb"], DataError, "missing.idb"),
    ],
)
def test_bad_input_names_the_value(arguments, error, says):
    with pytest.raises(error, match=re.escape(says)):
        invoke("bound", *arguments)


def test_a_fractional_error_count_is_refused():
    assert invoke("bound", "--n", "100", "--errors", "10.5", "--bits", "3").exit_code == 2


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("d", ["--errors", "367", "--n", "3668", "--bits-per-coordinate", "3", "--target", "0.3"]),
        ("bits", ["--errors", "367", "--n", "3668", "--target", "0.3"]),
        ("bits-per-coordinate", ["--errors", "367", "--n", "3668", "--d", "207", "--target", "0.3"]),
        ("errors", ["--n", "3668", "--bits", "621", "--target", "0.3"]),
        ("n", ["--risk", "0.1", "--bits", "621", "--target", "0.3"]),
        ("break-even-n", ["--risk", "0.1", "--bits", "621", "--target", "0.316"]),
    ],
)
def test_every_inverse_question_has_an_answer_that_meets_the_target(question, arguments):
    answer = float(invoke("solve", question, *arguments).output)
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    n = answer if question.endswith("n") else float(given["--n"])
    errors = answer if question == "errors" else float(given.get("--errors", -(-float(given.get("--risk", 0)) * n // 1)))
    bits = {
        "d": 3 * answer,
        "bits": answer,
        "bits-per-coordinate": 207 * answer,
    }.get(question) or float(given["--bits"])
    value = BOUNDS["occam_binomial"].from_counts(errors=errors, n=n, complexity_nats=bits * 0.6931471805599454, delta=0.05)
    assert float(value) <= float(given["--target"]) + 1e-12


def test_a_missing_quantity_is_named():
    with pytest.raises(ConfigError, match="--errors, --n"):
        invoke("solve", "bits", "--target", "0.3")


def test_out_of_reach_is_said():
    assert "out of reach" in invoke("solve", "n", "--risk", "0.4", "--bits", "10", "--target", "0.3").output
