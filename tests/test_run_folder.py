"""Reading a run's folder as a stranger's: the committed results as they are, and refused once a file is another's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from idbounds.bounds import BOUNDS
from idbounds.bounds.evidence import DisagreementEvidence
from idbounds.core.errors import DataError, IdboundsError
from idbounds.core.frontier import Frontier, FrontierPoint
from idbounds.core.values import UncompressedCertificate
from idbounds.run_folder import read_run

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RUNS = sorted(path.parent for path in RESULTS.glob("*/certificate.json"))


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RESULTS / "mrpc", tmp_path / "mrpc")


def change(path, **fields):
    """Set fields of a JSON file; a name like training__value goes one level down."""
    data = json.loads(path.read_text())
    for name, value in fields.items():
        *sections, field = name.split("__")
        inner = data
        for section in sections:
            inner = inner[section]
        inner[field] = value
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_committed_results_are_read_whole(path):
    run = read_run(path)
    assert run.certificate_file is not None
    assert run.message is not None
    assert run.message.complexity == run.certificate_file.training.complexity
    assert [dimension.rule for dimension in run.dimensions] == ["paper", "chance_corrected"]
    assert run.uncompressed is None
    if run.frontier is not None:
        assert run.frontier.points[run.frontier.chosen].bound == run.certificate_file.training.value


def test_only_the_specification_must_be_there(folder):
    for path in folder.iterdir():
        if path.name != "spec.json":
            path.unlink()
    run = read_run(folder)
    assert (run.dimensions, run.certificate_file, run.message) == ((), None, None)
    with pytest.raises(DataError, match=r"no certificate.json; `idbounds certify"):
        _ = run.certified
    with pytest.raises(DataError, match=r"no message.idb"):
        _ = run.said


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        (
            "certificate.json",
            {"training__value": 0.35},
            r"the bound from the train part is 0\.35, its counts and bits give 0\.42",
        ),
        ("certificate.json", {"training__value": 0.47}, r"is 0\.47, its counts"),
        ("certificate.json", {"held_out__value": 0.2}, r"the bound from the test part is 0\.2"),
        ("certificate.json", {"majority_error": 0.5}, r"majority error 0\.5, the folder's own is 0\.316"),
        ("certificate.json", {"training__evidence__n": 4000}, r"counts on n = 4000, the folder's own is 3301"),
        ("certificate.json", {"training__delta": 0.1}, r"δ = 0\.1, the folder's own is 0\.05"),
        ("certificate.json", {"training__complexity__ledger": []}, "has the ledger"),
        ("certificate.json", {"spec_sha256": "0" * 64}, "is for the specification 000000000000…"),
        ("certificate.json", {"message_sha256": "0" * 64}, "is for the message 000000000000…"),
        ("certificate.json", {"training__family": "made_up"}, "'made_up' is not known"),
        ("spec.json", {"delta": 0.1}, "the message was written for spec"),
        ("d90.paper.json", {"majority_accuracy": 0.5}, r"majority accuracy 0\.5"),
        ("d90.paper.json", {"parametrization": "full"}, "is of the parametrization full, the folder's own is said"),
        ("d90.paper.json", {"rule": "absolute"}, "holds d90 under the rule absolute; was it renamed"),
        ("certificate.json", {"more": 1}, "more"),
    ],
)
def test_a_changed_file_is_refused_with_what_is_wrong(folder, file, fields, message):
    change(folder / file, **fields)
    with pytest.raises(IdboundsError, match=message):
        read_run(folder)


def frontier_of(run, *, chosen, **changes):
    evidence, bits = run.certificate_file.training.evidence, run.message.complexity.num_bits
    fields = {"errors": evidence.errors, "n": evidence.n, "bits": bits, "bound": run.certificate_file.training.value, **changes}
    point = FrontierPoint(d=run.message.d, seed=0, step=run.message.step, code=run.message.code, tried_as="coarser", **fields)
    return Frontier(spec_sha256=run.spec.sha256, points=(point,), chosen=chosen)


def test_a_frontier_is_read_with_its_run(folder):
    frontier_of(read_run(folder), chosen=0).write(folder / "frontier.json")
    assert len(read_run(folder).searched.value("points")) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bound": 0.4}, r"a bound in frontier.json is 0\.4, its counts and bits give 0\.42"),
        ({"n": 4000}, r"frontier.json counts on n = 4000, the training part has 3301"),
        ({"bits": 100.0}, r"chose a message of bits 100\.0, the folder's own is 97"),
    ],
)
def test_a_frontier_that_does_not_follow_is_refused(folder, changes, message):
    frontier_of(read_run(folder), chosen=0, **changes).write(folder / "frontier.json")
    with pytest.raises(DataError, match=message):
        read_run(folder)


def uncompressed_of(run, **changes):
    evidence = DisagreementEvidence(
        **run.certificate_file.training.evidence.model_dump(include={"errors", "n", "examples_sha256"}),
        disagreements=3,
        num_unlabelled=400,
    )
    bound = BOUNDS["disagreement"].certify_risk(evidence, run.message.complexity, delta=run.spec.delta)
    fields = {"certificate": bound, "message_sha256": run.message.file_sha256, "spec_sha256": run.spec.sha256, **changes}
    return UncompressedCertificate(
        vector_sha256="e" * 64, unlabelled="texts", unlabelled_sha256="f" * 64, duplicates_removed=0, delta_covers="", **fields
    )


def test_the_bound_before_compression_is_read_and_refused_where_it_does_not_follow(folder):
    run, path = read_run(folder), folder / "uncompressed.json"
    good = uncompressed_of(run)
    good.write(path)
    assert read_run(folder).before_compression.value("certificate.value") == good.certificate.value
    uncompressed_of(run, certificate=good.certificate.model_copy(update={"value": 0.2})).write(path)
    with pytest.raises(DataError, match=r"the bound before compression is 0\.2"):
        read_run(folder)
    uncompressed_of(run, message_sha256="0" * 64).write(path)
    with pytest.raises(DataError, match=r"uncompressed.json is for the message 000000000000…"):
        read_run(folder)


def test_a_message_of_another_run_is_refused(folder):
    shutil.copy(RESULTS / "sst2" / "message.idb", folder / "message.idb")
    with pytest.raises(IdboundsError):
        read_run(folder)


def test_a_folder_that_is_none_of_a_run_is_named(tmp_path):
    with pytest.raises(DataError, match=r"is no run's folder: it has no spec\.json"):
        read_run(tmp_path)


def test_no_torch_is_loaded():
    program = (
        "import sys; from pathlib import Path; from idbounds.run_folder import read_run; import idbounds.output_commands\n"
        "from idbounds.reporting.kinds import bounds_table; bounds_table([read_run(Path(sys.argv[1]))])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(RESULTS / "mrpc")], check=True)
