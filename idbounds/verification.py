"""Check somebody's certificate: decode, rebuild, count again, recompute, compare number by number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from idbounds.certification import check_on
from idbounds.claims import Verification
from idbounds.comparison import require_same_parents
from idbounds.config import Config
from idbounds.core.run_files import SPEC_FILE
from idbounds.core.values import CertificateFile, RunSpec
from idbounds.folders import CERTIFICATE_FILE, MESSAGE_FILE, STOCHASTIC_FILE, UNCOMPRESSED_FILE, own_config, read_message
from idbounds.measurement.progress import Reporter
from idbounds.preparation import load
from idbounds.stochastic import verify_stochastic
from idbounds.uncompressed import verify_uncompressed


def verify(
    target: Path,
    *,
    message: Path | None = None,
    spec: Path | None = None,
    config: Config | None = None,
    unlabelled: Path | None = None,
    reporter: Reporter | None = None,
) -> Verification:
    """Recompute a certificate from its message, its specification, the model and the data.

    Args:
        target: a run's folder, or a certificate; then what is not given is looked for beside it. In a folder,
            uncompressed.json and stochastic.json are checked too where they are.
        message: the message, if not message.idb beside the certificate.
        spec: the specification, if not spec.json beside the certificate.
        config: where model and data lie on this machine, if not where the run's own config.json says.
        unlabelled: the file of inputs that uncompressed.json names, if it names one.
        reporter: is told of data and model.

    Raises:
        CorruptMessageError: the message was altered or belongs to another specification.
        DataError: a file is missing, or the data or the model are not those of the certificate.
        ConfigError: the specification's menu, or the configuration, is not one.
    """
    target = Path(target)
    folder, certificate = (target.parent, target) if target.is_file() else (target, target / CERTIFICATE_FILE)
    has_posterior = not target.is_file() and (folder / STOCHASTIC_FILE).exists()
    # First of all, so that a wrong target is named instead of what is missing beside it.
    claimed = CertificateFile.read(certificate) if certificate.exists() or not has_posterior else None
    declared = RunSpec.read(spec or folder / SPEC_FILE)
    if has_posterior and "message" not in declared.predictors:
        return _verify_stochastic_alone(folder, spec=declared, config=config, reporter=reporter)
    claimed = claimed or CertificateFile.read(certificate)
    content = read_message(message or folder / MESSAGE_FILE)
    run = load(_in(folder, config), reporter=reporter)
    outcome = check_on(run, spec=declared, content=content, claimed=claimed)
    under_spec = replace(run, spec=declared)
    if not target.is_file() and (folder / UNCOMPRESSED_FILE).exists():
        outcome = outcome.with_further(
            verify_uncompressed(folder, run=under_spec, content=content, unlabelled=unlabelled),
        )
    if has_posterior:
        outcome = outcome.with_further(verify_stochastic(folder, run=under_spec))
    return outcome


def _verify_stochastic_alone(folder: Path, *, spec: RunSpec, config: Config | None, reporter: Reporter | None) -> Verification:
    """Of a run that declares no message."""
    run = load(_in(folder, config), reporter=reporter)
    require_same_parents(claimed=spec, found=run.spec)
    return Verification(verify_stochastic(folder, run=replace(run, spec=spec)), supported=None)


def _in(folder: Path, config: Config | None) -> Config:
    """A configuration whose run lies in this folder, where a data prefix's numbers are looked for."""
    return (config or own_config(folder)).model_copy(update={"output": str(folder)})


def supported(message: Path, *, spec: Path, config: Config, reporter: Reporter | None = None) -> CertificateFile:
    """The certificate that a message supports on this machine, from the three things alone: message, specification, and data
    and model at the places that a configuration names. Where there is a data prefix, prefix.safetensors lies beside the
    specification. Writes nothing; raises as `verify` does.
    """
    declared, content = RunSpec.read(spec), read_message(message)
    outcome = check_on(load(_in(spec.parent, config), reporter=reporter), spec=declared, content=content, claimed=None)
    assert outcome.supported is not None, "a message was checked"
    return outcome.supported
