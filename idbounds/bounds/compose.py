"""Choosing after looking, paid for: the best of several bounds or runs, and a table of several numbers.

A union bound over m alternatives gives each δ/m. In the ledger this is a line of log2(m) bits, so that the certificate of
the chosen one carries the price and `num_bits` adds up. It is the same thing: ln δ' = ln δ - ln m - K ln 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from idbounds.bounds.base import Bound, check_delta
from idbounds.core.errors import ConfigError
from idbounds.core.values import Certificate, Complexity, Evidence, LedgerItem


def union_item(num_choices: int, *, name: str, reason: str) -> LedgerItem:
    """The ledger line for a choice among `num_choices` alternatives listed beforehand.

    Examples:
        >>> union_item(8, name="seed", reason="best of 8 seeds").bits
        3.0
    """
    if int(num_choices) != num_choices or num_choices < 1:
        raise ConfigError(f"num_choices must be a whole number of at least 1, got {num_choices!r}")
    exact = int(num_choices) & (int(num_choices) - 1) == 0
    bits = math.log2(num_choices)
    return LedgerItem(name=name, bits=bits if exact else math.nextafter(bits, math.inf), reason=reason)


def charged(complexity: Complexity, *items: LedgerItem) -> Complexity:
    """The complexity with further lines."""
    return Complexity(ledger=(*complexity.ledger, *items))


def best_of(bounds: Sequence[Bound], evidence: Evidence, complexity: Complexity, *, delta: float) -> Certificate:
    """The smallest of several bounds on one predictor, each at δ/m, so that the smallest holds at δ.

    Raises UnsupportedEvidenceError if one of them does not cover the evidence: the list was to be fixed beforehand.
    """
    if not bounds:
        raise ConfigError("give at least one bound")
    names = [bound.name for bound in bounds]
    if len(set(names)) < len(names):
        raise ConfigError(f"a bound is listed twice: {', '.join(names)}")
    paid = complexity
    if len(bounds) > 1:
        item = union_item(len(bounds), name="inequality", reason=f"smallest of {', '.join(names)}")
        paid = charged(complexity, item)
    return min((bound.certify(evidence, paid, delta=delta) for bound in bounds), key=lambda made: made.value)


def best_run(
    bound: Bound, runs: Sequence[tuple[Evidence, Complexity]], *, delta: float, menu_size: int, what: str
) -> Certificate:
    """The smallest certificate over runs that differ in a choice (d, seed, λ, …) from a menu listed beforehand.

    `menu_size` is the length of the whole menu, tried or not. Do not use it when the message already holds the choice: it
    would be paid for twice (harmless, but loose).
    """
    if not runs:
        raise ConfigError("give at least one run")
    if menu_size < len(runs):
        raise ConfigError(
            f"menu_size must be at least the number of runs, {len(runs)}, got {menu_size}: untried settings count too"
        )
    item = union_item(menu_size, name=what, reason=f"chosen on the sample among {menu_size} listed beforehand")
    made = (bound.certify(evidence, charged(complexity, item), delta=delta) for evidence, complexity in runs)
    return min(made, key=lambda certificate: certificate.value)


@dataclass(frozen=True)
class CertifiedTable:
    """Several certificates and what δ covers."""

    rows: tuple[Certificate, ...]
    delta: float
    scope: Literal["row", "table"]

    @property
    def statement(self) -> str:
        """What may be said about the numbers, in words."""
        if self.scope == "row":
            return f"each row holds with probability at least {1 - self.delta:g} by itself; together they may fail more often"
        return f"all {len(self.rows)} rows hold at once with probability at least {1 - self.delta:g}"


def certified_table(
    rows: Sequence[tuple[Bound, Evidence, Complexity]], *, delta: float, scope: Literal["row", "table"]
) -> CertifiedTable:
    """Certify each row at δ ("row"), or at δ/rows ("table") so that all hold at once; says which."""
    check_delta(delta)
    if scope not in ("row", "table"):
        raise ConfigError(f'scope must be "row" or "table", got {scope!r}')
    if not rows:
        raise ConfigError("give at least one row")
    share = delta if scope == "row" else math.nextafter(delta / len(rows), 0.0)
    made = tuple(bound.certify(evidence, complexity, delta=share) for bound, evidence, complexity in rows)
    return CertifiedTable(rows=made, delta=delta, scope=scope)
