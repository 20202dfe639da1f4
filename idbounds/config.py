"""The configuration file of a run: TOML, checked. Its commented example is in example_config.py."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from idbounds.core.errors import ConfigError
from idbounds.core.records import describe
from idbounds.core.stochastic import Predictor
from idbounds.presets import with_preset

Positive = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
PerChannel = float | Annotated[tuple[float, ...], Field(min_length=1)]

#: The built-in networks whose weights are drawn at random: they have seen no data.
UNTRAINED = ("convnet", "lenet", "mlp")


class Section(BaseModel):
    """A table of the file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSection(Section):
    """Which network: a folder or Hugging Face name, a built-in one, or what a function of the user's returns."""

    builtin: Literal["all-MiniLM-L6-v2", "convnet", "lenet", "mlp"] | None = None
    source: str | None = None
    architecture: str | None = None
    revision: str | None = None
    name: str | None = None
    citation_key: str | None = None
    max_length: Size = 64
    head: Literal["mean_pooling", "architecture"] = "mean_pooling"
    head_seed: Seed = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    mean: PerChannel = 0.5
    std: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] = 0.5

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(given is not None for given in (self.builtin, self.source, self.architecture)) != 1:
            raise ValueError("give exactly one of source (a folder or a Hugging Face name), builtin and architecture")
        return self


class DataSection(Section):
    """Which labelled text: files, a Hugging Face data set, or the built-in demonstration; or a folder of images."""

    builtin: Literal["bbc_news"] | None = None
    images: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    dataset: str | None = None
    subset: str | None = None
    revision: str | None = None
    text_columns: tuple[str, ...] = Field(default=("text",), min_length=1, max_length=2)
    label_column: str = "label"
    validation_fraction: Positive = 0.15
    test_fraction: Positive = 0.25
    max_train: Size | None = None
    max_validation: Size | None = None
    max_test: Size | None = None
    split_seed: Seed = 0
    prefix_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    name: str | None = None
    licence: str = "not declared"
    citation_key: str | None = None
    overlap: str = "not declared"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        files = () if self.dataset is not None else (self.train,)
        if sum(source is not None for source in (self.builtin, self.dataset, self.images, *files)) != 1:
            raise ValueError(
                "give exactly one of builtin, dataset (with train = its split), train (a file) and images (a folder)"
            )
        if self.images is not None and (self.validation, self.test) != (None, None):
            raise ValueError("with images, the folder's t10k files are the test part and validation is cut from train")
        if self.dataset is not None and self.train is None:
            raise ValueError('with dataset, name its training split, for instance train = "train"')
        return self


class PrefixSection(Section):
    """How θ₀ is trained on the data prefix, where [data] has a prefix_fraction."""

    dim: Size = 300
    seed: Seed = 0
    learning_rate: Positive = 3.0
    steps: Size = 300


