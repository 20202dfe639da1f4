"""docs/projections says what the code says, and the page for choosing lists every family."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from idbounds.projections import FAULTY, PRESETS, PROJECTIONS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")


def test_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_projection_pages.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_page_is_left_of_a_family_that_is_gone() -> None:
    assert {path.stem for path in (ROOT / "docs" / "projections").glob("*.md")} == {*PROJECTIONS, *FAULTY}


def test_the_page_for_choosing_links_every_family_and_names_every_preset() -> None:
    assert set(re.findall(r"\]\(projections/(\w+)\.md\)", PAGE)) == {*PROJECTIONS, *FAULTY}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)) >= set(PRESETS)


def test_the_quality_table_lists_every_random_family() -> None:
    """Fixed directions have no law to be judged by."""
    stored = (ROOT / "docs" / "results" / "projections" / "quality.csv").read_text(encoding="utf-8")
    listed = {line.split(",")[0].split()[0] for line in stored.splitlines() if not line.startswith("#")} - {"projection"}
    assert listed == set(PROJECTIONS) - {"identity", "basis"}
