"""The search for the smallest bound, on real trials of a small image classifier."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from image_folders import configuration
from typer.testing import CliRunner

import idbounds
from idbounds import pipeline
from idbounds.candidates import bound_of
from idbounds.certification import certify, opened
from idbounds.cli import app
from idbounds.codes import decode_message, encode_message
from idbounds.compression import compress, price_of_a_bit
from idbounds.config import CompressionSection, load_config
from idbounds.core.errors import ConfigError
from idbounds.core.frontier import Frontier
from idbounds.core.values import CertificateFile, RunSpec
from idbounds.measurement.progress import Silent

CANDIDATES = 5


class Listener(Silent):
    """Counts candidates that are trained; presses Ctrl-C in a chosen one."""

    def __init__(self, *, interrupt_in: int | None = None) -> None:
        self.begun, self.said, self._interrupt_in = [], [], interrupt_in

    def begin(self, *, label, d, seed):
        self.begun.append((label, d, seed))

    def step(self, *, step, steps, loss, advance=1):
        if len(self.begun) == self._interrupt_in and step == 2:
            raise KeyboardInterrupt

    def say(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder with trials and no message."""
    folder = tmp_path_factory.mktemp("measured")
    pipeline.measure(pipeline.prepare(load_config(configuration(folder))))
    return folder


@pytest.fixture(scope="module")
def finished(measured, tmp_path_factory):
    """The same, searched."""
    folder = shutil.copytree(measured, tmp_path_factory.mktemp("finished") / "run")
    search(folder, Listener())
    return folder / "out"


def search(folder: Path, listener: Listener, *, candidates: int = CANDIDATES, **options) -> pipeline.Result:
    run = opened(folder / "out", config=load_config(folder / "stripes.toml"), reporter=listener)
    return pipeline.compress_run(run, options=CompressionSection(candidates=candidates, **options))


def frontier_of(folder: Path) -> Frontier:
    return Frontier.read(folder / "frontier.json")


def test_the_chosen_point_is_what_the_certificate_says(finished):
    frontier, certificate = frontier_of(finished), CertificateFile.read(finished / "certificate.json")
    chosen, spec = frontier.points[frontier.chosen], RunSpec.read(finished / "spec.json")
    decoded = decode_message((finished / "message.idb").read_bytes(), spec=spec)
    training = certificate.training
    assert (chosen.d, chosen.seed, chosen.step) == (decoded.d, decoded.seed, decoded.step)
    assert chosen.bits == decoded.message.complexity.num_bits == training.complexity.num_bits
    assert (chosen.errors, chosen.n, chosen.bound) == (training.evidence.errors, training.evidence.n, training.value)
    assert frontier.spec_sha256 == spec.sha256
    assert idbounds.verify(finished).agrees


def test_no_point_has_a_smaller_bound_and_each_bound_follows_from_its_counts(finished):
    frontier, spec = frontier_of(finished), RunSpec.read(finished / "spec.json")
    assert 1 < len(frontier.points) <= CANDIDATES
    assert all(point.bound == bound_of(spec, errors=point.errors, bits=point.bits) for point in frontier.points)
    assert min(point.bound for point in frontier.points) == frontier.points[frontier.chosen].bound
    assert [point.bits for point in frontier.points] == sorted(point.bits for point in frontier.points)


def test_where_the_price_is_to_show_training_goes_on_before_rounding(finished, tmp_path):
    folder = shutil.copytree(finished.parent, tmp_path / "run")
    search(folder, Listener(), candidates=3 * CANDIDATES)
    with sqlite3.connect(folder / "out" / "trials.sqlite") as store:
        keys = [json.loads(body)["key"] for (body,) in store.execute("SELECT record FROM candidates")]
    free = {key.get("free_steps", 0) / key["steps"] for key in keys}
    assert free == {0, 3}
    assert all("free_steps" not in key for key in keys if not key.get("free_steps"))


def test_trials_of_several_d_are_tried(finished):
    assert {point.d for point in frontier_of(finished).points} == {20, 60}


def test_a_second_call_trains_nothing_and_gives_the_same(finished, measured, tmp_path):
    again = shutil.copytree(finished.parent, tmp_path / "again")
    listener, before = Listener(), (again / "out" / "frontier.json").read_bytes()
    search(again, listener)
    assert listener.begun == []
    assert (again / "out" / "frontier.json").read_bytes() == before


