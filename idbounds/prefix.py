"""A data prefix: θ₀ moved along d directions by training on the first part of the sample, of which nothing is counted later.

The moved weights take the place of the pretrained ones: the specification has their hash. They are made again from
prefix.safetensors, d numbers, without training.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from idbounds.config import Config
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.json_file import read_bounded
from idbounds.core.prefix import PrefixSetting, PrefixSpec
from idbounds.core.records import write_atomically
from idbounds.core.run_files import PREFIX_FILE
from idbounds.core.trial_key import SubspaceSetting
from idbounds.core.values import TrainingSpec
from idbounds.measurement.batch_statistics import require_unchanged_statistics
from idbounds.measurement.data import Examples
from idbounds.measurement.models import Pretrained, fingerprint
from idbounds.measurement.parametrizations import parametrization_by_name
from idbounds.measurement.progress import Reporter
from idbounds.measurement.subspace import Subspace
from idbounds.measurement.tasks import task_by_name
from idbounds.measurement.training import train
from idbounds.projections import projection_family

#: The header of a safetensors file with one tensor, generously, and the bytes of a number.
_HEADER, _BYTES = 4096, 4


def moved(
    pretrained: Pretrained, *, examples: Examples, config: Config, training: TrainingSpec, trains: bool, reporter: Reporter
) -> tuple[Pretrained, PrefixSpec]:
    """The model at θ₀' = θ₀ + P w₀, in place, and what the specification says of it.

    w₀ is read from prefix.safetensors in the run's folder. Where it is not there it is trained first, if `trains`.

    Raises:
        DataError: the file is not there and `trains` is false, or it does not hold d finite numbers.
        ConfigError: the folder holds the prefix of another configuration, or running statistics changed in training.
    """
    path, setting = Path(config.output) / PREFIX_FILE, _setting(pretrained, examples, config=config, training=training)
    if trains and not path.exists():
        trained = _trained(pretrained, examples, config=config, training=training, reporter=reporter)
        write_atomically(path, safetensors.torch.save({"w_0": trained}, metadata={"setting": setting.sha256}))
    content, vector, said = _read(path, d=setting.d)
    if trains and said != setting.sha256:
        raise ConfigError(f"{path} was trained by another configuration; choose another output folder, or delete that file")
    subspace = _subspace(pretrained, config, share_weights=True)
    subspace.set_coordinates(vector)
    # Merged before anything goes to a device, so that the sum is made as on every other machine.
    pretrained.model.load_state_dict(subspace.merge().state_dict())
    spec = pretrained.spec.model_copy(update={"theta0_sha256": fingerprint(pretrained.model)})
    return replace(pretrained, spec=spec), PrefixSpec(setting=setting, file_sha256=hashlib.sha256(content).hexdigest())


def _setting(pretrained: Pretrained, examples: Examples, *, config: Config, training: TrainingSpec) -> PrefixSetting:
    measurement, section = config.measurement, config.prefix
    described = examples.describe(majority_label=0)
    family = parametrization_by_name(measurement.parametrization)
    subspace = SubspaceSetting(
        parametrization=measurement.parametrization,
        parametrization_options=family.recorded(measurement.parametrization_options),
        projection=measurement.projection,
        projection_version=projection_family(measurement.projection).version,
        projection_options=measurement.projection_options,
        allocation=measurement.allocation,
        train_directly=measurement.train_directly,
    )
    return PrefixSetting(
        n=described.n,
        examples_sha256=described.sha256_of_examples,
        pretrained_sha256=pretrained.spec.theta0_sha256,
        subspace_sha256=subspace.sha256,
        training_sha256=training.sha256,
        d=section.dim,
        seed=section.seed,
        learning_rate=section.learning_rate,
        steps=section.steps,
    )


def _subspace(pretrained: Pretrained, config: Config, *, share_weights: bool) -> Subspace:
    measurement = config.measurement
    return Subspace(
        pretrained.model,
        dim=config.prefix.dim,
        projection=measurement.projection,
        projection_options=measurement.projection_options,
        parametrization=measurement.parametrization,
        parametrization_options=measurement.parametrization_options,
        seed=config.prefix.seed,
        allocation=measurement.allocation,
        train_directly=measurement.train_directly,
        memory=measurement.memory,
        share_weights=share_weights,
    )


def _trained(
    pretrained: Pretrained, examples: Examples, *, config: Config, training: TrainingSpec, reporter: Reporter
) -> Tensor:
    section = config.prefix
    subspace = _subspace(pretrained, config, share_weights=False).to(config.execution.device)
    reporter.plan(steps=section.steps)
    reporter.begin(label="prefix", d=section.dim, seed=section.seed)
    train(
        subspace,
        [subspace.theta_d],
        data=pretrained.encode(examples),
        # As a trial's: a step is as long in weight space at every d.
        learning_rate=section.learning_rate / math.sqrt(section.dim),
        steps=section.steps,
        seed=section.seed,
        # The validation part is for choices among trials.
        settings=training.model_copy(update={"evaluate_every": None, "patience": None}),
        task=task_by_name(config.learning_task),
        progress=lambda number, steps, loss: reporter.step(step=number, steps=steps, loss=loss),
    )
    require_unchanged_statistics(subspace, theta_0=pretrained.model)
    return subspace.theta_d.detach().cpu().float()


def _read(path: Path, *, d: int) -> tuple[bytes, Tensor, str]:
    """The file, the numbers in it, and the hash of the setting that it says it was trained by."""
    if not path.exists():
        raise DataError(
            f"no such file: {path}, the {d} numbers by which θ₀ was moved on the prefix; get it from whoever made the run, "
            "or train it: idbounds measure CONFIG"
        )
    content = read_bounded(path, most_bytes=_HEADER + _BYTES * d)
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}); get an unaltered copy") from None
    # A valid file begins with the length of its header, which is JSON.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    one = tensors.get("w_0")
    if one is None or one.dtype != torch.float32 or one.shape != (d,) or not bool(torch.isfinite(one).all()):
        raise DataError(f"{path} must hold 'w_0', {d} finite numbers in float32; get an unaltered copy")
    return content, one, header.get("__metadata__", {}).get("setting", "")
