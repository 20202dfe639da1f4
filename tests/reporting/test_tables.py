from __future__ import annotations

import importlib
import math
import re
import sys
from fractions import Fraction
from importlib.resources import files
from io import StringIO

import pandas as pd
import pytest
from example_run import ERRORS, example_run
from hypothesis import given, settings
from hypothesis import strategies as st
from latex_subset import compiles, read
from pybtex.database import parse_file, parse_string

from idbounds.core.errors import ConfigError
from idbounds.reporting import (
    bibliography,
    percent,
    percent_up,
    references,
    round_up,
    used_keys,
    write_tables,
)
from idbounds.reporting.formats import to_csv, to_markdown
from idbounds.reporting.latex import to_latex
from idbounds.reporting.tables import certificate_table


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    return {name: path.read_text() for name, path in write_tables(folder / "new", **example_run().arguments()).items()}


def markdown_rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not set(line) <= set("|:- ")]


def latex_rows(text):
    return read(text).lines


def csv_rows(text):
    return pd.read_csv(StringIO(text), comment="#")


@given(st.floats(0, 1) | st.floats(0, 1e-3), st.integers(0, 12))
def test_rounded_bounds_are_never_below_and_never_a_unit_above(value, digits):
    assert 0 <= Fraction(round_up(value, digits=digits)) - Fraction(value) < Fraction(1, 10**digits)
    assert 0 <= Fraction(percent_up(value, digits=digits)) - 100 * Fraction(value) < Fraction(1, 10**digits)
    assert abs(Fraction(percent(value, digits=digits)) - 100 * Fraction(value)) <= Fraction(1, 2 * 10**digits)


def test_rounding_sees_the_binary_value():
    assert percent_up(0.5) == "50.0"
    assert percent_up(math.nextafter(0.5, 1)) == "50.1"
    assert percent_up(1.0) == "100.0"
    assert round_up(0.1, digits=1) == "0.2"  # the float64 is above one tenth
    assert percent_up(5e-324, digits=2) == "0.01"


@settings(deadline=None)  # the first example loads tabulate
@given(st.floats(0.12, 1.0))
def test_a_printed_bound_is_never_below_the_stored_one(value):
    run = example_run(training_bound=value)
    table = certificate_table(run.certificate_file, spec=run.spec, signature="")
    printed = (markdown_rows(to_markdown(table))[1][-1], latex_rows(to_latex(table))[0][-1])
    assert all(0 <= Fraction(cell) - 100 * Fraction(value) < Fraction(1, 10) for cell in printed)
    assert csv_rows(to_csv(table))["true risk at most"][0] == value


def test_accuracy_cells_are_the_stored_numbers(written):
    rows = markdown_rows(written["accuracy.md"])[1:]
    assert [row[0] for row in rows] == ["10", "100", "1000", "full", "majority class"]
    for row, d in zip(rows, (10, 100, 1000, 0), strict=False):
        accuracies = [Fraction(400 - k, 400) for k in ERRORS[d]]
        stored = (sum(accuracies) / 3, min(accuracies), max(accuracies))
        for cell, value in zip(row[3:], stored, strict=True):
            assert abs(Fraction(cell) - 100 * value) <= Fraction(5, 100) + Fraction(1, 10**9)
        assert row[1:3] == ["3", "0.1"], "only the trials that d90 rests on, not the lucky rate"
    exact = csv_rows(written["accuracy.csv"])
    assert exact["test accuracy"].tolist()[:4] == [
        pytest.approx(sum(1 - k / 400 for k in ERRORS[d]) / 3, rel=1e-15) for d in (10, 100, 1000, 0)
    ]


def test_d90_cells_mark_what_lies_outside_the_grid(written):
    first, second = markdown_rows(written["d90.md"])[1:]
    assert first[-3:] == ["272", "200", "400"]
    assert second[-3:] == ["> 1000", "980", "> 1000"]
    assert [row[-3:] for row in latex_rows(written["d90.tex"])][1] == [r"{\(>\) 1000}", "980", r"{\(>\) 1000}"]


def test_certificate_cells(written):
    train, held_out, majority = markdown_rows(written["certificate.md"])[1:]
    assert train == ["training set", "occam binomial", "180", "1500", "12.0", "433", "27.5"]
    assert held_out == ["held-out set", "test set", "47", "400", "11.7", "0", "15.1"]
    assert majority == ["majority class", "–", "–", "–", "50.0", "–", "–"]
    assert "θ₀ does not depend on the sample" in written["certificate.md"]


def test_ledger_sums(written):
    *lines, total = csv_rows(written["ledger.csv"])["bits"].tolist()
    assert sum(lines) == total == 433


