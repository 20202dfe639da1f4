"""The formats of a table: what HTML, CSV and the trace say of each cell."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from io import StringIO

import pytest
from example_run import example_run
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_subset import read

from idbounds.reporting.formats import to_csv, to_markdown, trace_csv
from idbounds.reporting.html import to_html, to_html_page
from idbounds.reporting.latex import to_latex
from idbounds.reporting.rounding import printable
from idbounds.reporting.table import Cell, Origin, Table, text_cell
from idbounds.reporting.tables import certificate_table

VOID = {"meta"}


class Reader(HTMLParser):
    """Rows of (tag, attributes, text), and a failure where an element is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.caption = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1][2] += data
        if "caption" in self.open:
            self.caption += data


@pytest.fixture
def certificate():
    run = example_run()
    return certificate_table(run.certificate_file, spec=run.spec, signature="δ < 1 & more")


def grouped():
    """A made-up table with all that a cell may have."""
    record = Origin("certificate.json", example_run().certificate_file)
    bound = record.cell("training.value", lambda value: f"{100 * value:.1f}")
    interval = record.derived((0.1, None), "[10.0, > 40]", paths=("training.value", "held_out.value"), how="made up")
    rows = (
        (text_cell("<one>"), Cell(bound.value, bound.text, bound.sources, mark="†", best=True), interval),
        (text_cell("two_"), Cell(None, "–"), Cell((0.2, 0.3), "[20.0, 30.0]")),
    )
    return Table("made-up", ("run", "bound (%)", "interval"), (False, True, False), rows, "A & B", groups=(("", 1), ("all", 2)))


def test_html_has_a_caption_and_heads_with_their_scope(certificate):
    read = Reader(to_html(certificate))
    heads, *rows = read.rows
    assert read.caption == certificate.caption
    assert [(tag, attributes["scope"]) for tag, attributes, _ in heads] == [("th", "col")] * len(certificate.heads)
    body = rows[: len(certificate.rows)]
    assert all(row[0][0] == "th" and row[0][1]["scope"] == "row" for row in body)
    assert [[cell[2] for cell in row] for row in body] == [[cell.text for cell in row] for row in certificate.rows]
    assert [row[0][2] for row in rows[len(certificate.rows) :]] == list(certificate.notes)


def test_html_names_the_record_of_each_cell(certificate):
    body = Reader(to_html(certificate)).rows[1:]
    for row, cells in zip(body, certificate.rows, strict=False):
        for (_, attributes, _), cell in zip(row, cells, strict=True):
            assert attributes.get("title", "") == cell.origin
    bound = body[0][-1][1]["title"]
    assert bound == f"certificate.json {example_run().certificate_file.sha256[:12]} training.value"


def test_a_page_needs_no_script_and_nothing_from_elsewhere(certificate):
    page = to_html_page(certificate)
    Reader(page.removeprefix("<!doctype html>"))
    assert not any(word in page for word in ("<script", "http", "src=", "<link"))


def test_groups_marks_and_bold():
    table = grouped()
    latex, html, markdown = to_latex(table), to_html(table), to_markdown(table)
    assert r"{} & \multicolumn{2}{c}{all} \\" + "\n" + r"\cmidrule(lr){2-3}" in latex
    assert r"{\(<\)one\(>\)} & \bfseries 27.4{\textsuperscript{\(\dagger\)}} & {[10.0, \(>\) 40]} \\" in latex
    assert r"table-space-text-post=\textsuperscript{\(\dagger\)}" in latex
    assert '<th scope="colgroup" colspan="2">all</th>' in html
    assert "<strong>27.4</strong><sup>†</sup>" in html
    assert "all: bound (%)" in markdown
    assert "**27.4 †**" in markdown


def test_csv_has_two_columns_for_an_interval_and_the_records_of_its_row():
    first, second = csv.DictReader(line for line in StringIO(to_csv(grouped())) if not line.startswith("#"))
    assert float(first["all: bound"]) == example_run().certificate_file.training.value
    assert (first["all: interval lower"], first["all: interval upper"]) == ("0.1", "")
    assert (second["all: interval lower"], second["all: interval upper"]) == ("0.2", "0.3")
    assert first["source"] == f"certificate.json {example_run().certificate_file.sha256[:12]}"
    assert second["source"] == ""


def test_the_trace_leads_from_a_cell_to_its_field():
    run = example_run()
    table = certificate_table(run.certificate_file, spec=run.spec, signature="")
    entries = list(csv.DictReader(StringIO(trace_csv(table))))
    assert {entry["file"] for entry in entries} == {"certificate.json"}
    for entry in entries:
        assert entry["sha256"] == run.certificate_file.sha256
        found = Origin(entry["file"], run.certificate_file).value(entry["field"])
        assert str(found) == entry["stored"]
    assert len(entries) == sum(bool(cell.sources) for row in table.rows for cell in row) == 13


NAMES = st.text(max_size=30) | st.sampled_from(
    ["a|b", "<script>alert(1)</script>", r"\input{x}", "50% & $1_2^3", "a\nb", "ab\u202ecd"]
)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_no_name_breaks_a_format(name, caption):
    """Names of tasks and models come from strangers' records."""
    rows = ((text_cell(name), Cell(0.5, "50.0")), (text_cell("second"), Cell(None, "–")))
    table = Table("made-up", ("run", "bound (%)"), (False, True), rows, caption, notes=(name,))
    latex = read(to_latex(table))
    assert [len(line) for line in latex.lines] == [2, 2]
    read_html = Reader(to_html(table))
    assert [len(row) for row in read_html.rows] == [2, 2, 2, 1]
    assert read_html.rows[1][0][2] == printable(name)
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [3] * 4
    assert not re.search("<[a-z/!]", to_markdown(table), re.IGNORECASE)
    comments, body = to_csv(table).split("run,bound\n", maxsplit=1)
    assert all(line.startswith("# ") for line in comments.splitlines())
    assert next(csv.reader(StringIO(body, newline="")))[0] == name
