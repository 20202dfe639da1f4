"""The `Bound` abstraction: one theorem, its assumptions, its formula, its numbers.

No bound can see D, the number of weights: a deterministic or stochastic predictor enters only through what was
counted on the sample and through the complexity of what was chosen after seeing it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds.evidence import RiskCertificate
from idbounds.core.errors import ConfigError, UnsupportedEvidenceError
from idbounds.core.logmath import FloatArray
from idbounds.core.records import Record
from idbounds.core.tails import counts
from idbounds.core.values import Certificate, Complexity, Evidence

if TYPE_CHECKING:
    import sympy

SAMPLE = "the examples are independent draws from one distribution, and the risk is over that distribution"
FIXED = "everything the decoder uses but the message was fixed without looking at the sample"
PREFIX_FREE = "the complexity is a prefix-free code length (Kraft sum at most 1) that covers every choice made on the sample"
POINTWISE = "the loss of an example depends on that example alone: eval mode, no batch statistics, no augmentation"


@dataclass(frozen=True)
class Source:
    """Where a theorem is proven. `key` is an entry of the bibliography."""

    key: str
    theorem: str
    version: str = ""

    def __str__(self) -> str:
        return ", ".join(part for part in (self.key, self.theorem, self.version) if part)


class Bound(ABC):
    """An upper bound on the true risk, valid with probability at least 1 - δ over the sample.

    Laws, checked by `idbounds.testing.bound_suite`: at least the empirical risk and at most the loss's upper
    end; non-decreasing in errors and complexity, non-increasing in n (at fixed risk) and δ; never below the
    exact value of its formula; errors, not numbers, for input that its theorem does not cover.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[Source]
    assumptions: ClassVar[tuple[str, ...]]
    #: False for a bound with a constant that could not be checked in its source, or one that depends on D.
    in_default_table: ClassVar[bool] = True
    #: The kinds of evidence that the theorem covers.
    accepts: ClassVar[tuple[type[Record], ...]] = (Evidence,)
    #: Empty, or why `certify` refuses although the number can be computed.
    not_certified: ClassVar[str] = ""

    @property
    @abstractmethod
    def formula(self) -> sympy.Expr:
        """The bound in the field's symbols; `idbounds.bounds.symbolic` names them."""

    @abstractmethod
    def value(self, *args: Any, **arguments: Any) -> FloatArray:
        """The number, rounded up; vectorised, pure in its keyword arguments."""

    def from_counts(
        self,
        *,
        errors: ArrayLike,  # noqa: ARG002 - the signature is for the families that override this
        n: ArrayLike,  # noqa: ARG002
        complexity_nats: ArrayLike,  # noqa: ARG002
        delta: float,  # noqa: ARG002
    ) -> FloatArray:
        """`value` for k errors of n under the 0-1 loss: what tables and the inverse questions use."""
        reason = self.not_certified or f"{self.needs()}, not error counts alone"
        raise UnsupportedEvidenceError(f"{self.name} does not apply: {reason}")

    def supports(self, evidence: object) -> str | None:
        """None, or the reason why the theorem says nothing about this evidence."""
        if self.not_certified:
            return self.not_certified
        if not isinstance(evidence, self.accepts):
            return f"{self.needs()}, got {type(evidence).__name__}"
        if getattr(evidence, "split", "train") != "train":
            return "the errors were counted on the test split; use test_set for those"
        return None

    def needs(self) -> str:
        """The kinds of evidence it needs, in words."""
        return f"it needs {' or '.join(kind.__name__ for kind in self.accepts)}"

    def certify(self, evidence: Evidence, complexity: Complexity, *, delta: float) -> Certificate:
        """The bound from error counts, as a record that can be checked. Raises UnsupportedEvidenceError with the reason."""
        self.require(evidence)
        check_delta(delta)
        raw = self.from_counts(errors=evidence.errors, n=evidence.n, complexity_nats=complexity.nats, delta=delta)
        return Certificate(
            family=self.name,
            value=self.proven(float(raw), evidence=evidence, complexity=complexity, delta=delta),
            evidence=evidence,
            complexity=complexity,
            delta=delta,
            theorem=f"{self.title}: {self.source.theorem}",
            source=str(self.source),
            assumptions=self.assumptions,
        )

    def certify_risk(self, evidence: Record, complexity: Complexity, *, delta: float) -> RiskCertificate:
        """The same for evidence other than error counts. What a Monte-Carlo estimate has spent is taken out of δ."""
        self.require(evidence)
        spent = float(getattr(evidence, "monte_carlo_delta", 0.0))
        if not check_delta(delta) > spent:
            raise ConfigError(f"delta must be above monte_carlo_delta = {spent}, got {delta}: draw more, at a smaller delta_mc")
        left = math.nextafter(delta - spent, 0.0) if spent else delta
        return RiskCertificate(
            family=self.name,
            value=float(self.value(**self.arguments(evidence), complexity_nats=complexity.nats, delta=left)),
            evidence=evidence.to_dict(),
            complexity=complexity,
            delta=delta,
            theorem=f"{self.title}: {self.source.theorem}",
            source=str(self.source),
            assumptions=self.assumptions,
        )

    def arguments(self, evidence: Record) -> dict[str, Any]:
        """What `value` takes from the evidence."""
        return evidence.model_dump(exclude={"split", "examples_sha256", "monte_carlo_delta"})

    def proven(self, value: float, *, evidence: Evidence, complexity: Complexity, delta: float) -> float:  # noqa: ARG002
        """`value`, or a larger one that ball arithmetic proves. The binomial families override this."""
        return value

    def require(self, evidence: object) -> None:
        """Raise UnsupportedEvidenceError if the theorem does not cover the evidence."""
        reason = self.supports(evidence)
        if reason is not None:
            raise UnsupportedEvidenceError(f"{self.name} does not apply: {reason}")