@pytest.mark.parametrize("name", ["accuracy", "d90", "certificate", "ledger"])
def test_the_three_formats_agree_and_carry_the_signature(written, name):
    run = example_run()
    plain = {"{--}": "–"}
    latex = latex_rows(written[f"{name}.tex"])
    for row, twin in zip(latex, markdown_rows(written[f"{name}.md"])[1:], strict=True):
        cells = [plain.get(cell, cell.removeprefix("{").removesuffix("}").replace(r"\(>\)", ">")) for cell in row]
        assert cells == twin
    for suffix in ("tex", "md", "csv", "html"):
        text = written[f"{name}.{suffix}"]
        for part in ("idbounds 0.1.0", "seeds 0, 1, 2", run.spec.sha256[:12], run.certificate_file.sha256[:12]):
            assert part in text
        claims = ("= 0.05 over the draw of the training set", "code uniform", run.message.file_sha256[:12])
        proved = name in ("certificate", "ledger")
        assert all((part in text or part.capitalize() in text) == proved for part in claims)
        assert ("Measured, not proved" in text) != proved


def test_every_table_compiles(written, tmp_path):
    names = ("accuracy", "d90", "certificate", "ledger")
    assert all(read(written[f"{name}.tex"]).lines for name in names)
    outcome = compiles(tmp_path, *(written[f"{name}.tex"] for name in names))
    assert outcome is None or outcome.returncode == 0, outcome.stdout[-2000:]


def test_a_name_with_special_characters_is_escaped(written):
    assert r"tri\_via \& 100\% \#1" in written["accuracy.tex"]


def test_records_of_different_runs_are_refused(tmp_path):
    run = example_run()
    other = run.message.model_copy(update={"file_sha256": "0" * 64})
    with pytest.raises(ConfigError, match="certificate's message"):
        write_tables(tmp_path, **{**run.arguments(), "message": other})
    with pytest.raises(ConfigError, match="11 of 12 trials behind d90 are missing"):
        write_tables(tmp_path, **{**run.arguments(), "trials": run.trials[:2]})


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tabulate", None)
    with pytest.raises(ConfigError, match=r"tabulate: pip install 'idbounds\[report\]'"):
        write_tables(tmp_path, **example_run().arguments())


def test_every_reference_parses_and_is_complete():
    parsed = parse_file(str(files("idbounds.reporting") / "references.bib"))
    assert set(parsed.entries) == set(references())
    for key, entry in parsed.entries.items():
        assert entry.persons["author"], key
        assert entry.fields["title"], key
        assert re.fullmatch(r"(19|20)\d\d", entry.fields["year"]), key
        assert entry.type == "misc" or {"journal", "booktitle", "publisher"} & set(entry.fields), key


def test_bibliography_has_exactly_the_used_entries():
    run = example_run()
    spec = run.spec.model_copy(
        update={
            "projection": "fastfood",
            "parametrization": "said",
            "model": run.spec.model.model_copy(update={"citation_key": "wang2020minilm, reimers2019sentence"}),
            "task": run.spec.task.model_copy(update={"citation_key": "unheard2031of"}),
        }
    )
    keys = used_keys(
        spec,
        sources=("langford2005tutorial, Theorem 4.1, JMLR 6:273-306", "clopper1934use, Table I; after langford2005tutorial"),
    )
    text = bibliography.bibliography(keys, versions=("0.1.0", "0.2.0"))
    parsed = parse_string(text, "bibtex")
    assert set(parsed.entries) == set(keys) - {"unheard2031of"}
    assert {"idbounds", "le2013fastfood", "aghajanyan2021intrinsic", "wang2020minilm", "reimers2019sentence"} <= set(keys)
    assert "mcallester1999pac" not in keys
    assert parsed.entries["idbounds"].fields["version"] == "0.1.0, 0.2.0"
    assert "% unheard2031of: cited by this run and not known to idbounds" in text
    assert parsed.entries["clopper1934use"].fields["year"] == "1934"


def test_every_bound_has_its_bibliography_entry():
    bounds = importlib.import_module("idbounds.bounds").BOUNDS
    spec = example_run().spec
    for bound in bounds.values():
        keys = used_keys(spec, sources=(str(bound.source),))
        assert bound.source.key in keys
        assert set(keys) <= set(references()), f"references.bib lacks an entry that the bound {bound.name} cites"


def test_every_projection_and_parametrization_has_its_bibliography_line():
    pytest.importorskip("torch")
    parametrizations = importlib.import_module("idbounds.measurement.parametrizations").PARAMETRIZATIONS
    projections = importlib.import_module("idbounds.projections")
    assert set(bibliography.PROJECTIONS) == {*projections.PROJECTIONS, *projections.FAULTY}
    assert set(bibliography.PARAMETRIZATIONS) == set(parametrizations)


def test_every_bibliography_line_has_its_entries():
    for lines in (bibliography.PROJECTIONS, bibliography.PARAMETRIZATIONS):
        assert {key for keys in lines.values() for key in keys} <= set(references())
