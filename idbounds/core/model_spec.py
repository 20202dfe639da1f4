"""The network that a run starts from, and how an example becomes its input."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from idbounds.core.fields import Count, Sha256, Size
from idbounds.core.records import Record


class ImageInput(Record):
    """How an image becomes a network's input: (x / 255 - mean) / std for bytes, (x - mean) / std for other numbers.

    Constants fixed beforehand: numbers computed from the sample would be part of the predictor without being in the message.
    `shape` is (channels, height, width); `mean` and `std` have one number for all channels or one each.
    """

    shape: tuple[Size, Size, Size]
    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)


class ModelSpec(Record):
    """What a decoder needs to rebuild θ₀ and to predict: nothing in it may depend on the sample.

    A text becomes an input by a tokenizer, cut at `max_length` tokens; an image as `images` says. One of the two is given.
    """

    name: str
    source: str
    citation_key: str | None = None
    num_weights: Size
    num_labels: Size
    theta0_sha256: Sha256
    tokenizer_sha256: Sha256 | None = None
    head_seed: Count
    max_length: Size | None = None
    eval_batch_size: Size
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    head: Literal["mean_pooling", "architecture"] = "mean_pooling"
    images: ImageInput | None = None

    later_fields: ClassVar[tuple[str, ...]] = ("head", "images")

    @model_validator(mode="after")
    def _one_kind_of_input(self) -> Self:
        text = (self.tokenizer_sha256 is not None, self.max_length is not None)
        if text != ((False, False) if self.images else (True, True)):
            raise ValueError("a model of texts has tokenizer_sha256 and max_length, one of images has images, and neither both")
        return self
