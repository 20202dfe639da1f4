"""Tables of several runs: every number is a stored one, bounds go outward, and only what is comparable is ranked."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from fractions import Fraction
from io import StringIO

import pytest
from example_run import example_run
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_subset import compiles, read

from idbounds.core.errors import DataError
from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.html import to_html
from idbounds.reporting.kinds import bounds_table, compact, d90_table
from idbounds.reporting.latex import to_latex
from idbounds.reporting.run_records import RunRecords

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
    )


def column(table, head):
    return [row[table.flat_heads.index(head)] for row in table.rows]


TABLES = {"d90": d90_table, "bounds": bounds_table}
RUNS = (records("one"), records("two", bound=1.0), records("three", bound=LARGE, n=2000, delta=0.01))


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_every_cell_with_a_source_is_what_its_record_holds(build):
    origins = {}
    for run in RUNS:
        for origin in (run.specified, run.certified, run.said, run.measured("paper"), run.measured("chance_corrected")):
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
    assert traced >= 3 * (len(table.heads) - 3)


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
    assert r"100.0{\textsuperscript{\textdaggerdbl{}}}" in to_latex(table)
    assert "<sup>†</sup>" in to_html(table)


def test_what_all_rows_share_is_said_once():
    table = bounds_table((records("a"), records("b")))
    narrow = compact(table)
    assert "training set: errors, n = 1500" in narrow.flat_heads
    assert "held-out set: error (%), n = 400" in narrow.flat_heads
    assert not {"model", "parametrization", "δ"} & set(narrow.heads)
    assert "All rows: model tiny, parametrization full." in narrow.caption
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
    assert ("not proved" in table.caption) == (build is d90_table)
    assert ("the message pays for" in table.caption) == (build is bounds_table)


@pytest.mark.parametrize("build", TABLES.values(), ids=TABLES)
def test_latex_is_what_a_compiler_takes(build, tmp_path):
    texts = [to_latex(table) for runs in (RUNS, RUNS[:1]) for table in (build(runs), compact(build(runs)))]
    for text in texts:
        assert len(read(text).lines) in (1, 3)
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


def test_a_run_without_what_the_table_needs_is_refused():
    with pytest.raises(DataError, match=r"one has no certificate.json; `idbounds certify one` writes it"):
        bounds_table((replace(records(), certificate_file=None),))
    with pytest.raises(DataError, match=r"one has no d90"):
        d90_table((replace(records(), dimensions=()),))
