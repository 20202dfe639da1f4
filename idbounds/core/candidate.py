"""One message that the search for the smallest bound tries: what determines it, and what came out."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from idbounds.core.fields import Count, Sha256
from idbounds.core.records import Record
from idbounds.core.values import Score


class CandidateKey(Record):
    """What determines a candidate: the trial whose subspace and data it has, where training starts, and how it goes.

    `start_sha256` is that of the d numbers at the start; `free_steps` come before the `steps` of rounding; `price` is what a
    bit costs in units of the training loss, rounded to a few digits so that the key does not hang on the last ones. Whatever
    changes what comes out for the same key must change `schema_version`.
    """

    #: 1 was rounding in every step, with the gradient passed through.
    schema_version: ClassVar[int] = 2

    trial_sha256: Sha256
    start_sha256: Sha256
    step: float = Field(gt=0)
    price: float = Field(ge=0)
    steps: Count
    free_steps: Count = 0

    later_fields: ClassVar[tuple[str, ...]] = ("free_steps",)


class Candidate(Record):
    """What came out: the d numbers that are rounded and written, the errors of what the message decodes to, or why it failed.

    `train` are errors on the whole training set. The message is not kept: it follows from the numbers, the step and the menu.
    """

    key: CandidateKey
    vector_sha256: Sha256 | None = None
    train: Score | None = None
    loss: float | None = None
    seconds: float = Field(ge=0)
    reason: str = ""

    @model_validator(mode="after")
    def _failed_or_has_a_vector(self) -> Self:
        if (self.vector_sha256 is None) != bool(self.reason):
            raise ValueError("a candidate has its numbers, or the reason why it has none")
        return self