class MeasurementSection(Section):
    """What is trained: a grid, or with `search` what `idbounds.estimation.ask` wants between the two `dims`."""

    preset: str | None = None
    parametrization: str = "said"
    projection: str = "fastfood"
    allocation: Literal["global", "per_tensor"] = "global"
    parametrization_options: dict[str, Any] = Field(default_factory=dict)
    projection_options: dict[str, int] = Field(default_factory=dict)
    train_directly: tuple[str, ...] = ()
    memory: Literal["keep", "recompute"] = "keep"
    device: str = Field(default="cpu", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dims: tuple[Size, ...] = Field(default=(100, 300, 1000), min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(0, 1), min_length=1)
    dim_weights: tuple[Size, ...] = ()
    seed_weights: tuple[Size, ...] = ()
    step_weights: tuple[Size, ...] = ()
    code_weights: dict[str, Size] = Field(default_factory=dict)
    learning_rates: tuple[Positive, ...] = Field(default=(3.0, 9.0), min_length=1)
    full_learning_rates: tuple[Positive, ...] = Field(default=(1e-4,), min_length=1)
    batch_size: Size = 32
    micro_batch_size: Size | None = None
    steps: Size = 300
    quantization_steps: Size = 150
    optimizer: str = "AdamW"
    optimizer_options: dict[str, bool | int | float | tuple[float, ...]] = Field(default_factory=dict)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    clip_norm: Positive = 1.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    cuda_graphs: bool = False
    length_bucketing: bool = False
    evaluate_every: Size | None = None
    patience: Size | None = None
    eval_batch_size: Size | None = None
    metric: Literal["accuracy"] = "accuracy"
    search: bool = False
    search_rule: Literal["paper", "chance_corrected"] = "paper"
    wanted_ratio: Annotated[float, Field(gt=1)] = 2.0
    most_trials: Size | None = None
    drop_hopeless: bool = False

    @model_validator(mode="before")
    @classmethod
    def _preset_beneath(cls, given: Any) -> Any:
        return with_preset(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _search_has_a_range(self) -> Self:
        if self.search and not (len(self.dims) == 2 and self.dims[0] < self.dims[1]):
            raise ValueError(f"with search, dims is [smallest, largest], got {list(self.dims)}")
        return self


class CertificateSection(Section):
    """What is certified."""

    delta: float = Field(default=0.05, gt=0, lt=1)
    predictors: tuple[Predictor, ...] = ("message",)


class StochasticSection(Section):
    """Of the stochastic predictor, if it is declared: its priors, how it is trained, how often it is drawn from."""

    largest_scale: Positive = 1000.0
    scale_ratio: Annotated[float, Field(gt=1)] = 1.2
    num_scales: Size = 128
    draws: Size = 500
    examples_a_draw: Size = 128
    draw_seed: Seed = 0
    steps: Size = 300
    learning_rate: Positive = 0.03


class CompressionSection(Section):
    """How long `compress` looks for the smallest bound. No part of the specification: it does not enter the decoder.

    `candidates` are rounded in `steps` each (by default the specification's quantization_steps), which some of them train on
    before; after `minutes` no further one is begun.
    """

    candidates: Size = 8
    steps: Size | None = None
    minutes: Positive | None = None


class ExecutionSection(Section):
    """Who trains, and how often a failed trial is tried again. No part of the specification."""

    executor: Literal["in_process", "processes", "ray"] = "in_process"
    workers: Size | None = None
    batch_trials: Size = 1
    devices_per_trial: Size = 1
    retries: Annotated[int, Field(ge=0)] = 2
    threads: Size | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    ray_address: str = "local"
    ray_cpus: Positive = 1.0
    ray_gpus: Annotated[float, Field(ge=0)] = 0.0
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _no_gpu_is_idle(self) -> Self:
        if self.ray_gpus > 1 and self.ray_gpus != self.devices_per_trial:
            raise ValueError(
                f"a trial uses devices_per_trial = {self.devices_per_trial} GPUs, and ray_gpus = {self.ray_gpus:g} would hold "
                "others idle; give both the same number, or ray_gpus of at most 1"
            )
        return self


#: Keys of [model], and which of their values (None: any but the default) no model of the other kind has a use for.
_ONLY_FOR_TEXTS: dict[str, tuple[str, ...] | None] = {
    "builtin": ("all-MiniLM-L6-v2",),
    **dict.fromkeys(("max_length", "head", "dtype")),
}
_ONLY_FOR_IMAGES: dict[str, tuple[str, ...] | None] = {
    "builtin": UNTRAINED,
    **dict.fromkeys(("architecture", "mean", "std")),
}


class Config(Section):
    """A whole run. Paths are relative to the file that names them."""

    output: str
    store: str | None = None
    model: ModelSection
    data: DataSection
    prefix: PrefixSection = PrefixSection()
    measurement: MeasurementSection = MeasurementSection()
    execution: ExecutionSection = ExecutionSection()
    certificate: CertificateSection = CertificateSection()
    compression: CompressionSection = CompressionSection()
    stochastic: StochasticSection = StochasticSection()

    @model_validator(mode="after")
    def _model_takes_the_data(self) -> Self:
        model, images = self.model, self.data.images is not None
        foreign = _ONLY_FOR_TEXTS if images else _ONLY_FOR_IMAGES
        given = {key: value for key in foreign if (value := getattr(model, key)) != ModelSection.model_fields[key].default}
        wrong = [f"{key} = {value!r}" for key, value in given.items() if value in (foreign[key] or (value,))]
        if wrong:
            kind, other = ("images", "texts") if images else ("texts", "images")
            raise ValueError(f"the data are {kind}, and {' and '.join(wrong)} in [model] is for {other}; leave it out")
        return self

    @property
    def learning_task(self) -> str:
        """What is trained and counted, by its name in `TASKS`."""
        return "sequence_classification" if self.data.images is None else "image_classification"


def load_config(path: Path) -> Config:
    """Read and check a TOML file; its relative paths become absolute."""
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}; `idbounds init` writes an example") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return _resolve(parse_config(raw, where=str(path)), base=path.resolve().parent)


def parse_config(raw: object, *, where: str) -> Config:
    """Check an already parsed configuration."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error)}") from None


def _resolve(config: Config, *, base: Path) -> Config:
    """Absolute paths for the output, for data files, and for a model that is a local folder."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str((base / Path(path).expanduser()).resolve())

    data = config.data
    if data.dataset is None:
        data = data.model_copy(update={key: absolute(getattr(data, key)) for key in ("train", "validation", "test", "images")})
    model = config.model
    if model.source is not None and (base / Path(model.source).expanduser()).is_dir():
        model = model.model_copy(update={"source": absolute(model.source)})
    paths = {"output": absolute(config.output), "store": absolute(config.store)}
    return config.model_copy(update={**paths, "data": data, "model": model})
