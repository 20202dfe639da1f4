"""The values that pass from one step to the next, from task to certificate (docs/DESIGN.md has the picture).

`d` and `D` only ever mean dimensions. Risks and accuracies are fractions. Each value names its parents
by their SHA-256, so that a cell of a table can be walked back to the data.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from idbounds.core.certificate import Certificate as Certificate  # values too, in a file of their own for length
from idbounds.core.certificate import CertificateFile as CertificateFile
from idbounds.core.certificate import Complexity as Complexity
from idbounds.core.certificate import Counts as Counts
from idbounds.core.certificate import Evaluation as Evaluation
from idbounds.core.certificate import Evidence as Evidence
from idbounds.core.certificate import LedgerItem as LedgerItem
from idbounds.core.certificate import Parents as Parents
from idbounds.core.certificate import RiskCertificate as RiskCertificate
from idbounds.core.certificate import UncompressedCertificate as UncompressedCertificate
from idbounds.core.fields import Count, Fraction, Probability, Sha256, Size
from idbounds.core.menu import Menu as Menu  # one of the values, like TrainingSpec
from idbounds.core.model_spec import ModelSpec as ModelSpec  # the same
from idbounds.core.prefix import PrefixSetting as PrefixSetting
from idbounds.core.prefix import PrefixSpec as PrefixSpec
from idbounds.core.records import Record
from idbounds.core.stochastic import Draws as Draws  # the same
from idbounds.core.stochastic import Predictor as Predictor
from idbounds.core.stochastic import StochasticCertificate as StochasticCertificate
from idbounds.core.stochastic import StochasticSpec as StochasticSpec
from idbounds.core.training_spec import TrainingSpec as TrainingSpec  # one of the values, in a file of its own for length
from idbounds.core.trial_key import TrialKey as TrialKey  # the same

#: When a subspace counts as having solved a task; the formulas are in idbounds.estimation.rules.
RuleName = Literal["paper", "chance_corrected", "li2018", "absolute"]


class Split(Record):
    """One part of a data set: how many examples, which ones (hash), and how good the majority class is on it."""

    n: Size
    sha256_of_examples: Sha256
    majority_errors: Count


class Task(Record):
    """A labelled classification task, after duplicates across all its splits were removed."""

    name: str
    source: str
    licence: str
    citation_key: str | None = None
    label_names: tuple[str, ...] = Field(min_length=2)
    train: Split
    validation: Split
    test: Split
    duplicates_removed: Count
    declared_overlap: str = "not declared"


class ProjectionSpec(Record):
    """From this the same P: R^dim -> R^D is rebuilt bit for bit. `layout` lists the tensors and their sizes."""

    family: str
    version: Size
    dim: Size
    seed: Count
    allocation: Literal["global", "per_tensor"] = "global"
    layout: tuple[tuple[str, Size], ...] = Field(min_length=1)
    options: dict[str, int] = Field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """D, the number of weights that P moves."""
        return sum(size for _, size in self.layout)


class RunSpec(Record):
    """Everything that is fixed before training starts. Its hash binds message and certificate to it."""

    task: Task
    model: ModelSpec
    parametrization: str
    projection: str
    allocation: Literal["global", "per_tensor"]
    menu: Menu
    training: TrainingSpec
    delta: Probability
    idbounds_version: str
    projection_version: Size | None = None  # unknown in the first specifications
    projection_options: dict[str, int] = Field(default_factory=dict)
    parametrization_options: dict[str, JsonValue] = Field(default_factory=dict)
    train_directly: tuple[str, ...] = ()
    message_format: Literal[1, 2] = 1  # what the first specifications meant; new ones say 2
    learning_task: str = "sequence_classification"  # what is trained and counted, by its name in `TASKS`
    predictors: tuple[Predictor, ...] = Field(default=("message",), min_length=1)  # what is certified
    stochastic: StochasticSpec | None = None  # of the stochastic predictor, where it is one of them
    prefix: PrefixSpec | None = None  # examples of the sample that moved θ₀ and are not in the task's training part

    later_fields: ClassVar[tuple[str, ...]] = (
        *("projection_version", "projection_options", "parametrization_options", "train_directly", "message_format"),
        *("learning_task", "predictors", "stochastic", "prefix"),
    )

    @property
    def delta_of_each(self) -> float:
        """The share of δ that each declared predictor's training bound has, so that all of them hold together at δ."""
        return self.delta / len(self.predictors)

    @model_validator(mode="after")
    def _predictors_are_described(self) -> Self:
        if len(set(self.predictors)) < len(self.predictors):
            raise ValueError(f"a predictor is declared twice: {list(self.predictors)}")
        if ("stochastic" in self.predictors) != (self.stochastic is not None):
            raise ValueError("stochastic settings are declared exactly where predictors has 'stochastic'")
        return self

    @model_validator(mode="after")
    def _format_knows_weights(self) -> Self:
        if self.message_format == 1 and self.menu.has_weights:
            raise ValueError("message format 1 has equal masses only; declare message_format 2 with weights")
        return self


