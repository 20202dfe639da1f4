"""`idbounds table` and `idbounds cite`, as a user types them, on the committed results."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from pybtex.database import parse_string
from typer.testing import CliRunner

import idbounds
from idbounds.cli import app
from idbounds.core.errors import ConfigError, DataError
from idbounds.output_commands import TableFormat, TableKind

ROOT = Path(__file__).parents[1]
MRPC, SST2, BBC = (str(ROOT / "docs" / "results" / name) for name in ("mrpc", "sst2", "quickstart"))
ON_MANY = [TableKind.d90, TableKind.bounds, TableKind.ledger]


def invoke(*arguments):
    outcome = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def at(path, field):
    """The value at the end of a path in a JSON file; None for what only the record computes."""
    found = json.loads(Path(path).read_text())
    for step in field.split("."):
        found = found[int(step)] if isinstance(found, list) else found.get(step) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize("kind", ON_MANY)
def test_the_trace_leads_to_the_files(kind, tmp_path):
    """Each printed number is found again in the JSON file that the trace names, without any of idbounds' code."""
    invoke("table", MRPC, SST2, BBC, "--kind", kind, "--trace", tmp_path / "trace.csv")
    entries = list(csv.DictReader((tmp_path / "trace.csv").open(encoding="utf-8")))
    assert {entry["row"] for entry in entries} >= {"1", "2", "3"}
    found = 0
    for entry in entries:
        value = at(entry["file"], entry["field"]) if entry["file"].endswith(".json") else None
        if value is None or entry["derived"]:
            continue
        assert str(value) == entry["stored"], entry
        found += 1
    assert found >= 10


@pytest.mark.parametrize("kind", ON_MANY)
@pytest.mark.parametrize("form", list(TableFormat))
def test_every_kind_in_every_format_to_a_file(kind, form, tmp_path):
    path = tmp_path / "new" / f"table.{form}"
    output = invoke("table", MRPC, SST2, "--kind", kind, "--format", form, "--output", path)
    text = path.read_text(encoding="utf-8")
    assert f"wrote {path}" in output
    assert path.with_suffix(".bib").exists() == (form == "latex")
    assert "MRPC" in text
    assert "SST-2" in text
    printed = invoke("table", MRPC, SST2, "--kind", kind, "--format", form)
    assert printed.replace(f"idbounds-{kind}", "idbounds-table").replace(f"idbounds: {kind}", "idbounds: table") == text


def test_the_file_names_the_label(tmp_path):
    invoke("table", MRPC, "--format", "latex", "--output", tmp_path / "my-bounds.tex")
    invoke("table", MRPC, "--format", "latex", "--output", tmp_path / "not_a_label.tex")
    assert r"\label{tab:idbounds-my-bounds}" in (tmp_path / "my-bounds.tex").read_text()
    assert r"\label{tab:idbounds-bounds}" in (tmp_path / "not_a_label.tex").read_text()


def test_the_bibliography_beside_a_table_is_exactly_what_its_runs_rest_on(tmp_path):
    path = tmp_path / "t.tex"
    invoke("table", MRPC, SST2, "--format", "latex", "--output", path)
    keys = set(parse_string(path.with_suffix(".bib").read_text(), "bibtex").entries)
    single = [set(parse_string(invoke("cite", run), "bibtex").entries) for run in (MRPC, SST2)]
    assert keys == single[0] | single[1]
    assert keys == set(parse_string(invoke("cite", MRPC, SST2), "bibtex").entries)
    assert {"dolan2005automatically", "socher2013recursive"} <= keys
    assert "socher2013recursive" not in single[0]
    written = (ROOT / "docs" / "results" / "mrpc" / "references.bib").read_text()
    assert single[0] == set(parse_string(written, "bibtex").entries)


def test_cite_alone_prints_what_the_citation_file_says():
    (entry,) = parse_string(invoke("cite"), "bibtex").entries.values()
    facts = dict(re.findall(r'^(\w+): "?([^"\n]+)"?$', (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    (author,) = re.findall(r'- name: "(.+)"', (ROOT / "CITATION.cff").read_text())
    assert entry.key == "idbounds"
    assert entry.fields["version"] == facts["version"] == idbounds.__version__
    title = f"{facts['title']}: {facts['abstract'].rstrip('.')}"
    assert entry.fields["title"].lower() == title.lower()
    assert str(entry.persons["author"][0]) == f"{{{author}}}"
    assert facts["license"] in entry.fields["note"]


def test_runs_on_different_examples_are_not_compared():
    with pytest.raises(ConfigError, match=r"MRPC \(408, hash 136e90e44770…\) and SST-2"):
        invoke("table", MRPC, SST2, "--kind", "comparison")


def test_a_comparison_without_trials_says_why_there_is_no_ratio(tmp_path):
    copy = shutil.copytree(MRPC, tmp_path / "copy")
    output = invoke("table", MRPC, copy, "--kind", "comparison")
    assert "| copy" in output
    assert f"No ratio for {copy}: the trials of {MRPC} are not all there" in output


def test_folders_that_are_none_or_given_twice_are_refused(tmp_path):
    with pytest.raises(DataError, match="is no run's folder"):
        invoke("table", tmp_path)
    with pytest.raises(ConfigError, match="given twice"):
        invoke("table", MRPC, f"{MRPC}/../mrpc")
