"""One set of error counts under every bound: the numbers, and why the other bounds have none."""

from __future__ import annotations

from dataclasses import dataclass

from idbounds.bounds import BOUNDS
from idbounds.bounds.base import Bound, check_delta
from idbounds.bounds.compression import check_bits
from idbounds.core.errors import ConfigError, UnsupportedEvidenceError
from idbounds.core.units import bits_to_nats
from idbounds.core.values import Evidence


@dataclass(frozen=True)
class BoundResult:
    """One row. `value` is at most 1; 1 says that the bound is vacuous here. `lower_value` is set when d is an interval."""

    family: str
    title: str
    value: float
    assumptions: tuple[str, ...]
    source: str
    theorem: str
    latex: str
    lower_value: float | None = None


@dataclass(frozen=True)
class BoundTable:
    """Rows sorted by value, and (family, reason) for each bound that says nothing here.

    Each row holds with probability 1 - delta by itself. Reading off the smallest one is a choice made on the sample: it
    costs ln(number of rows), which `idbounds.bounds.compose.best_of` charges.
    """

    rows: tuple[BoundResult, ...]
    not_applicable: tuple[tuple[str, str], ...]
    num_bits: float
    delta: float


def code_length(*, num_bits: float | None = None, d: float | None = None, bits_per_coordinate: float | None = None) -> float:
    """Bits: given, or d times bits per coordinate; raises ConfigError unless exactly one way is used."""
    by_coordinate = d is not None or bits_per_coordinate is not None
    if by_coordinate == (num_bits is not None):
        raise ConfigError("give either num_bits, or d and bits_per_coordinate")
    if num_bits is not None:
        return float(check_bits("num_bits", num_bits))
    if d is None or bits_per_coordinate is None:
        raise ConfigError("d and bits_per_coordinate belong together: bits = d × bits_per_coordinate")
    return float(check_bits("d", d)) * float(check_bits("bits_per_coordinate", bits_per_coordinate))


def all_bounds_for(
    *,
    errors: int,
    n: int,
    delta: float = 0.05,
    num_bits: float | None = None,
    d: float | None = None,
    bits_per_coordinate: float | None = None,
    d_interval: tuple[float, float] | None = None,
    split: str = "train",
    everything: bool = False,
) -> BoundTable:
    """Every bound that error counts and a code length support.

    Args:
        errors: whole number of wrong examples.
        n: number of distinct examples.
        delta: probability with which one row may fail.
        num_bits: code length; or give `d` and `bits_per_coordinate`.
        d: number of coordinates.
        bits_per_coordinate: bits for each.
        d_interval: (lowest, highest) d; then `value` is at the highest d and `lower_value` at the lowest.
        split: "train", or "test" for a held-out set (then no bits are allowed).
        everything: also bounds outside the default table, if they give a number at all.

    Examples:
        >>> table = all_bounds_for(errors=367, n=3668, d=207, bits_per_coordinate=3)
        >>> table.rows[0].family, round(table.rows[0].value, 4)
        ('occam_binomial', 0.301)
    """
    check_delta(delta)
    if d_interval is not None:
        if bits_per_coordinate is None or not d_interval[0] <= d_interval[1]:
            raise ConfigError(f"d_interval needs bits_per_coordinate and lowest <= highest, got {d_interval}")
        d = d_interval[1]
    if split == "test" and num_bits is None and d is None:
        num_bits = 0.0
    bits = code_length(num_bits=num_bits, d=d, bits_per_coordinate=bits_per_coordinate)
    fewest = None if d_interval is None else code_length(d=d_interval[0], bits_per_coordinate=bits_per_coordinate)
    evidence = Evidence.checked(errors=errors, n=n, split=split, examples_sha256="0" * 64)
    rows, refused = [], []
    for bound in BOUNDS.values():
        try:
            _require_listed(bound, evidence, everything)
            rows.append(_row(bound, evidence, bits=bits, fewest=fewest, delta=delta))
        except UnsupportedEvidenceError as error:
            refused.append((bound.name, str(error).removeprefix(f"{bound.name} does not apply: ")))
    rows.sort(key=lambda row: (row.value, row.family))
    return BoundTable(rows=tuple(rows), not_applicable=tuple(refused), num_bits=bits, delta=delta)


def _require_listed(bound: Bound, evidence: Evidence, everything: bool) -> None:
    bound.require(evidence)
    if not (bound.in_default_table or everything):
        raise UnsupportedEvidenceError("a constant could not be checked in its source; ask for everything to see it")


def _row(bound: Bound, evidence: Evidence, *, bits: float, fewest: float | None, delta: float) -> BoundResult:
    import sympy

    def at(num_bits: float) -> float:
        nats = bits_to_nats(num_bits)
        try:
            return float(bound.from_counts(errors=evidence.errors, n=evidence.n, complexity_nats=nats, delta=delta))
        except ConfigError as error:
            raise UnsupportedEvidenceError(str(error)) from None

    return BoundResult(
        family=bound.name,
        title=bound.title,
        value=at(bits),
        assumptions=bound.assumptions,
        source=str(bound.source),
        theorem=bound.source.theorem,
        latex=sympy.latex(bound.formula),
        lower_value=None if fewest is None else at(fewest),
    )
