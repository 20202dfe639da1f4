"""Laws of every kind of table: a cell's number is the stored one, bounds go outward, LaTeX compiles, the caption is signed."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from example_runs import LARGE, TABLES, compared, csv_of, records
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_subset import compiles, read

from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.html import to_html
from idbounds.reporting.kinds import bounds_table, compact, d90_table
from idbounds.reporting.latex import to_latex

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
