"""From a message to a certificate: decode, count the decoded network's errors, and prove what the counts allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from idbounds.claims import Counted, Verification, certificate_from, check, decode_bounded
from idbounds.codes import DecodedMessage
from idbounds.comparison import require_same_parents
from idbounds.config import Config
from idbounds.core.records import write_atomically
from idbounds.core.run_files import SPEC_FILE
from idbounds.core.values import CertificateFile, Evaluation, Message, RunSpec
from idbounds.folders import CERTIFICATE_FILE, MESSAGE_FILE, certificate_path, own_config, read_message
from idbounds.measurement.batches import Data
from idbounds.measurement.progress import Reporter
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import count_errors
from idbounds.measurement.trials import SubspaceMaker
from idbounds.preparation import Run, load
from idbounds.provenance import provenance


def certify(run: Run, *, content: bytes) -> tuple[CertificateFile, Message]:
    """Decode a message, count the decoded network's errors, and certify what was counted."""
    certificate, message = _certificate(run, content)
    write_atomically(run.folder / MESSAGE_FILE, content)
    certificate.write(run.folder / CERTIFICATE_FILE)
    return certificate, message


def certify_file(run: Run, *, message: Path | None = None) -> tuple[CertificateFile, Path]:
    """Certify the message that lies in a run's folder, or another one under its specification; trains nothing.

    Returns the certificate and where it was written, which is beside the message. Raises as `verify` does.
    """
    source = run.folder / MESSAGE_FILE if message is None else Path(message)
    certificate, _ = _certificate(run, read_message(source))
    return certificate, certificate.write(certificate_path(source))


def opened(folder: Path, *, config: Config | None = None, reporter: Reporter | None = None) -> Run:
    """A run that was made before, with model and data loaded and under its own specification; writes nothing.

    Args:
        folder: holds spec.json, and config.json unless `config` is given.
        config: where model and data lie on this machine.
        reporter: is told of data and model.

    Raises DataError if model or data are not those of the specification.
    """
    spec = RunSpec.read(Path(folder) / SPEC_FILE)
    here = config or own_config(folder)
    run = load(here.model_copy(update={"output": str(folder)}), reporter=reporter)
    require_same_parents(claimed=spec, found=run.spec)
    return replace(run, spec=spec)


def _certificate(run: Run, content: bytes) -> tuple[CertificateFile, Message]:
    decoded = decode_bounded(content, spec=run.spec)
    counted = count(decoded, make_subspace=run.make_subspace, data=run.data)
    return certificate_from(decoded, spec=run.spec, counted=counted, versions=provenance()), decoded.message


def check_on(run: Run, *, spec: RunSpec, content: bytes, claimed: CertificateFile | None) -> Verification:
    """`check` with the model and the data of a run that was loaded on this machine."""
    make_subspace = replace(run, spec=spec).make_subspace
    return check(
        claimed,
        spec=spec,
        here=run.spec,
        content=content,
        count=partial(count, make_subspace=make_subspace, data=run.data),
        versions=provenance(),
    )


def count(decoded: DecodedMessage, *, make_subspace: SubspaceMaker, data: Mapping[str, Data]) -> Counted:
    """Errors of the decoded network on the training and the test part."""
    spec = make_subspace.spec
    subspace = network_at(decoded, make_subspace=make_subspace)
    task, batch_size = task_by_name(spec.learning_task), spec.model.eval_batch_size
    train, test = (count_errors(subspace, data[part], batch_size=batch_size, task=task) for part in ("train", "test"))
    without_message = None
    if spec.prefix is not None:
        without_message = count_errors(make_subspace.model, data["train"], batch_size=batch_size, task=task)
    evaluation = Evaluation(
        device=subspace.theta_d.device.type,
        dtype=spec.model.dtype,
        batch_size=batch_size,
        threads=torch.get_num_threads(),
    )
    return Counted(train=train, test=test, evaluation=evaluation, without_message=without_message)


def network_at(decoded: DecodedMessage, *, make_subspace: SubspaceMaker) -> Subspace:
    """The network that a message decodes to."""
    subspace = make_subspace(d=decoded.d, seed=decoded.seed)
    subspace.set_coordinates(torch.from_numpy(decoded.coefficients))
    return subspace
