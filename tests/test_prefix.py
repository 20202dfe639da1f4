"""A data prefix: θ₀ trained on a first part of the sample, certified on the rest alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_folders import configuration

import idbounds
from idbounds.bounds import BOUNDS
from idbounds.certification import opened
from idbounds.config import load_config
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.values import CertificateFile, RunSpec
from idbounds.loading import load_splits
from idbounds.measurement.data import make_splits
from idbounds.measurement.models import fingerprint
from idbounds.measurement.training import count_errors
from idbounds.preparation import load, prepare
from idbounds.verification import supported, verify

PREFIX = "prefix_fraction = 0.25"
TRAINED = "[prefix]\ndim = 30\nlearning_rate = 8.0\nsteps = {}\n"


def prefixed(folder, *, data=PREFIX, steps=20):
    path = configuration(folder, data=data)
    path.write_text(path.read_text() + TRAINED.format(steps))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = prefixed(tmp_path_factory.mktemp("prefix"))
    return path, idbounds.run(load_config(path))


@pytest.fixture(scope="module")
def folder(finished):
    return finished[0].parent / "out"


def test_the_certificate_is_on_the_rest_alone_and_says_so(finished, folder):
    path, result = finished
    splits, _ = load_splits(load_config(path).data)
    assert (len(splits.prefix), len(splits.train)) == (54, 162)
    certificate = result.certificate
    assert certificate.training.evidence.n == 162
    assert certificate.training.evidence.examples_sha256 == splits.train.describe(majority_label=0).sha256_of_examples
    assert result.spec.prefix.setting.n == 54
    words = " ".join(certificate.training.assumptions)
    assert "θ₀ was trained on 54 further examples of it (a data prefix), which are not among the 162 counted" in words
    assert "the bound on θ₀ without a message" in certificate.delta_covers


def test_no_example_is_in_two_parts(finished, tmp_path):
    splits, _ = load_splits(load_config(finished[0]).data)
    whole, _ = load_splits(load_config(configuration(tmp_path)).data)
    parts = [getattr(splits, part).images for part in ("prefix", "train", "validation", "test")]
    images = [image.tobytes() for part in parts for image in part]
    assert len(images) == len(set(images)) == len(whole.train) + len(whole.validation) + len(whole.test)
    assert {image.tobytes() for part in parts[:2] for image in part} == {image.tobytes() for image in whole.train.images}


def test_theta_0_is_moved_by_the_file_and_hashed_as_moved(finished, folder, tmp_path):
    result, run = finished[1], opened(folder)
    assert fingerprint(run.pretrained.model) == result.spec.model.theta0_sha256
    plain = load(load_config(configuration(tmp_path))).pretrained
    prefix = result.spec.prefix
    assert plain.spec.theta0_sha256 == prefix.setting.pretrained_sha256 != result.spec.model.theta0_sha256
    assert all(one.requires_grad for one in run.pretrained.model.parameters())
    subspace = idbounds.Subspace(plain.model, dim=30, seed=0)
    subspace.set_coordinates(safetensors.torch.load_file(folder / "prefix.safetensors")["w_0"])
    assert fingerprint(subspace.merge()) == result.spec.model.theta0_sha256


def test_beside_it_stands_the_bound_on_theta_0_alone(folder, finished):
    run, certificate = opened(folder), finished[1].certificate
    alone = certificate.without_message
    task = idbounds.measurement.tasks.task_by_name(run.spec.learning_task)
    counted = count_errors(run.pretrained.model, run.data["train"], batch_size=1000, task=task)
    assert (alone.evidence.errors, alone.evidence.n) == (counted.errors, 162)
    assert alone.complexity.num_bits == 0
    # No choice was made on the rest: it is a held-out bound.
    held_out = BOUNDS["test_set"].value(errors=counted.errors, n=162, delta=run.spec.delta)
    assert alone.value == pytest.approx(float(held_out), rel=1e-9)
    assert "training set, θ₀ alone" in (folder / "certificate.md").read_text()


def test_it_is_verified_in_a_fresh_process_from_elsewhere(folder, tmp_path):
    command = [sys.executable, "-m", "idbounds", "verify", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "verified: every number agrees" in outcome.stdout
    assert "without message" in outcome.stdout


def test_three_files_and_the_prefix_beside_them_are_enough(folder, finished, tmp_path):
    for name in ("spec.json", "message.idb", "prefix.safetensors"):
        shutil.copy(folder / name, tmp_path / name)
    config = load_config(finished[0])
    found = supported(tmp_path / "message.idb", spec=tmp_path / "spec.json", config=config)
    assert found.training == finished[1].certificate.training
    (tmp_path / "prefix.safetensors").unlink()
    with pytest.raises(DataError, match=r"the 30 numbers by which θ₀ was moved on the prefix; get it"):
        supported(tmp_path / "message.idb", spec=tmp_path / "spec.json", config=config)


def altered(content):
    tensors = safetensors.torch.load(content)
    return safetensors.torch.save({"w_0": tensors["w_0"] + 1e-3})


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (altered, r"prefix.file_sha256 is|theta0_sha256 is"),
        (lambda content: safetensors.torch.save({"w_0": torch.full((30,), torch.nan)}), "must hold 'w_0', 30 finite numbers"),
        (lambda content: safetensors.torch.save({"w_0": torch.zeros(29)}), "must hold 'w_0', 30 finite numbers"),
        (lambda content: safetensors.torch.save({"other": torch.zeros(30)}), "must hold 'w_0', 30 finite numbers"),
        (lambda content: b"\xff" * 100, "cannot be read as safetensors"),
        (lambda content: b"", "cannot be read as safetensors"),
        (lambda content: content + bytes(10_000), "at most .* are read here"),
    ],
)
def test_another_file_is_refused(folder, tmp_path, alter, message):
    copied = shutil.copytree(folder, tmp_path / "run")
    path = copied / "prefix.safetensors"
    path.write_bytes(alter(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        verify(copied)


def test_a_prefix_that_is_kept_secret_or_made_up_is_refused(folder, finished, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "run")
    for data in ("", "prefix_fraction = 0.5"):
        config = load_config(prefixed(tmp_path, data=data))
        with pytest.raises(DataError, match=r"(prefix|task)\.\w+ is .* here, the certificate was made with"):
            verify(copied, config=config)
    certificate = CertificateFile.read(copied / "certificate.json")
    alone = certificate.without_message
    for forged in (alone.model_copy(update={"value": alone.value / 2}), certificate.held_out):
        certificate.model_copy(update={"without_message": forged}).write(copied / "certificate.json")
        wrong = {one.what for one in verify(copied).comparisons if not one.agrees}
        assert wrong
        assert all(what.startswith("without message") for what in wrong)


def test_the_prefix_is_trained_once_and_only_where_its_setting_is_the_same(folder, finished, tmp_path):
    copied = shutil.copytree(folder.parent, tmp_path / "all")
    before = (copied / "out" / "prefix.safetensors").stat().st_mtime_ns
    assert prepare(load_config(copied / "stripes.toml")).spec == finished[1].spec
    assert (copied / "out" / "prefix.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="was trained by another configuration"):
        prepare(load_config(prefixed(copied, steps=21)))


def test_specifications_without_a_prefix_keep_their_hash(tmp_path):
    spec = load(load_config(configuration(tmp_path))).spec
    assert spec.prefix is None
    assert "prefix" not in spec.to_dict()
    assert RunSpec.from_dict(spec.to_dict()) == spec


@given(fraction=st.floats(0.05, 0.8), seed=st.integers(0, 5))
def test_prefix_and_rest_share_no_text_and_are_fixed_by_the_seed(fraction, seed):
    rows = [((f"text {i % 90}",), str(i % 2)) for i in range(120)]  # thirty of them twice
    splits = make_splits(rows, seed=seed)
    cut, again = (splits.with_prefix(fraction, seed=seed) for _ in range(2))
    texts = [text for part in (cut.prefix, cut.train, cut.validation, cut.test) for text in part.texts]
    assert len(texts) == len(set(texts)) == 90
    assert cut.prefix.texts == again.prefix.texts
    assert len(cut.prefix) == round(fraction * len(splits.train))
    assert np.array_equal(np.sort(np.concatenate([cut.prefix.labels, cut.train.labels])), np.sort(splits.train.labels))


def test_a_fraction_that_leaves_nothing_is_refused():
    splits = make_splits([((f"text {i}",), str(i % 2)) for i in range(20)], seed=0)
    with pytest.raises(DataError, match="choose another fraction"):
        splits.with_prefix(0.01, seed=0)
    with pytest.raises(DataError, match="has no training example"):
        splits.with_prefix(0.92, seed=0)
