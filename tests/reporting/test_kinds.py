"""Tables of several runs: every number is a stored one, bounds go outward, and only what is comparable is ranked."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from io import StringIO

import pytest
from example_run import example_run
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_subset import compiles, read

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.html import to_html
from idbounds.reporting.kinds import bounds_table, compact, comparison_table, d90_table, frontier_table, runs_ledger_table
from idbounds.reporting.latex import to_latex
from idbounds.reporting.run_records import RunRecords

RATIO = "rule: paper: ratio [90%]"
SMALL, LARGE = 0.27401, 0.41


def records(folder="one", *, bound=SMALL, n=None, delta=0.05, task=None) -> RunRecords:
    run = example_run(training_bound=bound)
    file = run.certificate_file
    evidence = file.training.evidence.model_copy(update={} if n is None else {"n": n})
    training = file.training.model_copy(update={"delta": delta, "evidence": evidence})
    spec = run.spec
    if task is not None:
        spec = spec.model_copy(update={"task": spec.task.model_copy(update={"name": task})})
    return RunRecords(
        folder=folder,
        spec=spec,
        dimensions=tuple(run.dimensions),
        certificate_file=file.model_copy(update={"training": training}),
        message=run.message,
        frontier=Frontier(spec_sha256=spec.sha256, points=POINTS, chosen=3),
    )


def point(bits, errors, bound):
    return FrontierPoint(
        d=10, seed=0, step=0.25, code="ternary", tried_as="trained on", bits=bits, errors=errors, n=1500, bound=bound
    )


#: The second is beaten by the first, the fourth by the third.
POINTS = (point(100, 300, 0.3), point(120, 300, 0.31), point(433, 180, 0.27401), point(440, 181, 0.28), point(9000, 0, 1.0))


def column(table, head):
    return [row[table.flat_heads.index(head)] for row in table.rows]


def compared(runs):
    """With made-up ratios: each kind of them that there is."""
    made = (Made(1.5, 0.9, 2.5), Made(None, None, None), "its trials are gone")
    return comparison_table(runs, ratios={"paper": made[: len(runs) - 1], "chance_corrected": made[: len(runs) - 1]})


@dataclass(frozen=True)
class Made:
    value: float | None
    lower: float | None
    upper: float | None
    level: float = 0.9


TABLES = {
    "d90": d90_table,
    "bounds": bounds_table,
    "ledger": runs_ledger_table,
    "frontier": frontier_table,
    "comparison": compared,
}
RUNS = (records("one"), records("two", bound=1.0), records("three", bound=LARGE, n=2000, delta=0.01))


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_every_cell_with_a_source_is_what_its_record_holds(build):
    origins = {}
    for run in RUNS:
        measured = (run.measured("paper"), run.measured("chance_corrected"))
        for origin in (run.specified, run.certified, run.said, run.searched, *measured):
            origins[origin.file, origin.sha256] = origin
    table = build(RUNS)
    traced = 0
    for cell in (cell for row in table.rows for cell in row):
        if cell.derived or not cell.sources:
            continue
        (source,) = cell.sources
        stored = origins[source.file, source.sha256].value(source.field)
        assert cell.value == stored or (stored is None and cell.text[0] in "<>")
        traced += 1
    assert traced >= 9


@settings(deadline=None)  # the first example loads tabulate
@given(st.floats(0.12, 1.0), st.floats(0.12, 1.0))
def test_no_printed_bound_is_below_the_stored_one(first, second):
    table = bounds_table((records("one", bound=first), records("two", bound=second)))
    rows = read(to_latex(compact(table))).lines
    markdown = [line.split("|") for line in to_markdown(compact(table)).splitlines() if line.startswith("|")][2:]
    position = compact(table).flat_heads.index("training set: bound (%)")
    for value, latex, line in zip((first, second), rows, markdown, strict=True):
        for text in (latex[position], line[position + 1]):
            printed = Fraction(re.search(r"\d+\.\d+", text)[0])
            assert 0 <= printed - 100 * Fraction(value) < Fraction(1, 10)
    assert [float(row["training set: bound"]) for row in csv_of(table)] == [first, second]


def csv_of(table):
    return list(csv.DictReader(line for line in StringIO(to_csv(table)) if not line.startswith("#")))


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


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_the_signature_is_in_every_format(build):
    table = build(RUNS)
    file = RUNS[0].certificate_file
    for text in (to_latex(table), to_markdown(table), to_csv(table), to_html(table)):
        for part in ("idbounds 0.1.0", "seeds 0, 1, 2", RUNS[0].spec.sha256[:12], file.sha256[:12]):
            assert part in text
    assert ("not proved" in table.caption) == (build in (d90_table, compared))
    assert ("the message pays for" in table.caption) == (build is not d90_table)


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_latex_is_what_a_compiler_takes(build, tmp_path):
    tables = [table for runs in (RUNS, RUNS[:2]) for table in (build(runs), compact(build(runs)))]
    texts = [to_latex(table) for table in tables]
    for text, table in zip(texts, tables, strict=True):
        assert len(read(text).lines) == len(table.rows)
    outcome = compiles(tmp_path, *(re.sub(r"\\label\{.*\}\n", "", text) for text in texts))
    assert outcome is None or outcome.returncode == 0, outcome.stdout[-2000:]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (r"\bottomrule", r"\bottomrule\unheardof"),
        (r" \\" + "\n", r" & 1 \\" + "\n"),
        ("27.5", "27.5 percent"),
        ("27.5", "12345.5"),
        (r"\end{table}", ""),
        (r"100\%", "100%"),
    ],
)
def test_the_reader_of_latex_catches_what_is_made_wrong(wrong, right):
    text = to_latex(bounds_table(RUNS))
    read(text)
    assert wrong in text
    with pytest.raises((AssertionError, ValueError)):
        read(text.replace(wrong, right))


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
