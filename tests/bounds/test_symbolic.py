"""What the formulas say, shown by sympy: D is absent, derivatives have the right signs, the rate is √(d/n)."""

from __future__ import annotations

import pytest
import sympy as sp

from idbounds.bounds import BOUNDS, symbolic

S = symbolic.symbols()
CONTRAST = {"parameter_counting", "vc_dimension", "spectral_margin"}
CLOSED = [
    "occam_hoeffding",
    "occam_empirical_bernstein",
    "mcallester",
    "pac_bayes_quadratic",
    "aghajanyan",
    "catoni_fixed",
    "tokens",
]


@pytest.mark.parametrize("name", [name for name in BOUNDS if name not in CONTRAST])
def test_the_number_of_weights_is_not_among_the_symbols(name: str) -> None:
    assert S.D not in BOUNDS[name].formula.free_symbols


def test_the_contrast_bounds_do_depend_on_d() -> None:
    assert S.D in BOUNDS["parameter_counting"].formula.free_symbols
    assert S.D in BOUNDS["vc_dimension"].formula.free_symbols
    assert not any(BOUNDS[name].in_default_table for name in CONTRAST)


def sign_of(expression: sp.Expr) -> set[float]:
    """Signs at a grid of points in the symbols' ranges."""
    point = {
        S.rhat: [0.1, 0.3],
        S.n: [500, 10**5],
        S.m: [500, 10**5],
        S.delta: [0.01, 0.4],
        S.C: [3, 50],
        S.d: [5, 40],
        S.b: [2, 8],
    }
    fixed = {S.var: 0.05, S.lam: 300, S.scale: 18}
    signs = set()
    for i in range(2):
        for j in range(2):
            values = {symbol: options[(i + (symbol in (S.n, S.m, S.delta)) * j) % 2] for symbol, options in point.items()}
            signs.add(float(sp.sign(expression.subs({**values, **fixed}).evalf())))
    return signs


@pytest.mark.parametrize("name", CLOSED)
def test_signs_of_the_derivatives(name: str) -> None:
    formula = BOUNDS[name].formula
    for symbol, sign in ((S.rhat, 1.0), (S.C, 1.0), (S.d, 1.0), (S.b, 1.0), (S.delta, -1.0), (S.n, -1.0), (S.m, -1.0)):
        if symbol in formula.free_symbols and not (name == "catoni_fixed" and symbol == S.n):
            assert sign_of(sp.diff(formula, symbol)) == {sign}, f"{name}, derivative in {symbol}"


def test_signs_hold_for_all_values_where_sympy_can_show_it() -> None:
    delta_below_one = S.delta / (1 + S.delta)  # any positive delta mapped into (0, 1)
    for name in ("occam_hoeffding", "aghajanyan", "mcallester"):
        gap = BOUNDS[name].formula - S.rhat
        inside = sp.simplify((gap**2).subs(S.delta, delta_below_one))
        for symbol, positive in ((S.C, True), (S.d, True), (S.b, True)):
            if symbol in inside.free_symbols:
                derivative = sp.simplify(sp.diff(inside, symbol))
                assert derivative.is_positive is positive, f"{name}: {derivative}"
        assert sp.simplify(sp.diff(gap**2, S.delta) * S.n * S.delta) == -sp.Rational(1, 2)


def test_rate_of_aghajanyan_is_the_square_root_of_d_over_n() -> None:
    gap = BOUNDS["aghajanyan"].formula - S.rhat
    ratio = gap / sp.sqrt(S.d / S.n)
    assert sp.limit(ratio, S.d, sp.oo) == sp.sqrt(S.b * sp.log(2) / 2)
    assert sp.simplify(sp.diff(sp.log(gap), S.n) * S.n) == -sp.Rational(1, 2)


def test_aghajanyan_is_hoeffding_with_d_times_b_bits() -> None:
    hoeffding = BOUNDS["occam_hoeffding"].formula.subs(S.C, S.d * S.b * sp.log(2))
    assert sp.simplify(hoeffding - BOUNDS["aghajanyan"].formula) == 0


def test_lambda_bound_is_least_at_the_papers_lambda_and_equals_the_quadratic() -> None:
    # In terms of s = √(2 r̂ n / A + 1) the minimiser is 2/(s+1).
    s, n = sp.symbols("s n", positive=True)
    penalty = symbolic.maurer_penalty()
    formula = BOUNDS["pac_bayes_lambda"].formula
    a = sp.Symbol("A", positive=True)
    reduced = formula.subs(penalty, a).subs(S.n, n).subs(S.rhat, a * (s**2 - 1) / (2 * n))
    lam = 2 / (s + 1)
    assert sp.simplify(sp.diff(reduced, S.lam).subs(S.lam, lam)) == 0
    kappa = a / (2 * n)
    quadratic = (sp.sqrt(a * (s**2 - 1) / (2 * n) + kappa) + sp.sqrt(kappa)) ** 2
    assert sp.simplify(reduced.subs(S.lam, lam) - quadratic) == 0


@pytest.mark.parametrize("name", list(BOUNDS))
def test_latex_is_made(name: str) -> None:
    text = sp.latex(BOUNDS[name].formula)
    assert text
    assert "KlInv" not in text
    assert "BinInv" not in text
