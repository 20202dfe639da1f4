"""Numbers for print. Bounds go up to the printed digit, measurements to the nearest one."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

#: A float64 has at most 1075 decimal places; with these digits multiplying by 100 and rounding are exact.
_EXACT = Context(prec=2000)


def round_up(value: float, *, digits: int) -> str:
    """The least number with `digits` decimal places that is not below the float64 `value`.

    The binary value is what was certified, so it is rounded as it is, not as `repr` shortens it: 0.1
    is a little above one tenth and becomes 0.2 at digits = 1.
    """
    return _rounded(Decimal(value), digits=digits, rounding=ROUND_CEILING)


def percent_up(fraction: float, *, digits: int = 1) -> str:
    """A bound given as a fraction, in percent, rounded up."""
    return _rounded(_EXACT.multiply(Decimal(fraction), Decimal(100)), digits=digits, rounding=ROUND_CEILING)


def percent(fraction: float, *, digits: int = 1) -> str:
    """A measured fraction in percent, rounded to nearest."""
    return _rounded(_EXACT.multiply(Decimal(fraction), Decimal(100)), digits=digits, rounding=ROUND_HALF_EVEN)


def bits_up(bits: float) -> str:
    """A code length. It enters a bound, so a fractional one goes up, to one decimal place."""
    return str(int(bits)) if bits == int(bits) else round_up(bits, digits=1)


def printable(text: str) -> str:
    """Text of a file as it may be drawn or set: a line break becomes a space, and U+FFFD what is no printable character.

    Marks that turn the direction of reading round are among these.
    """
    return "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _rounded(value: Decimal, *, digits: int, rounding: str) -> str:
    return format(value.quantize(Decimal(1).scaleb(-digits), rounding=rounding, context=_EXACT), "f")
