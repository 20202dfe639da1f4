from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from example_run import ERRORS, example_run

from idbounds.core.errors import ConfigError
from idbounds.reporting import plot_accuracy


def draw(path):
    run = example_run()
    return plot_accuracy(path, spec=run.spec, dimensions=run.dimensions, trials=run.trials)


def test_the_same_records_give_the_same_bytes(tmp_path):
    first, second = draw(tmp_path / "a.svg").read_bytes(), draw(tmp_path / "b.svg").read_bytes()
    assert first == second
    assert b"<dc:date>" not in first


def test_another_process_with_other_settings_gives_the_same_bytes(tmp_path):
    """Another hash seed, and a user's matplotlibrc that changes fonts and sizes."""
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 9\naxes.grid: True\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from test_plots import draw; draw(Path('c.svg'))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent)], cwd=tmp_path, check=True)
    assert (tmp_path / "c.svg").read_bytes() == draw(tmp_path / "a.svg").read_bytes()


def test_drawing_leaves_the_users_matplotlib_alone(tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 17.0}):
        before = dict(matplotlib.rcParams)
        draw(tmp_path / "a.svg")
        assert dict(matplotlib.rcParams) == before


def test_every_seed_is_a_point_at_its_accuracy(tmp_path):
    """Marks of the seed series, mapped back through the axis, are the stored accuracies."""
    svg = ElementTree.parse(draw(tmp_path / "a.svg")).getroot()
    names = {"s": "http://www.w3.org/2000/svg", "x": "http://www.w3.org/1999/xlink"}
    line = next(group for group in svg.iter(f"{{{names['s']}}}g") if len(group.findall(".//s:use", names)) == 9)
    marks = [(float(use.get("x")), float(use.get("y"))) for use in line.findall(".//s:use", names)]
    stored = [1 - k / 400 for d, ks in ERRORS.items() if d for k in ks]
    (low, y_low), (high, y_high) = ((stored[i], marks[i][1]) for i in (stored.index(min(stored)), stored.index(max(stored))))
    for (_, y), accuracy in zip(marks, stored, strict=True):
        assert (y - y_low) / (y_high - y_low) == pytest.approx((accuracy - low) / (high - low), abs=1e-4)
    assert len({x for x, _ in marks}) == 3


def test_missing_matplotlib_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"matplotlib: pip install 'idbounds\[report\]'"):
        draw(tmp_path / "a.svg")


def test_missing_trials_are_refused(tmp_path):
    run = example_run()
    with pytest.raises(ConfigError, match="missing"):
        plot_accuracy(tmp_path / "a.svg", spec=run.spec, dimensions=run.dimensions, trials=[])