def test_a_search_that_was_stopped_goes_on_and_ends_the_same(finished, measured, tmp_path):
    folder = shutil.copytree(measured, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        search(folder, Listener(interrupt_in=3))
    listener = Listener()
    search(folder, listener)
    assert len(listener.begun) == CANDIDATES - 2
    for name in ("message.idb", "frontier.json"):
        assert (folder / "out" / name).read_bytes() == (finished / name).read_bytes()


def test_a_larger_budget_goes_on_from_there_and_is_no_worse(finished, tmp_path):
    folder, listener = shutil.copytree(finished.parent, tmp_path / "run"), Listener()
    before = CertificateFile.read(folder / "out" / "certificate.json").training.value
    result = search(folder, listener, candidates=CANDIDATES + 2)
    assert len(listener.begun) == 2
    assert result.certificate.training.value <= before


def test_after_its_minutes_no_further_candidate_is_begun(measured, tmp_path):
    folder, listener = shutil.copytree(measured, tmp_path / "run"), Listener()
    search(folder, listener, minutes=1e-6)
    assert len(listener.begun) == 1


def test_a_better_message_that_was_there_is_kept(finished, tmp_path, monkeypatch):
    """The one candidate of the second search starts so coarse that it says next to nothing."""
    monkeypatch.setattr("idbounds.compression._STEP_IN_DEVIATIONS", 16.0)
    folder = shutil.copytree(finished.parent, tmp_path / "run")
    listener = Listener()
    content = (folder / "out" / "message.idb").read_bytes()
    result = search(folder, listener, candidates=1, steps=1)
    assert (folder / "out" / "message.idb").read_bytes() == content
    assert result.frontier.points[result.frontier.chosen].tried_as == "the message before"
    assert any("the message that was there is kept" in text for text in listener.said)


def test_a_worse_message_that_was_there_is_replaced(finished, tmp_path):
    folder = shutil.copytree(finished.parent, tmp_path / "run") / "out"
    run = opened(folder, config=load_config(folder.parent / "stripes.toml"))
    zeros = encode_message(quantized=[0] * 60, step_index=0, d=60, seed=0, spec=run.spec)
    certify(run, content=zeros)
    result = search(folder.parent, Listener())
    assert "the message before" in {point.tried_as for point in result.frontier.points}
    assert (folder / "message.idb").read_bytes() == (finished / "message.idb").read_bytes()


def test_no_finished_trial_is_named(measured, tmp_path):
    folder = shutil.copytree(measured, tmp_path / "run")
    run = opened(folder / "out", config=load_config(folder / "stripes.toml"))
    with pytest.raises(ConfigError, match="no subspace trial finished, so there is nothing to certify: none was run"):
        compress(run, trials=[])


@pytest.mark.parametrize(("errors", "bits"), [(0, 50.0), (20, 100.0), (100, 300.0), (216, 10.0), (50, 1e6)])
def test_the_price_of_a_bit_is_positive_and_what_the_bound_says(finished, errors, bits):
    spec = RunSpec.read(finished / "spec.json")
    price = price_of_a_bit(spec, errors=errors, bits=bits, loss=0.5)
    assert 0 < price < 1
    if (errors, bits) == (20, 100.0):
        # As many fewer errors as the price says pay for ten more bits, to a tenth.
        risk = 10 * price / 0.5 * (errors / spec.task.train.n)
        fewer = bound_of(spec, errors=round(errors - 10), bits=bits + 10 * 10 / (risk * spec.task.train.n))
        assert fewer == pytest.approx(bound_of(spec, errors=errors, bits=bits), rel=0.1)


def test_the_command_prints_frontier_ledger_and_bound(finished, tmp_path):
    folder = shutil.copytree(finished.parent, tmp_path / "run") / "out"
    outcome = CliRunner().invoke(app, ["compress", str(folder), "--candidates", str(CANDIDATES)])
    assert outcome.exit_code == 0, outcome.output
    for text in ("chosen", "messages were tried", "coefficients", "training set", f"idbounds verify {folder}"):
        assert text in outcome.output
