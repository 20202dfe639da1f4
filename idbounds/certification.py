"""From a message to a certificate: decode, count the decoded network's errors, and prove what the counts allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from idbounds.bounds import BOUNDS
from idbounds.codes import decode_message
from idbounds.core.records import write_atomically
from idbounds.core.values import CertificateFile, Complexity, Evidence, Message, RunSpec, Score, Task
from idbounds.measurement.batches import Data
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors
from idbounds.measurement.trials import SubspaceMaker
from idbounds.preparation import Run
from idbounds.provenance import provenance

MESSAGE_FILE, CERTIFICATE_FILE = "message.idb", "certificate.json"


def certify(run: Run, *, content: bytes) -> tuple[CertificateFile, Message]:
    """Decode a message, count the decoded network's errors, and certify what was counted."""
    certificate = certificate_of(content, make_subspace=run.make_subspace, data=run.data)
    write_atomically(run.folder / MESSAGE_FILE, content)
    certificate.write(run.folder / CERTIFICATE_FILE)
    return certificate, decode_message(content, spec=run.spec).message


def certificate_of(content: bytes, *, make_subspace: SubspaceMaker, data: Mapping[str, Data]) -> CertificateFile:
    """The certificate that a message's bytes support on this machine; writes nothing.

    Everything it needs beside the bytes was fixed before training: the specification, θ₀ and the data.
    """
    spec = make_subspace.spec
    decoded = decode_message(content, spec=spec)
    subspace = make_subspace(d=decoded.d, seed=decoded.seed)
    subspace.set_coordinates(torch.from_numpy(decoded.coefficients))
    counted, batch_size = task_by_name(spec.learning_task), spec.model.eval_batch_size
    scores = {part: count_errors(subspace, data[part], batch_size=batch_size, task=counted) for part in ("train", "test")}
    task = spec.task
    training = BOUNDS["occam_binomial"].certify(
        _evidence(task, "train", scores["train"]), decoded.message.complexity, delta=spec.delta
    )
    held_out = BOUNDS["test_set"].certify(_evidence(task, "test", scores["test"]), Complexity(ledger=()), delta=spec.delta)
    return CertificateFile(
        spec_sha256=spec.sha256,
        message_sha256=decoded.message.file_sha256,
        training=training.model_copy(update={"assumptions": (*training.assumptions, *_assumptions(spec))}),
        held_out=held_out,
        majority_error=task.test.majority_errors / task.test.n,
        versions=provenance(),
    )


def _evidence(task: Task, part: Literal["train", "test"], score: Score) -> Evidence:
    return Evidence(errors=score.errors, n=score.n, split=part, examples_sha256=getattr(task, part).sha256_of_examples)


def _assumptions(spec: RunSpec) -> tuple[str, ...]:
    """What the certificate rests on beside its theorem's assumptions, in words that a reader can check."""
    preparation, examples = ("its scaling of pixels", "images") if spec.model.images else ("its tokenizer", "texts")
    return (
        f"θ₀ ({spec.model.name}), {preparation}, the head's seed and the specification do not depend on the sample",
        f"the {len(spec.task.label_names)} class names were fixed beforehand, not read off the sample",
        f"overlap of the data with the model's pretraining: {spec.task.declared_overlap}",
        f"{spec.task.duplicates_removed} duplicate {examples} were removed before splitting; the n examples are distinct",
        "the predictor is the decoded network in eval mode, a function of one input; a tie counts as an error",
    )
