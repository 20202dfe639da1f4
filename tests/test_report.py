"""The report of real results: well-formed, self-contained, the same bytes, and with numbers that are the stored ones."""

from __future__ import annotations

import json
import re
import shutil
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from idbounds import cli
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.core.values import CertificateFile
from idbounds.report import write_report
from idbounds.report_claims import meaning_section
from idbounds.reporting.rounding import bits_up, percent, percent_up
from idbounds.run_folder import read_run

RESULTS = Path(__file__).parents[1] / "docs" / "results"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Strict(HTMLParser):
    """Balanced tags; ids, links and what would be loaded, collected."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.loaded: list[tuple[str, str, str]] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "aria-labelledby"):
                self.named.append(value.removeprefix("#"))
            elif name in ("src", "srcset", "data", "action", "poster", "background") or name.startswith("on"):
                self.loaded.append((tag, name, value))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        section = "/".join(self.open)
        self.texts[section] = self.texts.get(section, "") + data


@cache
def page(*names):
    """Of results in the repository."""
    with TemporaryDirectory() as folder:
        return page_of(Path(folder), *(RESULTS / name for name in names))


def page_of(tmp_path, *folders):
    path = write_report(tmp_path / "report.html", [read_run(folder) for folder in folders])
    text = path.read_text(encoding="utf-8")
    parsed = Strict()
    parsed.feed(text)
    parsed.close()
    assert parsed.open == []
    return text, parsed


def section(text, title):
    """What stands under a heading, without figures."""
    after = text.split(f">{title}</h2>", 1)[1].split("</section>", 1)[0]
    return re.sub(r"<svg.*?</svg>", "", after, flags=re.DOTALL)


def without(tmp_path, *names, of="quickstart"):
    folder = shutil.copytree(RESULTS / of, tmp_path / "run")
    for name in names:
        (folder / name).unlink()
    return folder


def renamed(folder, **names):
    """A folder whose specification says something else; what it had proved no longer belongs to it."""
    spec = json.loads((folder / "spec.json").read_text())
    spec["task"] |= names
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


@pytest.mark.parametrize("names", [("quickstart",), ("sst2", "mrpc")])
def test_the_page_is_balanced_self_contained_and_its_links_lead_somewhere(names):
    text, parsed = page(*names)
    assert parsed.loaded == []
    assert not {"script", "link", "iframe", "object", "embed", "form", "img"} & set(parsed.tags)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert [name for name in parsed.named if name not in parsed.ids] == []
    assert not re.search(r"@import|url\((?!#)", text)
    assert text.count("<svg ") == text.count('role="img" aria-label=')
    assert text.count("<table ") == text.count("<caption>") > 0


def test_the_command_gives_the_same_bytes(tmp_path, monkeypatch, capfd):
    """Of a run without certificate, which takes no time; figures are compared in tests/reporting/test_figures.py."""
    folder = without(tmp_path, "certificate.json", "message.idb")
    text, _ = page_of(tmp_path, folder)
    monkeypatch.setattr(sys, "argv", ["idbounds", "report", str(folder), "--output", str(tmp_path / "new" / "a.html")])
    with pytest.raises(SystemExit):
        cli.main()
    assert (tmp_path / "new" / "a.html").read_text(encoding="utf-8") == text
    assert capfd.readouterr().out == f"wrote {tmp_path / 'new' / 'a.html'}\n"


@pytest.mark.parametrize("name", ["quickstart", "sst2", "mrpc"])
def test_the_certificates_numbers_are_the_stored_ones(name):
    """Every number with a decimal point under the heading is a stored one, rounded as in the tables; bounds go up."""
    text, _ = page(name)
    file = CertificateFile.read(RESULTS / name / "certificate.json")
    shown = re.sub(r"<[^>]*>", " ", section(text, "Certificate").split("</table>")[0])
    assert f"errs on at most {percent_up(file.training.value)} % of new examples" in shown
    stored = {percent_up(one.value) for one in (file.training, file.held_out)}
    stored |= {percent(one.evidence.risk) for one in (file.training, file.held_out)} | {percent(file.majority_error)}
    stored |= {bits_up(file.training.complexity.num_bits), repr(file.training.delta), "4.1"}  # of a theorem
    assert set(re.findall(r"\d+\.\d+", shown)) <= stored
    assert {percent_up(file.training.value), percent_up(file.held_out.value), percent(file.majority_error)} <= set(
        re.findall(r"\d+\.\d+", shown)
    )


def test_what_the_bound_is_worth_is_said():
    """On BBC News it is below the error of guessing, on MRPC not."""
    assert "is below the error of always guessing" in page("quickstart")[0]
    assert "is not below the error of always guessing" in page("mrpc")[0]


def test_a_run_without_certificate_or_message_gives_the_measurement_and_says_what_is_missing(tmp_path):
    text, _ = page_of(tmp_path, without(tmp_path, "certificate.json", "message.idb", "frontier.json"))
    assert "No certificate here: nothing is proved about this run" in section(text, "Certificate")
    d90, _ = read_run(RESULTS / "quickstart").dimensions
    assert f"d90 = {d90.value:.0f} [" in section(text, "Intrinsic dimension")
    assert percent_up(CertificateFile.read(RESULTS / "quickstart" / "certificate.json").training.value) not in text


def test_a_run_with_nothing_but_a_specification_is_a_page(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(RESULTS / "sst2" / "spec.json", folder)
    text, _ = page_of(tmp_path, folder)
    assert "No accuracies here yet" in text


@pytest.mark.filterwarnings("ignore:Glyph")
def test_strings_of_strangers_are_text(tmp_path):
    hostile = "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;{{ 7*7 }}\u202egnp\x07"
    folder = renamed(
        without(tmp_path, "certificate.json", "message.idb", "frontier.json"),
        name=hostile,
        source=hostile,
        licence=hostile,
        label_names=[hostile, "b"],
        citation_key="no_such@key<b>",
    )
    folder = folder.rename(tmp_path / "a <b>&' folder")
    text, parsed = page_of(tmp_path, folder)
    assert "script" not in parsed.tags
    assert "img" not in parsed.tags
    assert parsed.loaded == []
    assert "{{ 7*7 }}" in text  # not taken for a template
    assert not {"\u202e", "\x07"} & set(text)


def test_the_style_sheet_has_phones_print_and_the_dark():
    text, _ = page("sst2")
    for query in ("max-width: 34rem", "print", "prefers-color-scheme: dark"):
        assert f"@media ({query})" in text or f"@media {query}" in text
    assert "width=device-width" in text


def test_several_runs_are_compared_before_they_are_told():
    text, _ = page("sst2", "mrpc")
    side_by_side, told = text.split('id="run1"', 1)
    assert "The runs side by side" in side_by_side
    assert side_by_side.count("<table ") == 2
    for name in ("sst2", "mrpc"):
        assert percent_up(CertificateFile.read(RESULTS / name / "certificate.json").training.value) in side_by_side
    assert told.count("What it means</h3>") == 2


def test_a_search_is_said_to_have_looked_at_the_test_part(tmp_path):
    folder = without(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["measurement"] |= {"search": True, "dims": [100, 1000]}
    (folder / "config.json").write_text(json.dumps(config))
    said = " ".join(meaning_section(read_run(folder)).paragraphs)
    assert "it chose d with the help of test accuracies" in said
    assert "test accuracies" not in section(page("quickstart")[0], "What it means")


def test_the_frontier_is_told_with_the_message(tmp_path):
    folder = without(tmp_path, of="mrpc")
    run = read_run(folder)
    counted, bits = run.certificate_file.training, run.message.complexity.num_bits
    point = FrontierPoint(
        d=run.message.d,
        seed=0,
        step=0.1,
        code="gaussian",
        tried_as="plain",
        bits=bits,
        errors=counted.evidence.errors,
        n=counted.evidence.n,
        bound=counted.value,
    )
    Frontier(spec_sha256=run.spec.sha256, points=(point,), chosen=0).write(folder / "frontier.json")
    shown = section(page_of(tmp_path, folder)[0], "Message")
    assert "1 messages that were tried, 1 of them efficient" in shown
    assert percent_up(counted.value) in shown


@pytest.mark.skipif(not (RESULTS / "report").is_dir(), reason="no report is kept")
def test_the_kept_report_says_what_its_records_say():
    """All but the single trials, which are not kept."""
    kept = (RESULTS / "report" / "report.html").read_text(encoding="utf-8")
    text, _ = page("quickstart")
    parsed = Strict()
    parsed.feed(kept)
    assert parsed.open == parsed.loaded == []
    for title in ("Certificate", "What it assumes", "Works to cite"):
        assert section(kept, title) == section(text, title), title
