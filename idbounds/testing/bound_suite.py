"""The laws of a `Bound` over error counts, to be subclassed by the tests of each member.

class TestMine(BoundSuite):
    bound = bound_by_name("mine")

The reference is the bound's own sympy formula, evaluated by mpmath with 40 digits and inverses by bisection, so the
formula that the documentation prints and the number that the code returns cannot part.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, ClassVar

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from idbounds.bounds import symbolic
from idbounds.bounds.base import Bound
from idbounds.core.errors import UnsupportedEvidenceError
from idbounds.core.values import Complexity, Evidence, LedgerItem

# How many examples, and that they are derandomised, is the profile's business (tests/conftest.py).
_DELTA = st.floats(min_value=1e-300, max_value=0.5)
_NATS = st.one_of(st.just(0.0), st.floats(min_value=0.0, max_value=50.0), st.floats(min_value=0.0, max_value=7e7))


@st.composite
def _sample(draw: st.DrawFn, largest: int = 10**12) -> tuple[int, int]:
    n = draw(st.one_of(st.integers(2, 50), st.integers(2, largest)))
    k = draw(st.one_of(st.integers(0, n), st.sampled_from([0, 1, n // 2, n - 1, n])))
    return min(k, n), n


def _mp_root(value: Any, low: Any, high: Any, *, above: Any) -> Any:
    for _ in range(140):
        middle = (low + high) / 2
        low, high = (low, middle) if above(value, middle) else (middle, high)
    return (low + high) / 2


def _mp_kl(q: Any, p: Any) -> Any:
    first = q * mpmath.log(q / p) if q > 0 else mpmath.mpf(0)
    return first + ((1 - q) * mpmath.log((1 - q) / (1 - p)) if q < 1 else mpmath.mpf(0))


def mp_kl_inverse(q: Any, c: Any) -> Any:
    """kl⁻¹ by bisection."""
    q, c = mpmath.mpf(q), mpmath.mpf(c)
    if q >= 1:
        return mpmath.mpf(1)
    return _mp_root(c, q, mpmath.mpf(1), above=lambda value, p: p >= 1 or _mp_kl(q, p) > value)


def mp_kl_inverse_lower(q: Any, c: Any) -> Any:
    """The same below q."""
    return 1 - mp_kl_inverse(1 - mpmath.mpf(q), c)


def mp_binomial_inverse(k: Any, n: Any, delta: Any) -> Any:
    """Bin⁻¹ by summing the tail; δ above ½ counts as ½, as in the library."""
    k, n, level = int(k), int(n), min(mpmath.mpf(delta), mpmath.mpf(1) / 2)
    if k >= n:
        return mpmath.mpf(1)
    weights = [mpmath.binomial(n, j) for j in range(k + 1)]

    def tail(p: Any) -> Any:
        return mpmath.fsum(weight * p**j * (1 - p) ** (n - j) for j, weight in enumerate(weights))

    return _mp_root(level, mpmath.mpf(k) / n, mpmath.mpf(1), above=lambda value, p: tail(p) < value)


_MP = {"KlInv": mp_kl_inverse, "KlInvLower": mp_kl_inverse_lower, "BinInv": mp_binomial_inverse}


def evaluate(formula: sympy.Expr, values: dict[str, Any]) -> Any:
    """The formula at these values of the symbols (by the names of `symbolic.symbols`), with 40 digits."""
    known = vars(symbolic.symbols())
    names = [name for name in known if known[name] in formula.free_symbols]
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"the formula needs values for {missing}; give them in `extra`")
    compute = sympy.lambdify([known[name] for name in names], formula, modules=[_MP, "mpmath"])
    with mpmath.workdps(40):
        return compute(*(mpmath.mpf(values[name]) for name in names))


class BoundSuite:
    """Subclass and set `bound`; give `extra` if the formula has symbols beyond r̂, k, n, C, δ."""

    bound: ClassVar[Bound]
    #: The smallest complexity that the formula, taken literally, covers.
    least_nats: ClassVar[float] = 0.0
    #: Largest n for which the reference is affordable.
    reference_n: ClassVar[int] = 300
    takes_complexity: ClassVar[bool] = True

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:  # noqa: ARG002 - for overriding
        """Values of further symbols; the reference is the smallest formula value over this list."""
        return [{}]

    def at(self, errors: int, n: int, nats: float, delta: float) -> float:
        """The bound's number."""
        given_nats = nats if self.takes_complexity else 0.0
        return float(self.bound.from_counts(errors=errors, n=n, complexity_nats=given_nats, delta=delta))

    def reference(self, errors: int, n: int, nats: float, delta: float) -> Any:
        """The formula with 40 digits, capped at 1."""
        with mpmath.workdps(40):
            base = {"rhat": mpmath.mpf(errors) / n, "k": errors, "n": n, "C": nats, "delta": delta}
            found = [evaluate(self.bound.formula, {**base, **more}) for more in self.extra(errors, n, nats, delta)]
            return min(*found, mpmath.mpf(1))

    @given(sample=_sample(), nats=_NATS, delta=_DELTA)
    def test_between_the_empirical_risk_and_one(self, sample: tuple[int, int], nats: float, delta: float) -> None:
        """Over the whole promised range: no NaN, no underflow, nothing outside [k/n, 1]."""
        errors, n = sample
        value = self.at(errors, n, nats, delta)
        assert errors / n <= value <= 1.0

    @given(data=st.data(), nats=st.floats(0.0, 60.0), delta=st.floats(1e-12, 0.5))
    def test_never_below_the_formula_and_within_1e_9(self, data: st.DataObject, nats: float, delta: float) -> None:
        """Rounding goes up, and not far."""
        errors, n = data.draw(_sample(largest=self.reference_n))
        nats = max(nats, self.least_nats) if self.takes_complexity else 0.0
        value, exact = self.at(errors, n, nats, delta), self.reference(errors, n, nats, delta)
        assert value >= exact
        assert value <= exact + mpmath.mpf("1e-9")

    @given(sample=_sample(), nats=_NATS, delta=_DELTA, more=st.floats(0.0, 1e6), factor=st.integers(2, 1000))
    def test_monotone(self, sample: tuple[int, int], nats: float, delta: float, more: float, factor: int) -> None:
        """Up with errors and complexity, down with n at the same rate and with δ (to rounding)."""
        errors, n = sample
        value = self.at(errors, n, nats, delta)
        assert self.at(min(errors + 1, n), n, nats, delta) >= value * (1 - 1e-12)
        assert self.at(errors, n, nats + more, delta) >= value * (1 - 1e-12)
        assert self.at(errors, n, nats, delta / 4 if delta > 4e-300 else delta) >= value * (1 - 1e-12)
        assert self.at(errors * factor, n * factor, nats, delta) <= value * (1 + 1e-12)

    def test_vectorised_is_the_same_as_one_by_one(self) -> None:
        """Bit for bit: a value does not depend on what it is computed beside."""
        generator = np.random.default_rng(7)
        n = generator.integers(2, 10**6, size=50)
        errors = (n * generator.random(50) ** 2).astype(np.int64)
        nats = generator.random(50) * 1000 * self.takes_complexity
        together = self.bound.from_counts(errors=errors, n=n, complexity_nats=nats, delta=0.05)
        single = [self.at(int(a), int(b), float(c), 0.05) for a, b, c in zip(errors, n, nats, strict=True)]
        np.testing.assert_array_equal(together, single)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"errors": 2.5},
            {"errors": 0.87},
            {"errors": -1},
            {"errors": 11},
            {"errors": math.nan},
            {"n": 0},
            {"n": 10.5},
            {"n": math.inf},
            {"delta": 0.0},
            {"delta": 1.0},
            {"delta": 5},
            {"delta": -0.1},
            {"delta": math.nan},
            {"complexity_nats": -1.0},
            {"complexity_nats": math.nan},
            {"errors": [1, 2, 3], "n": [10, 10]},
        ],
    )
    def test_bad_input_is_refused(self, wrong: dict[str, Any]) -> None:
        """A ValueError, never a number."""
        arguments: dict[str, Any] = {"errors": 3, "n": 10, "complexity_nats": 0.0, "delta": 0.05}
        with pytest.raises(ValueError, match=r"must|negative|sizes|apply"):
            self.bound.from_counts(**{**arguments, **wrong})

    def test_no_number_of_weights_in_signature_or_formula(self) -> None:
        """No formula of this family can see D."""
        assert not {"D", "num_weights", "num_parameters"} & set(inspect.signature(self.bound.value).parameters)
        assert symbolic.symbols().D not in self.bound.formula.free_symbols

    def test_certificate(self) -> None:
        """Carries the number, the theorem and the assumptions; refuses the other split."""
        split, other = ("train", "test") if self.takes_complexity else ("test", "train")
        ledger = (LedgerItem(name="coefficients", bits=100.0, reason="test"),) if self.takes_complexity else ()
        evidence = Evidence.checked(errors=37, n=1000, split=split, examples_sha256="0" * 64)
        made = self.bound.certify(evidence, Complexity(ledger=ledger), delta=0.05)
        assert made.value >= self.at(37, 1000, Complexity(ledger=ledger).nats, 0.05)
        assert made.family == self.bound.name
        assert made.assumptions == self.bound.assumptions
        with pytest.raises(UnsupportedEvidenceError, match=self.bound.name):
            self.bound.certify(evidence.model_copy(update={"split": other}), Complexity(ledger=ledger), delta=0.05)
        with pytest.raises(UnsupportedEvidenceError, match="it needs"):
            self.bound.require(object())
