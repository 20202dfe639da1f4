"""What each kind of table says and leaves out: what is ranked, marked, said once, and refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from example_runs import LARGE, POINTS, SMALL, compared, csv_of, records

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.frontier import Frontier
from idbounds.core.values import RiskCertificate, UncompressedCertificate
from idbounds.reporting.formats import to_markdown
from idbounds.reporting.html import to_html
from idbounds.reporting.kinds import bounds_table, compact, d90_table, frontier_table, runs_ledger_table
from idbounds.reporting.latex import to_latex

RATIO = "rule: paper: ratio [90%]"
RUNS = (records("one"), records("two", bound=1.0), records("three", bound=LARGE, n=2000, delta=0.01))


def column(table, head):
    return [row[table.flat_heads.index(head)] for row in table.rows]


def test_the_smallest_is_bold_only_among_runs_that_share_examples_and_delta():
    def bold(*runs):
        return [cell.best for cell in column(bounds_table(runs), "training set: bound (%)")]

    small, large = records("a", bound=SMALL), records("b", bound=LARGE)
    assert bold(small) == [False]
    assert bold(large, small) == [False, True]
    assert bold(large, small, records("c", bound=SMALL)) == [False, True, True]
    assert bold(large, records("c", n=2000)) == [False, False]
    assert bold(large, records("c", delta=0.01)) == [False, False]
    assert bold(large, records("c", task="another")) == [False, False]
    assert bold(records("a", bound=1.0), records("b", bound=1.0)) == [False, False], "nothing vacuous is best"
    caption = bounds_table((small, large)).caption
    assert "must pay log₂ m bits" in caption
    assert "Bold" not in bounds_table((small,)).caption


def test_vacuous_bounds_and_those_no_better_than_guessing_are_marked():
    table = bounds_table((records("a", bound=1.0), records("b", bound=0.5), records("c", bound=0.4999)))
    assert [cell.mark for cell in column(table, "training set: bound (%)")] == ["‡", "†", ""]
    assert [sign for sign, _ in table.marks] == ["‡", "†"]
    assert bounds_table((records(),)).marks == ()
    assert "100.0 ‡" in to_markdown(table)
    assert r"{100.0" not in to_latex(table)
    assert r"100.0{\textsuperscript{\(\ddagger\)}}" in to_latex(table)
    assert "<sup>†</sup>" in to_html(table)


def test_what_all_rows_share_is_said_once():
    table = bounds_table((records("a"), records("b")))
    narrow = compact(table)
    assert "training set: errors, n = 1500" in narrow.flat_heads
    assert "held-out set: error (%), n = 400" in narrow.flat_heads
    assert not {"model", "parametrization", "δ"} & set(narrow.heads)
    assert "All rows: model tiny, parametrization full, projection fastfood." in narrow.caption
    assert sum(span for _, span in narrow.groups) == len(narrow.heads)
    apart = compact(bounds_table((records("a"), records("b", n=2000, delta=0.01))))
    assert {"training set: n", "δ"} <= set(apart.flat_heads)
    assert "held-out set: n" not in apart.flat_heads
    assert "model" in compact(bounds_table((records("a"),))).heads, "one row keeps its names"
    assert set(table.heads) >= {"model", "n", "δ"}, "the csv has every column"


def test_rows_that_agree_in_all_names_are_told_apart_by_their_folders():
    assert [row[0].text for row in bounds_table((records("x/a"), records("x/b"))).rows] == [
        "tri_via & 100% #1 (a)",
        "tri_via & 100% #1 (b)",
    ]
    assert [row[0].text for row in d90_table((records("x/a"), records("y/a"))).rows][1] == "tri_via & 100% #1 (y/a)"
    assert bounds_table((records("a"), records("b", task="another"))).rows[0][0].text == "tri_via & 100% #1"


def test_the_bound_before_compression_has_its_column_where_a_run_has_one():
    one = records("a")
    bound = RiskCertificate(**{**one.certificate_file.training.model_dump(), "value": 0.3141, "evidence": {}})
    uncompressed = UncompressedCertificate(
        spec_sha256=one.spec.sha256,
        message_sha256="d" * 64,
        vector_sha256="e" * 64,
        unlabelled="test inputs",
        unlabelled_sha256="f" * 64,
        duplicates_removed=0,
        certificate=bound.model_copy(update={"source": "made up, after mcallester1999pac"}),
        delta_covers="",
    )
    run = replace(one, uncompressed=uncompressed)
    cells = column(bounds_table((run, records("b"))), "training set: before compression (%)")
    assert [cell.text for cell in cells] == ["31.5", "–"]
    assert str(cells[0].sources[0]) == f"a/uncompressed.json {uncompressed.sha256[:12]} certificate.value"
    assert "mcallester1999pac" in run.keys
    assert "mcallester1999pac" not in one.keys


def test_the_bound_of_a_moved_theta0_alone_has_its_column_where_a_run_has_one():
    one = records("a")
    alone = one.certificate_file.training.model_copy(update={"value": 0.2718})
    moved = one.certificate_file.model_copy(update={"without_message": alone})
    cells = column(bounds_table((replace(one, certificate_file=moved), records("b"))), "training set: θ₀ alone (%)")
    assert [cell.text for cell in cells] == ["27.2", "–"]
    assert cells[0].sources[0].field == "without_message.value"


def test_the_caption_gives_each_delta_where_they_differ():
    assert "at least 1 – δ, δ = 0.05: " in bounds_table((records("a"), records("b"))).caption
    caption = runs_ledger_table((records("a"), records("b", delta=0.01))).caption
    assert "δ as given with each run" in caption
    assert re.findall(r"δ = ([\d.]+\d)", caption) == ["0.05", "0.01"]
    assert "δ = 0.01 from the training set and 0.05 from the held-out set." in caption, (
        "a split δ is smaller for one of the two"
    )


def test_assumptions_are_listed_once_with_the_tasks_that_make_them():
    other = records("b", task="another")
    file = other.certificate_file
    held_out = file.held_out.model_copy(update={"assumptions": ("nothing was chosen with its help",)})
    training = file.training.model_copy(update={"assumptions": (*file.training.assumptions, "one more")})
    other = replace(other, certificate_file=file.model_copy(update={"training": training, "held_out": held_out}))
    assert bounds_table((records("a"), other)).notes == (
        "Assumed: examples are drawn independently from one distribution",
        "Assumed: θ₀ does not depend on the sample",
        "Assumed, another: one more",
        "Assumed by the bound from the held-out set, another: nothing was chosen with its help",
    )


def test_d90_beyond_the_grid_is_printed_as_such():
    table = d90_table((records(),))
    assert [cell.text for cell in column(table, "rule: paper: d90")] == ["272"]
    assert [cell.text for cell in column(table, "rule: paper: 90% interval")] == ["[200, 400]"]
    assert [cell.text for cell in column(table, "rule: chance corrected: d90")] == ["> 1000"]
    assert [cell.text for cell in column(table, "rule: chance corrected: 90% interval")] == ["[980, > 1000]"]
    (row,) = csv_of(table)
    assert float(row["rule: paper: d90"]) == 271.6
    assert (row["rule: chance corrected: 90% interval lower"], row["rule: chance corrected: d90"]) == ("980.0", "> 1000")


def test_a_rule_that_only_one_run_has_leaves_the_others_empty():
    one = records("a")
    table = d90_table((one, replace(records("b"), dimensions=one.dimensions[:1])))
    assert [cell.text for cell in column(table, "rule: chance corrected: d90")] == ["> 1000", "–"]


def test_the_ledger_lists_every_part_and_its_sum():
    other = records("b")
    ledger = other.certificate_file.training.complexity.ledger
    twice = (*ledger, ledger[0].model_copy(update={"bits": 0.125}))
    complexity = other.certificate_file.training.complexity.model_copy(update={"ledger": twice})
    training = other.certificate_file.training.model_copy(update={"complexity": complexity})
    other = replace(other, certificate_file=other.certificate_file.model_copy(update={"training": training}))
    table = runs_ledger_table((records("a"), other))
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts == [
        ["dimension", "2", "2"],
        ["coefficients", "431", "431"],
        ["dimension", "–", "0.2"],
        ["total", "433", "433.2"],
    ]
    assert table.rows[-1][2].value == 433.125
    (alone,) = {len(row) for row in runs_ledger_table((other,)).rows}
    assert alone == 3
    assert runs_ledger_table((other,)).rows[0][2].text == "one of 4"


def test_the_frontier_has_the_efficient_points_and_marks_the_chosen_one():
    table = frontier_table((records(),))
    assert [cell.text for cell in column(table, "bits")] == ["100", "433", "440", "9000"]
    assert [cell.mark for cell in column(table, "tried as")] == ["", "", "*", ""]
    assert [cell.text for cell in column(table, "bound (%)")] == ["30.0", "27.5", "28.1", "100.0"]
    assert [cell.mark for cell in column(table, "bound (%)")] == ["", "", "", "‡"]
    assert "5 in all" in table.caption
    assert len(frontier_table((records("a"), records("b"))).rows) == 8


def test_a_chosen_point_that_occurs_twice_is_printed_once():
    run = records()
    twice = Frontier(spec_sha256=run.spec.sha256, points=(POINTS[2], POINTS[2]), chosen=1)
    table = frontier_table((replace(run, frontier=twice),))
    assert [cell.sources[0].field for cell in column(table, "bits")] == ["points.1.bits"]


def test_ratios_are_printed_with_their_interval_and_open_ends():
    table = compared(RUNS)
    assert [cell.text for cell in column(table, RATIO)] == ["1", "1.50 [0.90, 2.50]", "censored [0, ∞]"]
    assert column(table, "rule: paper: d90 [90%]")[0].text == "272 [200, 400]"
    four = compared((*RUNS, records("four")))
    assert column(four, RATIO)[3].text == "–"
    assert four.notes == ("No ratio for four: its trials are gone",)
    row = csv_of(table)[1]
    assert [row[RATIO], row[f"{RATIO} lower"], row[f"{RATIO} upper"]] == ["1.5", "0.9", "2.5"]
    assert not column(compared((RUNS[0], RUNS[2])), "certified: bound (%)")[0].best, "they share neither examples nor δ"
    assert column(compared((records("a"), records("b", bound=LARGE))), "certified: bound (%)")[0].best


def test_what_cannot_be_compared_is_refused_with_the_reason():
    one, other = records("a"), records("b", task="another")
    with pytest.raises(ConfigError, match=r"at least two runs, got 1"):
        compared((one,))
    with pytest.raises(ConfigError, match=r"a and b cannot be compared: .*another.* are two tasks on the same examples"):
        compared((one, other))
    test = one.spec.task.test.model_copy(update={"sha256_of_examples": "9" * 64})
    spec = one.spec.model_copy(update={"task": one.spec.task.model_copy(update={"test": test})})
    with pytest.raises(ConfigError, match=r"they are tested on other examples, .*hash 999999999999…"):
        compared((one, replace(one, folder="c", spec=spec)))


def test_a_table_that_does_not_fit_together_is_refused():
    table = bounds_table(RUNS)
    with pytest.raises(ValueError, match="two columns of one name"):
        replace(table, heads=(table.heads[0],) * len(table.heads), groups=())
    with pytest.raises(ValueError, match="heads, and rows"):
        replace(table, numeric=table.numeric[1:])


def test_a_run_without_what_the_table_needs_is_refused():
    with pytest.raises(DataError, match=r"one has no certificate.json; `idbounds certify one` writes it"):
        bounds_table((replace(records(), certificate_file=None),))
    with pytest.raises(DataError, match=r"one has no frontier.json; `idbounds compress` writes it"):
        frontier_table((replace(records(), frontier=None),))
    with pytest.raises(DataError, match=r"one has no d90"):
        d90_table((replace(records(), dimensions=()),))
