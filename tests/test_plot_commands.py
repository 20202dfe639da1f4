"""`idbounds plot` and `report`: every kind from a run's folder, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idbounds.bounds import BOUNDS
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.core.units import bits_to_nats
from idbounds.figures import KINDS, Size, picture_of
from idbounds.plot_commands import FigureKind
from idbounds.reporting.figures import render
from idbounds.run_folder import read_run

RESULTS = Path(__file__).parents[1] / "docs" / "results"
QUICKSTART, SST2 = str(RESULTS / "quickstart"), str(RESULTS / "sst2")


def test_the_command_has_every_kind():
    assert {kind.value for kind in FigureKind} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "runs", "ending"),
    [("accuracy", [QUICKSTART], "svg"), ("bound", [QUICKSTART], "pdf"), ("ledger", [QUICKSTART, SST2], "svg")],
)
def test_a_figure_is_written_and_described(idbounds, tmp_path, kind, runs, ending):
    code, out, _ = idbounds("plot", *runs, "--kind", kind, "--format", ending)
    assert (code, out.splitlines()[0]) == (0, f"wrote {kind}.{ending}")
    assert (tmp_path / f"{kind}.{ending}").read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF"}[ending])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plot", QUICKSTART, SST2], "accuracy against d is of one run, got 2"),
        (["plot", "unsearched", "--kind", "frontier"], "has no frontier.json"),
        (["plot", QUICKSTART, "--output", "a.png"], "ends in .png; figures are svg or pdf"),
        (["plot", QUICKSTART, "--output", "a.pdf", "--format", "svg"], "name two formats"),
        (["plot", QUICKSTART, "--x", "sizes.csv"], "leave out --x"),
        (["plot", QUICKSTART, "--kind", "d90-size", "--x", "twice.csv"], "names a run twice"),
        (["plot", QUICKSTART, "--kind", "d90-size", "--x", "words.csv"], "column 'steps'"),
        (["plot", QUICKSTART, "--kind", "d90-size", "--x", "heads.csv"], "give `run` and one of numbers"),
        (["plot", SST2, "--kind", "d90-size", "--x", "sizes.csv"], "no steps is given for sst2"),
        (["plot", QUICKSTART, "--kind", "d90-size", "--x", "zero.csv"], "needs a positive number"),
        (["plot", QUICKSTART, "--kind", "d90-size", "--x", "gone.csv"], "cannot be read as csv"),
        (["report", "nowhere"], "is no run's folder"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(idbounds, tmp_path, arguments, said):
    tables = {"sizes": "100", "twice": "1\nquickstart,2", "words": "many", "zero": "0"}
    for name, numbers in tables.items():
        (tmp_path / f"{name}.csv").write_text(f"run,steps\nquickstart,{numbers}\n")
    (tmp_path / "heads.csv").write_text("model,steps,more\na,1,2\n")
    shutil.copytree(SST2, tmp_path / "unsearched", ignore=shutil.ignore_patterns("frontier.*", "*.svg"))
    code, out, err = idbounds(*arguments)
    assert code == 2, out + err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("*.svg"))


@pytest.fixture
def curve(monkeypatch):
    """The curve that a kind draws."""
    drawn = []
    monkeypatch.setattr("idbounds.figures.bound_picture", lambda curve, **_: drawn.append(curve))

    def of(kind, folder=QUICKSTART):
        picture_of([read_run(Path(folder))], kind=kind)
        return drawn[-1]

    return of


def test_the_curve_against_d_is_the_bound_at_the_runs_bits_and_errors(curve):
    run, found = read_run(Path(QUICKSTART)), curve("bound")
    file, message = run.certificate_file, run.message
    at = dict(zip(found.x, found.values, strict=True))
    assert found.at == message.d
    assert at[message.d] == pytest.approx(file.training.value, rel=1e-12)
    errors, each = file.training.evidence.errors, message.complexity.num_bits / message.d
    for d, value in list(at.items())[::40]:
        again = BOUNDS["occam_binomial"].value(errors=errors, n=1381, complexity_nats=bits_to_nats(each * d), delta=0.05)
        assert value == pytest.approx(float(again), rel=1e-12)
    ((even, _),) = found.marks
    assert at[max(d for d in at if d <= even)] <= file.majority_error < at[min(d for d in at if d > even)]


def test_the_curve_against_n_falls_to_the_training_error_and_passes_the_run(curve):
    found = curve("bound-n")
    file = read_run(Path(QUICKSTART)).certificate_file
    assert np.interp(file.training.evidence.n, found.x, found.values) == pytest.approx(file.training.value, abs=2e-3)
    assert found.values[0] > found.values[-1] > file.training.evidence.risk
    ((even, _),) = found.marks
    assert np.interp(even, found.x, found.values) == pytest.approx(file.majority_error, abs=5e-3)


def frontier_of(run):
    """Three messages with their bounds."""
    pairs = [(200, 700), (318, 547), (600, 500)]
    values = [
        BOUNDS["occam_binomial"].value(errors=k, n=1381, complexity_nats=bits_to_nats(bits), delta=0.05) for bits, k in pairs
    ]
    points = tuple(
        FrontierPoint(d=100, seed=0, step=0.1, code="gaussian", tried_as="", bits=bits, errors=k, n=1381, bound=float(value))
        for (bits, k), value in zip(pairs, values, strict=True)
    )
    return Frontier(spec_sha256=run.spec.sha256, points=points, chosen=1)


def test_the_frontier_is_drawn_with_its_lines_of_equal_bound():
    run = read_run(Path(QUICKSTART))
    picture = picture_of([replace(run, frontier=frontier_of(run))], kind="frontier")
    assert (
        "3 messages that were tried, 3 of them efficient. Chosen: d = 100, 318 bits, 547 errors of 1381" in picture.description
    )
    assert render(picture, suffix="svg")


def test_d90_against_a_size_of_the_users():
    runs = [read_run(RESULTS / name) for name in ("quickstart", "sst2", "mrpc")]
    picture = picture_of(runs, kind="d90-size", size=Size("pretraining steps", {"quickstart": 10, "sst2": 20.0, "mrpc": 40}))
    d90, _ = runs[0].dimensions
    said = f"d90 = {d90.value:.0f} [{d90.lower:.0f}, {d90.upper:.0f}]"
    assert f"quickstart: pretraining steps 10, {said}" in picture.description
    assert "No rank correlation: the trials of 3 of 3 runs are not here" in picture.description
    assert "D, number of weights 22,567,301" in picture_of(runs, kind="d90-size").description


def test_unknown_kinds_and_no_runs_are_refused():
    with pytest.raises(ConfigError, match="unknown kind of figure 'pie'; known kinds: accuracy, bound"):
        picture_of([read_run(Path(SST2))], kind="pie")
    with pytest.raises(ConfigError, match="no run to draw"):
        picture_of([], kind="ledger")
    with pytest.raises(DataError, match=r"has no message\.idb"):
        picture_of([replace(read_run(Path(SST2)), message=None)], kind="ledger")