class Score(Counts):
    """What a trial reached on one split."""

    @property
    def accuracy(self) -> float:
        """1 - errors / n, rounded once."""
        return (self.n - self.errors) / self.n


class Trial(Record):
    """One training run: what came out, or why it failed or was dropped.

    A dropped one was stopped half-way, because another learning rate at the same d and seed was far ahead
    (`idbounds.estimation.is_hopeless`); it has no result. `halfway` is the validation score at that point, where it was
    counted.

    `attempts` counts the tries, this one included; `ran_on` says on what device, with how many threads of torch, by how
    many processes and in a batch of how many trials, because the last bits of a result depend on them.
    """

    key: TrialKey
    status: Literal["finished", "failed", "dropped"]
    reason: str = ""
    validation: Score | None = None
    test: Score | None = None
    final_loss: float | None = None
    seconds: float = Field(ge=0)
    vector_sha256: Sha256 | None = None
    attempts: Size = 1
    ran_on: str = ""
    halfway: Score | None = None

    later_fields: ClassVar[tuple[str, ...]] = ("attempts", "ran_on", "halfway")

    @model_validator(mode="after")
    def _finished_has_scores(self) -> Self:
        if self.status == "finished" and (self.validation is None or self.test is None):
            raise ValueError("a finished trial needs its validation and test scores")
        if self.status != "finished" and not self.reason:
            raise ValueError(f"a {self.status} trial needs a reason")
        if self.status == "dropped" and (self.halfway is None or (self.validation, self.test) != (None, None)):
            raise ValueError("a dropped trial needs its half-way score and has no others")
        return self


class IntrinsicDimension(Record):
    """d90 under a named rule, or on which side of the grid it lies.

    `fit` is how d90 was read off the curve, `target_definition` the target in words, `between_seeds_sd` the standard
    deviation of accuracy between seeds (projection, order of the data, dropout together), and `paired_examples`
    whether the answers to each example were known. Records written before these existed have their defaults.
    """

    rule: RuleName
    parametrization: str
    baseline_accuracy: Fraction | None
    majority_accuracy: Fraction
    target_accuracy: Fraction
    value: float | None
    lower: float | None
    upper: float | None
    level: Probability
    smallest_d: Size
    largest_d: Size
    grid: tuple[tuple[Size, Fraction], ...]
    trials: tuple[Sha256, ...]
    fit: str = "isotonic"
    target_definition: str = ""
    chosen_on: Literal["validation"] = "validation"
    read_on: Literal["test"] = "test"
    between_seeds_sd: Fraction | None = None
    paired_examples: bool = False

    @property
    def reached(self) -> bool:
        """Whether the monotone curve reaches the target at some d of the grid."""
        return any(accuracy >= self.target_accuracy for _, accuracy in self.grid)

    def printed(self) -> tuple[str, str, str]:
        """Value, lower and upper end as they stand in tables: numbers, or "< 10" and "> 10000" where censored."""
        below, above = f"< {self.smallest_d}", f"> {self.largest_d}"
        outside = (below if self.reached else above, below, above)
        numbers = (self.value, self.lower, self.upper)
        value, lower, upper = (
            text if number is None else f"{number:.0f}" for number, text in zip(numbers, outside, strict=True)
        )
        return value, lower, upper

    def __str__(self) -> str:
        value, lower, upper = self.printed()
        interval = f"[{lower}, {upper}] at {self.level:.0%}"
        if self.value is not None:
            return f"d90 = {value} {interval}"
        return f"d90 {value} {interval}" if self.reached else f"not reached, d90 {value} {interval}"


class Message(Record):
    """What an `.idb` file holds, without its coefficients."""

    spec_sha256: Sha256
    file_sha256: Sha256
    num_bytes: Size
    d: Size
    seed: Count
    step: float = Field(gt=0)
    complexity: Complexity
    code: str = "adaptive counts of magnitudes"  # all that format 1 has

    later_fields: ClassVar[tuple[str, ...]] = ("code",)