class RiskBound(Bound):
    """A bound that sees the sample through one mean loss in [0, 1], its `empirical_risk`."""

    def from_counts(self, *, errors: ArrayLike, n: ArrayLike, complexity_nats: ArrayLike, delta: float) -> FloatArray:
        """`value` at errors/n rounded up."""
        same_shape(errors=errors, n=n, complexity_nats=complexity_nats)
        risk, size = risk_upwards(errors, n)
        return self.value(empirical_risk=risk, n=size, complexity_nats=complexity_nats, delta=delta)


def check_delta(delta: float) -> float:
    """delta, if it is in (0, 1)."""
    if not (isinstance(delta, (int, float)) and 0.0 < delta < 1.0):
        raise ConfigError(f"delta must be in (0, 1), got {delta!r}: give a fraction, such as 0.05 for 95 % confidence")
    return float(delta)


def check_nats(name: str, nats: ArrayLike) -> FloatArray:
    """Complexities as floats after checking that none is negative or NaN."""
    array = np.asarray(nats, dtype=np.float64)
    wrong = ~(array >= 0.0)
    if np.any(wrong):
        first = float(array[wrong].ravel()[0])
        raise ConfigError(f"{name} must be at least 0, got {first}: a code length or KL divergence is never negative")
    return array


def ln_delta_prime(complexity_nats: ArrayLike, *, delta: float) -> FloatArray:
    """ln δ' = ln δ - complexity, rounded down: what is left of δ for one predictor after the union bound."""
    nats = check_nats("complexity_nats", complexity_nats)
    return np.asarray(np.nextafter(math.nextafter(math.log(check_delta(delta)), -math.inf) - nats, -np.inf))


def risk_upwards(errors: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """(errors/n rounded up, n) after checking the counts; a risk of 0 or 1 stays exact."""
    k, size = counts(errors, n)
    risk = k / size
    return np.asarray(np.where((k == 0) | (k == size), risk, np.nextafter(risk, 1.0))), size


def same_shape(**arrays: ArrayLike) -> None:
    """Raise ConfigError if the arguments cannot be broadcast together."""
    try:
        np.broadcast_shapes(*(np.shape(array) for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items())
        raise ConfigError(f"sizes do not match: {shapes}; give arrays of one length, or single numbers") from None


def penalty_nats(complexity_nats: ArrayLike, *, delta: float) -> FloatArray:
    """complexity + ln(1/δ), rounded up."""
    return -ln_delta_prime(complexity_nats, delta=delta)


def outward(value: FloatArray, *, at_most: ArrayLike = 1.0) -> FloatArray:
    """Raised by 128 units of relative rounding, capped. For sums of non-negative terms with under 64 roundings."""
    return np.asarray(np.minimum(value + (np.abs(value) * 2.0**-45 + 5e-324), at_most))


def check_sizes(n: ArrayLike, *, least: int = 1) -> FloatArray:
    """Sample sizes as floats after checking that they are whole and at least `least`."""
    _, size = counts(0, n)
    if np.any(size < least):
        raise ConfigError(f"n must be at least {least} here, got {float(size.min()):g}")
    return size
