"""How the trials of a run are trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from idbounds.core.fields import Fraction, Size
from idbounds.core.records import Record


class TrainingSpec(Record):
    """How trials are trained. None of it enters the decoder, so none of it is paid for in bits."""

    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    full_learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    batch_size: Size
    steps: Size
    quantization_steps: Size
    warmup_fraction: Fraction = 0.1
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    optimizer: str = "AdamW"
    optimizer_options: dict[str, bool | int | float | tuple[float, ...]] = Field(default_factory=dict)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    micro_batch_size: Size | None = None
    length_bucketing: bool = False
    evaluate_every: Size | None = None
    patience: Size | None = None
    cuda_graphs: bool = False

    later_fields: ClassVar[tuple[str, ...]] = (
        *("optimizer", "optimizer_options", "schedule", "precision"),
        *("micro_batch_size", "length_bucketing", "evaluate_every", "patience", "cuda_graphs"),
    )

    @model_validator(mode="after")
    def _patience_has_something_to_wait_for(self) -> Self:
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("patience counts evaluations; give evaluate_every too")
        return self
