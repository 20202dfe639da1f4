"""posterior.safetensors: μ and ln σ of a Gaussian posterior, read as a stranger's. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from idbounds.core.errors import DataError
from idbounds.core.json_file import read_bounded
from idbounds.core.run_files import POSTERIOR_FILE, STOCHASTIC_FILE
from idbounds.core.stochastic import StochasticCertificate
from idbounds.core.values import RunSpec
from idbounds.stochastic_claims import Posterior, Vector

#: ln σ of a posterior that can be drawn from: e^±80 is within float32's normal numbers, and so is its square in float64.
_LARGEST_LOG_SIGMA = 80.0

#: The header of a safetensors file with two tensors, generously, and the bytes of a coordinate in both.
_HEADER, _BYTES_A_COORDINATE = 4096, 8

_NAMES = ("mean", "log_sigma")


def read_posterior(folder: Path, *, claimed: StochasticCertificate, spec: RunSpec) -> Posterior:
    """The posterior that a certificate in the same folder names.

    Raises DataError where the certificate is for another specification, names a d outside its menu, or another file.
    """
    if claimed.spec_sha256 != spec.sha256:
        raise DataError(
            f"{STOCHASTIC_FILE} was made for specification {claimed.spec_sha256[:12]}…; give the one it was made for"
        )
    if claimed.d not in spec.menu.dims:
        raise DataError(f"dimension {claimed.d} is not in the specification's menu of {len(spec.menu.dims)}")
    content = read_bounded(Path(folder) / POSTERIOR_FILE, most_bytes=_HEADER + _BYTES_A_COORDINATE * claimed.d)
    posterior = posterior_of(content, d=claimed.d, seed=claimed.seed, scale_index=claimed.scale_index)
    if posterior.sha256 != claimed.posterior_sha256:
        raise DataError(f"{POSTERIOR_FILE} is not the file that {STOCHASTIC_FILE} names by its hash; get an unaltered copy")
    return posterior


def posterior_of(content: bytes, *, d: int, seed: int, scale_index: int) -> Posterior:
    """What the bytes of a posterior's file hold. Raises DataError."""
    try:
        tensors = dict(safetensors.deserialize(content))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise DataError(f"{POSTERIOR_FILE} cannot be read as safetensors ({error}); get an unaltered copy") from None
    if set(tensors) != set(_NAMES):
        raise DataError(f"{POSTERIOR_FILE} must hold 'mean' and 'log_sigma' alone, it has {', '.join(sorted(tensors))}")
    mean, log_sigma = (_numbers(name, tensors[name], d=d) for name in _NAMES)
    if not np.abs(log_sigma).max() <= _LARGEST_LOG_SIGMA:
        raise DataError(f"{POSTERIOR_FILE}: 'log_sigma' must be from -{_LARGEST_LOG_SIGMA:g} to {_LARGEST_LOG_SIGMA:g}")
    return Posterior(mean, log_sigma, seed=seed, scale_index=scale_index, sha256=hashlib.sha256(content).hexdigest())


def _numbers(name: str, tensor: Mapping[str, Any], *, d: int) -> Vector:
    if (tensor["dtype"], tensor["shape"]) == ("F32", [d]):
        numbers = np.frombuffer(tensor["data"], dtype="<f4").astype(np.float32)
        if np.isfinite(numbers).all():
            return numbers
    raise DataError(f"{POSTERIOR_FILE} must hold {name!r}, {d} finite numbers in float32; get an unaltered copy")
