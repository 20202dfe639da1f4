"""From a configuration to everything that training and counting need, and the specification, fixed before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import idbounds
from idbounds.codes import check_menu
from idbounds.config import Config
from idbounds.core.errors import ConfigError
from idbounds.core.prefix import PrefixSpec
from idbounds.core.records import write_atomically
from idbounds.core.run_files import CONFIG_FILE, SPEC_FILE
from idbounds.core.values import Menu, RunSpec, Task, TrainingSpec
from idbounds.loading import load_model, load_splits, task_of
from idbounds.measurement.batches import Data
from idbounds.measurement.models import Pretrained
from idbounds.measurement.optimizers import check_optimizer
from idbounds.measurement.parametrizations import parametrization_by_name
from idbounds.measurement.progress import Reporter, Silent
from idbounds.measurement.searching import search_menu
from idbounds.measurement.trials import SubspaceMaker, TrialRunner
from idbounds.prefix import moved
from idbounds.projections import projection_family


@dataclass(frozen=True)
class Run:
    """A configuration with everything loaded that training and counting need."""

    config: Config
    spec: RunSpec
    pretrained: Pretrained
    data: Mapping[str, Data]
    reporter: Reporter

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.config.output)

    @property
    def store(self) -> Path:
        """Where its trials are kept."""
        return Path(self.config.store or self.folder)

    @property
    def runner(self) -> TrialRunner:
        """What trains its trials."""
        execution = self.config.execution
        return TrialRunner(self.make_subspace, self.data, execution.threads or torch.get_num_threads(), execution.device)

    @property
    def make_subspace(self) -> SubspaceMaker:
        """The subspaces of its menu."""
        measurement = self.config.measurement
        return SubspaceMaker(self.pretrained.model, self.spec, measurement.parametrization_options, measurement.memory)


def prepare(config: Config, *, reporter: Reporter | None = None) -> Run:
    """Load data and model, fix the specification, and write it before anything is trained.

    Raises:
        ConfigError: wrong names or sizes, or the output folder holds another run.
        DataError: the data cannot be used.
    """
    parametrization_by_name(config.measurement.parametrization)
    projection_family(config.measurement.projection)
    check_optimizer(config.measurement.optimizer, config.measurement.optimizer_options)
    prepared = load(config, reporter=reporter, trains_prefix=True)
    folder, spec = prepared.folder, prepared.spec
    if (folder / SPEC_FILE).exists() and RunSpec.read(folder / SPEC_FILE).sha256 != spec.sha256:
        raise ConfigError(f"{folder} holds the results of another specification; choose another output folder")
    spec.write(folder / SPEC_FILE)
    here = config.model_copy(update={"output": "."})
    write_atomically(folder / CONFIG_FILE, (here.model_dump_json(indent=2) + "\n").encode())
    return prepared


def load(config: Config, *, reporter: Reporter | None = None, trains_prefix: bool = False) -> Run:
    """Load data and model and make the specification; writes nothing.

    With `trains_prefix` it trains θ₀ on a data prefix and writes what comes out, where the run's folder does not have it yet.
    """
    reporter = reporter or Silent()
    splits, sources = load_splits(config.data)
    reporter.say(
        f"data: {len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test examples, "
        f"{len(splits.label_names)} classes, {splits.duplicates_removed} duplicates removed"
    )
    pretrained = load_model(config.model, splits=splits, eval_batch_size=config.measurement.eval_batch_size)
    training = TrainingSpec.checked(**{name: getattr(config.measurement, name) for name in TrainingSpec.model_fields})
    prefix = None
    if splits.prefix is not None:
        reporter.say(f"prefix: {len(splits.prefix)} further training examples, which move θ₀ and are not counted")
        pretrained, prefix = moved(
            pretrained,
            examples=splits.prefix,
            config=config,
            training=training,
            trains=trains_prefix,
            reporter=reporter,
        )
    pretrained.model.to(_device(config.measurement.device))
    reporter.say(f"model: {pretrained.spec.name}, D = {pretrained.spec.num_weights:,} weights")
    data = {part: pretrained.encode(getattr(splits, part)) for part in ("train", "validation", "test")}
    task = task_of(splits, sources, model=config.model)
    spec = _specification(config, task=task, pretrained=pretrained, training=training, prefix=prefix)
    return Run(config=config, spec=spec, pretrained=pretrained, data=data, reporter=reporter)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f'device is {name!r}, and torch {torch.__version__} finds no CUDA device; set device = "cpu" or "auto"'
        )
    return torch.device(name)


def _specification(
    config: Config, *, task: Task, pretrained: Pretrained, training: TrainingSpec, prefix: PrefixSpec | None
) -> RunSpec:
    measurement = config.measurement
    spec = RunSpec.checked(
        task=task,
        model=pretrained.spec,
        parametrization=measurement.parametrization,
        projection=measurement.projection,
        allocation=measurement.allocation,
        menu=Menu.checked(
            dims=search_menu(*measurement.dims) if measurement.search else measurement.dims,
            **{
                name: getattr(measurement, name)
                for name in ("seeds", "dim_weights", "seed_weights", "step_weights", "code_weights")
            },
        ),
        training=training,
        delta=config.certificate.delta,
        idbounds_version=idbounds.__version__,
        projection_version=projection_family(measurement.projection).version,
        projection_options=measurement.projection_options,
        parametrization_options=parametrization_by_name(measurement.parametrization).recorded(
            measurement.parametrization_options
        ),
        train_directly=measurement.train_directly,
        message_format=2,
        learning_task=config.learning_task,
        predictors=config.certificate.predictors,
        stochastic=config.stochastic.model_dump() if "stochastic" in config.certificate.predictors else None,
        prefix=prefix,
    )
    check_menu(spec)
    return spec
