from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import pytest
from example_run import ERRORS, example_run

from idbounds.core.errors import ConfigError
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.reporting.figures import (
    FORMATS,
    BoundCurve,
    IsoBounds,
    SizePoint,
    accuracy_picture,
    bound_picture,
    frontier_picture,
    ledger_picture,
    render,
    sizes_picture,
)
from idbounds.reporting.inline_svg import inline_svg

BAND = [(0.5, 10.0, 10.0, 20.0), (0.7, 80.0, 60.0, 110.0), (0.88, 1000.0, 700.0, 1000.0)]
NAMES = {"s": "http://www.w3.org/2000/svg", "x": "http://www.w3.org/1999/xlink"}


def accuracy(run=None, **more):
    run = run or example_run()
    return accuracy_picture(spec=run.spec, dimensions=run.dimensions, trials=run.trials, **more)


def bound():
    curve = BoundCurve("bound", "The bound", "d", [10, 100, 1000], [0.1, 0.3, 0.9], 100, "Said.", [(300, "at d = 300")])
    return bound_picture(curve, certificate=example_run().certificate_file)


def frontier():
    def point(bits, errors):
        return FrontierPoint(
            d=9, seed=0, step=0.1, code="gaussian", tried_as="plain", bits=bits, errors=errors, n=500, bound=0.3
        )

    points = tuple(point(bits, errors) for bits, errors in [(100, 90), (120, 95), (200, 60), (300, 50)])
    searched = Frontier(spec_sha256="a" * 64, points=points, chosen=2)
    iso = IsoBounds([90, 200, 310], [40, 70, 100], [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5]])
    return frontier_picture(searched, iso=iso)


def sizes():
    dimensions = example_run().dimensions
    points = [SizePoint("small", 1e6, dimensions[0]), SizePoint("large", 3e8, dimensions[1])]
    return sizes_picture(points, axis="D", correlation="no rank correlation")


PICTURES = {
    "accuracy": lambda: accuracy(band=BAND),
    "without trials": lambda: accuracy_picture(spec=example_run().spec, dimensions=example_run().dimensions),
    "bound": bound,
    "frontier": frontier,
    "ledger": lambda: ledger_picture([("a run", example_run().message.complexity)]),
    "ledgers": lambda: ledger_picture([(name, example_run().message.complexity) for name in "ab"]),
    "sizes": sizes,
}


@cache
def drawn(name, suffix="svg"):
    return render(PICTURES[name](), suffix=suffix)


@pytest.mark.parametrize(("name", "suffix"), [*((name, "svg") for name in PICTURES), ("accuracy", "pdf"), ("ledger", "pdf")])
def test_the_same_numbers_give_the_same_bytes_without_a_date(name, suffix):
    content = render(PICTURES[name](), suffix=suffix)
    assert content == drawn(name, suffix)
    assert not re.search(rb"<dc:date>|/CreationDate|/ModDate", content)
    assert len(content) < 150_000


def test_another_process_with_other_settings_gives_the_same_bytes(tmp_path):
    """Another hash seed, and a user's matplotlibrc that changes fonts and sizes."""
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 9\naxes.grid: True\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from test_figures import PICTURES; from idbounds.reporting.figures import write_picture\n"
        "for suffix in ('svg', 'pdf'): write_picture(Path('c.' + suffix), PICTURES['accuracy'](), suffix=suffix)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent)], cwd=tmp_path, check=True)
    for suffix in FORMATS:
        assert (tmp_path / f"c.{suffix}").read_bytes() == drawn("accuracy", suffix)


def test_drawing_leaves_the_users_matplotlib_alone():
    import matplotlib

    with matplotlib.rc_context({"font.size": 17.0}):
        before = dict(matplotlib.rcParams)
        render(accuracy(), suffix="svg")
        assert dict(matplotlib.rcParams) == before


def test_every_seed_is_a_point_at_its_accuracy():
    """Marks of the seed series, mapped back through the axis, are the stored accuracies."""
    svg = ElementTree.fromstring(drawn("accuracy"))
    line = next(group for group in svg.iter(f"{{{NAMES['s']}}}g") if len(group.findall(".//s:use", NAMES)) == 9)
    marks = [(float(use.get("x")), float(use.get("y"))) for use in line.findall(".//s:use", NAMES)]
    stored = [1 - k / 400 for d, ks in ERRORS.items() if d for k in ks]
    (low, y_low), (high, y_high) = ((stored[i], marks[i][1]) for i in (stored.index(min(stored)), stored.index(max(stored))))
    for (_, y), value in zip(marks, stored, strict=True):
        assert (y - y_low) / (y_high - y_low) == pytest.approx((value - low) / (high - low), abs=1e-4)
    assert len({x for x, _ in marks}) == 3


@pytest.mark.parametrize("name", PICTURES)
def test_figures_fit_a_column(name):
    """3.3 inches are 237.6 points; text as paths, so that no font is asked for."""
    root = ElementTree.fromstring(drawn(name))
    assert root.get("width") == "237.6pt"
    assert not root.findall(".//s:text", NAMES)


def test_printed_numbers_of_bounds_go_up():
    run = example_run(training_bound=0.27401, held_out_bound=0.15000001)
    curve = BoundCurve("bound", "The bound", "d", [1, 2], [0.1, 0.3], 1, "Said.")
    said = bound_picture(curve, certificate=run.certificate_file).description
    assert "This run: 27.5 %; held-out bound 15.1 %" in said


@pytest.mark.parametrize("name", ["$x_1$ \\frac{ a\x00b\u202ec\nd", "</svg><script>alert(1)</script>-->", "名" * 90])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_of_strangers_are_drawn_as_they_are(name):
    run = example_run()
    spec = run.spec.model_copy(update={"task": run.spec.task.model_copy(update={"name": name})})
    content = render(accuracy_picture(spec=spec, dimensions=run.dimensions), suffix="svg")
    ElementTree.fromstring(content)
    assert b"<script" not in content


def test_an_inline_figure_has_ids_of_its_own_and_nothing_that_is_loaded():
    content = drawn("accuracy")
    one, two = (ElementTree.fromstring(inline_svg(content, prefix=prefix, title='a "title" <&>')) for prefix in ("one", "two"))
    ids = {prefix: {element.get("id") for element in root.iter()} - {None} for prefix, root in (("one", one), ("two", two))}
    assert ids["one"]
    assert not ids["one"] & ids["two"]
    assert {element.tag for element in one.iter()} <= {"svg", "defs", "g", "path", "use", "clipPath", "rect"}
    used = [element.get("href") for element in one.iter("use")]
    clips = [element.get("clip-path") for element in one.iter() if element.get("clip-path")]
    assert used
    assert {name.removeprefix("#") for name in used} <= ids["one"]
    assert clips
    assert {clip[5:-1] for clip in clips} <= ids["one"]
    assert (one.get("role"), one.get("aria-label"), one.get("width")) == ("img", 'a "title" <&>', None)


def test_missing_matplotlib_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"matplotlib: pip install 'idbounds\[report\]'"):
        render(accuracy(), suffix="svg")


def test_unknown_formats_are_refused():
    with pytest.raises(ConfigError, match="unknown figure format 'png'; known formats: svg, pdf"):
        render(accuracy(), suffix="png")


def test_missing_trials_are_refused():
    run = example_run()
    with pytest.raises(ConfigError, match="missing"):
        accuracy_picture(spec=run.spec, dimensions=run.dimensions, trials=run.trials[:3])
