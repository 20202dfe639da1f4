"""The field's symbols in sympy, and the functions that its formulas need. sympy is imported on first use."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy


@functools.cache
def symbols() -> SimpleNamespace:
    """The symbols by the name that the code uses for them; D is here for the bounds that do depend on it."""
    import sympy as sp

    positive = {
        name: name
        for name in ("n", "m", "a", "d", "b", "D", "V", "W", "G", "gamma", "alpha", "delta", "sigma", "eta", "q", "r")
    }
    positive |= {"lam": "lambda", "scale": "Delta"}
    nonnegative = {"k": "k", "C": "C", "K": "K", "KL": "KL"}
    nonnegative |= {"above": r"\hat{p}^+", "below": r"\hat{p}^-", "mu": "mu"}
    nonnegative |= {"rhat": r"\hat{r}", "var": r"\hat{\sigma}^2", "second": r"\hat{m}_2"}
    made = {name: sp.Symbol(text, positive=True) for name, text in positive.items()}
    made |= {name: sp.Symbol(text, nonnegative=True) for name, text in nonnegative.items()}
    return SimpleNamespace(**made)


def ln_delta_prime() -> sympy.Expr:
    """ln δ - C."""
    import sympy as sp

    s = symbols()
    return sp.log(s.delta) - s.C


def penalty() -> sympy.Expr:
    """L = C + ln(1/δ)."""
    import sympy as sp

    s = symbols()
    return s.C + sp.log(1 / s.delta)


def function(name: str, latex: str, *arguments: sympy.Expr) -> sympy.Expr:
    """An applied function that prints as `latex`."""
    import sympy as sp

    return _function_class(name, latex)(*(sp.sympify(argument) for argument in arguments))


@functools.cache
def _function_class(name: str, latex: str) -> type:
    import sympy as sp

    def _latex(self: sympy.Function, printer: sympy.printing.latex.LatexPrinter) -> str:
        inside = ", ".join(printer._print(argument) for argument in self.args)
        return rf"{latex}\left({inside}\right)"

    return type(name, (sp.Function,), {"_latex": _latex})


def binomial_inverse(k: sympy.Expr, n: sympy.Expr, ln_delta: sympy.Expr) -> sympy.Expr:
    """Bin⁻¹(k, n, exp(ln_delta))."""
    import sympy as sp

    return function("BinInv", r"\mathrm{Bin}^{-1}", k, n, sp.exp(ln_delta))


def kl_inverse(q: sympy.Expr, c: sympy.Expr) -> sympy.Expr:
    """kl⁻¹(q, c), the upper one."""
    return function("KlInv", r"\mathrm{kl}^{-1}", q, c)


def kl_inverse_lower(q: sympy.Expr, c: sympy.Expr) -> sympy.Expr:
    """kl⁻¹ on the lower side."""
    return function("KlInvLower", r"\mathrm{kl}^{-1}_{\mathrm{lower}}", q, c)


def maurer_penalty() -> sympy.Expr:
    """A = C + ln(2√n/δ), with C = KL(Q‖P)."""
    import sympy as sp

    s = symbols()
    return s.C + sp.log(2 * sp.sqrt(s.n) / s.delta)


def betting_penalty() -> sympy.Expr:
    """C + ln(1/δ) + ln(√π Γ(n+1)/Γ(n+½))."""
    import sympy as sp

    s = symbols()
    half = sp.Rational(1, 2)
    return penalty() + sp.log(sp.sqrt(sp.pi) * sp.gamma(s.n + 1) / sp.gamma(s.n + half))
