"""What a run says of a data prefix: examples of its own sample that θ₀ was trained on and that nothing counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from idbounds.core.fields import Count, Sha256, Size
from idbounds.core.records import Record


class PrefixSetting(Record):
    """What the prefix is and how θ₀ is trained on it: fixed before either.

    `examples_sha256` is that of the n examples in order; `pretrained_sha256` that of the weights before they are moved;
    `subspace_sha256` that of the parametrization and the family of P (`SubspaceSetting`), `training_sha256` that of the
    `TrainingSpec`, both of the run itself.
    """

    n: Size
    examples_sha256: Sha256
    pretrained_sha256: Sha256
    subspace_sha256: Sha256
    training_sha256: Sha256
    d: Size
    seed: Count
    learning_rate: Annotated[float, Field(gt=0)]
    steps: Size


class PrefixSpec(Record):
    """A setting, and the hash of prefix.safetensors: the d numbers that came out of it, by which θ₀ was moved."""

    setting: PrefixSetting
    file_sha256: Sha256
