"""What determines a trial, and nothing more: two runs whose trials have the same keys share them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from idbounds.core.fields import Count, Sha256, Size
from idbounds.core.model_spec import ImageInput
from idbounds.core.records import Record


class TrialSetting(Record):
    """What all trials of a run have in common, full fine-tuning included: examples, θ₀ and how it is trained.

    Whatever changes what comes out of training for the same setting must change `schema_version`, so that
    trials of old code are not taken for trials of the new.
    """

    train_sha256: Sha256
    validation_sha256: Sha256
    test_sha256: Sha256
    label_names: tuple[str, ...]
    theta0_sha256: Sha256
    tokenizer_sha256: Sha256 | None
    head: str
    max_length: Size | None
    dtype: str
    eval_batch_size: Size  # batches of another size change the last bit of a logit, and so perhaps a count
    training: dict[str, JsonValue]
    images: ImageInput | None = None
    learning_task: str = "sequence_classification"

    later_fields: ClassVar[tuple[str, ...]] = ("images", "learning_task")


class SubspaceSetting(Record):
    """What a trial in a subspace has beside the setting: everything about P but d and its seed."""

    parametrization: str
    parametrization_options: dict[str, JsonValue]
    projection: str
    projection_version: Size | None
    projection_options: dict[str, int]
    allocation: Literal["global", "per_tensor"]
    train_directly: tuple[str, ...]


class TrialKey(Record):
    """Everything that determines a trial; its hash is the trial's key in the store.

    `spec_sha256` is that of the `TrialSetting`, `subspace_sha256` that of the `SubspaceSetting`. Keys written before
    these existed have the hash of the whole `RunSpec` and no second one.
    """

    spec_sha256: Sha256
    method: str
    d: Count  # 0 stands for full fine-tuning, which has no subspace
    seed: Count
    learning_rate: float = Field(gt=0)
    subspace_sha256: Sha256 | None = None

    later_fields: ClassVar[tuple[str, ...]] = ("subspace_sha256",)
