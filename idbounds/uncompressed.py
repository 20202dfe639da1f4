"""A bound on the network before compression, from how rarely the decoded one differs from it on inputs without labels.

f errs only where the decoded h errs or where f and h differ. The first part is bounded from h's message and its training
errors at δ/2, the second from the differences on inputs that neither network was chosen by, at δ/2. Neither f's length nor D
enters.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from idbounds.bounds import BOUNDS
from idbounds.bounds.evidence import DisagreementEvidence
from idbounds.certification import network_at
from idbounds.claims import assumptions_of, decode_bounded
from idbounds.codes import DecodedMessage
from idbounds.comparison import Comparison
from idbounds.core.errors import ConfigError, DataError, UnsupportedEvidenceError
from idbounds.core.json_file import read_bounded
from idbounds.core.values import UncompressedCertificate
from idbounds.folders import CERTIFICATE_FILE, MESSAGE_FILE, UNCOMPRESSED_FILE, read_message
from idbounds.loading import load_splits
from idbounds.measurement.batch_statistics import require_single_inputs
from idbounds.measurement.batches import Data
from idbounds.measurement.data import LabelledText, raw_examples, read_table
from idbounds.measurement.keys import Keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.tasks.base import wrong
from idbounds.measurement.tasks.classification import Classification
from idbounds.measurement.training import count_errors
from idbounds.preparation import Run

_DELTA_COVERS = (
    "δ/2 for the draw of the training part: that the decoded network's bound fails for any message at all; δ/2 for the draw of "
    "the unlabelled inputs: that the bound on how often these two networks differ fails; by the union bound the sum of both "
    "bounds fails with probability at most δ. A statement of its own: together with another one the δs add up"
)
_ASSUMPTIONS = (
    "the uncompressed network was chosen by the training and the validation part alone",
    "the networks agree on an input if both have one largest logit, all logits finite, and of the same class",
)
_TEST_PART = "inputs of the test part, labels unused"
#: The header of a safetensors file with one tensor, generously, and the bytes of a coordinate in the widest type.
_HEADER, _WIDEST = 4096, 8


@dataclass(frozen=True)
class Unlabelled:
    """Inputs on which the networks are compared, where they are from, and how many were left out."""

    data: Data
    described: str
    sha256: str
    duplicates_removed: int


def certify_uncompressed(run: Run, *, unlabelled: Path | None = None) -> tuple[UncompressedCertificate, Path]:
    """Bound the trial that the run's message was made from: the finished one of its d and seed, best on validation.

    Args:
        run: `opened`, with its message in its folder and its trials in its store.
        unlabelled: a table with the text columns of the configuration; without it, the inputs of the test part are used.

    Returns the certificate and where it was written.

    Raises:
        UnsupportedEvidenceError: the test part had a say in which network it is, or the task has no single class to compare.
        DataError: there is no such trial, or no input is left.
    """
    decoded = decode_bounded(read_message(run.folder / MESSAGE_FILE), spec=run.spec)
    inputs = _unlabelled(run, unlabelled)
    certificate = _certificate(run, decoded, digest=_vector_of_the_trial(run, decoded), inputs=inputs)
    return certificate, certificate.write(run.folder / UNCOMPRESSED_FILE)


def verify_uncompressed(folder: Path, *, run: Run, content: bytes, unlabelled: Path | None = None) -> tuple[Comparison, ...]:
    """Compare `uncompressed.json` in a folder with what this machine counts, number by number.

    `run` is on this machine's model and data and under the folder's specification. Raises as `certify_uncompressed`, and
    DataError where the vector or the file of inputs is not here: nothing is passed over in silence.
    """
    claimed = UncompressedCertificate.read(Path(folder) / UNCOMPRESSED_FILE)
    if unlabelled is None and claimed.unlabelled != _TEST_PART:
        raise DataError(f"{UNCOMPRESSED_FILE} was made with {claimed.unlabelled!r}; give it by --unlabelled")
    inputs = _unlabelled(run, None if claimed.unlabelled == _TEST_PART else unlabelled)
    decoded = decode_bounded(content, spec=run.spec)
    found = _certificate(run, decoded, digest=claimed.vector_sha256, inputs=inputs)
    one, two = claimed.certificate, found.certificate
    pairs: dict[str, tuple[object, object]] = {
        **{name: (one.evidence.get(name), two.evidence[name]) for name in DisagreementEvidence.model_fields},
        "bits": (one.complexity.num_bits, two.complexity.num_bits),
        "delta": (one.delta, two.delta),
        "bound": (one.value, two.value),
        "theorem, assumptions, hashes": (claimed.sha256, found.sha256),
    }
    return tuple(Comparison(f"uncompressed {name}", *pair) for name, pair in pairs.items())


def _certificate(run: Run, decoded: DecodedMessage, *, digest: str, inputs: Unlabelled) -> UncompressedCertificate:
    spec, batch_size = run.spec, run.spec.model.eval_batch_size
    task = task_by_name(spec.learning_task)
    if not isinstance(task, Classification):
        raise UnsupportedEvidenceError(f"task {spec.learning_task!r} has no one class for each input, so nothing to compare")
    network = network_at(decoded, make_subspace=run.make_subspace)
    errors = count_errors(network, run.data["train"], batch_size=batch_size, task=task)
    compressed = predictions(network, inputs.data, batch_size=batch_size, task=task)
    network.set_coordinates(_vector(run, digest, d=decoded.d))
    original = predictions(network, inputs.data, batch_size=batch_size, task=task)
    bound = BOUNDS["disagreement"].certify_risk(
        DisagreementEvidence(
            errors=errors.errors,
            n=errors.n,
            disagreements=disagreements(compressed, original),
            num_unlabelled=len(inputs.data),
            examples_sha256=spec.task.train.sha256_of_examples,
        ),
        decoded.message.complexity,
        delta=spec.delta,
    )
    return UncompressedCertificate(
        spec_sha256=spec.sha256,
        message_sha256=decoded.message.file_sha256,
        vector_sha256=digest,
        unlabelled=inputs.described,
        unlabelled_sha256=inputs.sha256,
        duplicates_removed=inputs.duplicates_removed,
        certificate=bound.model_copy(update={"assumptions": (*bound.assumptions, *assumptions_of(spec), *_ASSUMPTIONS)}),
        delta_covers=_DELTA_COVERS,
    )


@torch.no_grad()
def predictions(model: nn.Module, data: Data, *, batch_size: int, task: Classification) -> Tensor:
    """The class of each input in the order of its evaluation batches, (n,) int64; -1 where no class's logit is the one largest.

    In eval mode and pinned batches, as errors are counted: a class c here is what `count_errors` calls right for label c.
    """
    model.eval()
    require_single_inputs(model)
    device = next(model.parameters()).device
    classes = []
    with parametrize.cached():
        for indices in data.evaluation_batches(batch_size):
            logits = task.logits(model, data.batch(indices).to(device))
            largest = logits.argmax(-1)
            classes.append(torch.where(wrong(logits, largest), -1, largest).cpu())
    return torch.cat(classes)


def disagreements(one: Tensor, other: Tensor) -> int:
    """On how many inputs two predictors may not both be right, whatever the label: other classes, or none."""
    return int(((one != other) | (one < 0) | (other < 0)).sum())


def _vector_of_the_trial(run: Run, decoded: DecodedMessage) -> str:
    keys = Keys(run.spec)
    if not (run.store / "trials.sqlite").exists():
        raise DataError(f"there are no trials in {run.store}; the uncompressed network is one of the run's own")
    with TrialStore(run.store) as store:
        trials = [one for one in store.trials() if keys.belongs(one.key)]
    finished = [
        (trial.validation.errors, trial.key.learning_rate, trial.vector_sha256)
        for trial in trials
        if (trial.key.d, trial.key.seed) == (decoded.d, decoded.seed) and trial.validation and trial.vector_sha256
    ]
    if not finished:
        raise DataError(f"no finished trial in {run.store} has d = {decoded.d} and seed {decoded.seed}, as the message has")
    return min(finished)[-1]


def _vector(run: Run, digest: str, *, d: int) -> Tensor:
    """The d numbers of this hash; TrialStore is not asked, because it would make a store in a folder that is only looked at."""
    path = run.store / "vectors" / f"{digest}.safetensors"
    if not path.exists():
        raise DataError(
            f"no such file: {path}, the uncompressed network's {d} numbers; get it, or check the certificate alone: "
            f"idbounds verify {run.folder / CERTIFICATE_FILE}"
        )
    content = read_bounded(path, most_bytes=_HEADER + _WIDEST * d)
    try:
        vector = safetensors.torch.load(content)["theta_d"]
    except (safetensors.SafetensorError, KeyError):
        vector = torch.empty(0)
    if hashlib.sha256(content).hexdigest() != digest or vector.shape != (d,) or not bool(torch.isfinite(vector).all()):
        raise DataError(f"{path} does not hold the {d} numbers of that hash; get an unaltered copy")
    return vector


def _unlabelled(run: Run, path: Path | None) -> Unlabelled:
    if path is not None:
        return _from_file(run, path)
    if run.config.measurement.search:
        raise UnsupportedEvidenceError(
            "disagreement does not apply to the test part: the search looked at it to choose d, so that the networks depend on "
            "it; give other inputs by --unlabelled"
        )
    return Unlabelled(run.data["test"], _TEST_PART, run.spec.task.test.sha256_of_examples, 0)


def _from_file(run: Run, path: Path) -> Unlabelled:
    """The texts of a table, without those that occur twice or among the examples that the networks were chosen by."""
    columns = run.config.data.text_columns
    splits, _ = load_splits(run.config.data)
    known = [part for part in (splits.train, splits.validation, splits.prefix) if isinstance(part, LabelledText)]
    if not isinstance(splits.train, LabelledText):
        raise ConfigError(f"--unlabelled takes a table of texts and the data are images: leave {path} out to use the test part")
    # raw_examples wants a label: any column will do.
    rows = [
        texts for texts, _ in raw_examples(read_table(path), text_columns=columns, label_column=columns[0], where=str(path))
    ]
    seen = {_folded(texts) for part in known for texts in part.texts}
    fresh = []
    for texts in rows:
        if _folded(texts) not in seen:
            seen.add(_folded(texts))
            fresh.append(texts)
    if not fresh:
        raise DataError(f"{path} has no text that the networks were not trained on or chosen by; give other ones")
    inputs = LabelledText(tuple(fresh), np.zeros(len(fresh), dtype=np.int64))
    digest = inputs.describe(majority_label=0).sha256_of_examples
    return Unlabelled(run.pretrained.encode(inputs), f"texts of {path.name}", digest, len(rows) - len(fresh))


def _folded(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in texts)
