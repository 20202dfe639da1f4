"""Every family over error counts against the shared suite."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
from scipy import optimize

from idbounds.bounds import BOUNDS
from idbounds.bounds.bernstein import gamma_grid_size
from idbounds.testing.bound_suite import BoundSuite


class TestOccamBinomial(BoundSuite):
    bound = BOUNDS["occam_binomial"]
    reference_n = 120


class TestTestSet(BoundSuite):
    __test__ = True
    bound = BOUNDS["test_set"]
    reference_n = 120
    takes_complexity = False


class TestOccamKl(BoundSuite):
    bound = BOUNDS["occam_kl"]


class TestOccamHoeffding(BoundSuite):
    bound = BOUNDS["occam_hoeffding"]


class TestOccamEmpiricalBernstein(BoundSuite):
    bound = BOUNDS["occam_empirical_bernstein"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        return [{"var": mpmath.mpf(errors) * (n - errors) / (mpmath.mpf(n) * (n - 1))}]


class TestOccamUnexpectedBernstein(BoundSuite):
    bound = BOUNDS["occam_unexpected_bernstein"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        size = int(gamma_grid_size(n, delta=delta))
        return [{"second": mpmath.mpf(errors) / n, "G": size, "gamma": mpmath.mpf(2) ** -j} for j in range(1, size + 1)]


class TestPacBayesUnexpectedBernstein(TestOccamUnexpectedBernstein, BoundSuite):
    bound = BOUNDS["pac_bayes_unexpected_bernstein"]


class TestOccamSplitKl(BoundSuite):
    bound = BOUNDS["occam_split_kl"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        risk = mpmath.mpf(errors) / n
        return [{"mu": 0.5, "above": risk / 2, "below": (1 - risk) / 2}]


class TestPacBayesSplitKl(TestOccamSplitKl, BoundSuite):
    bound = BOUNDS["pac_bayes_split_kl"]


class TestOccamBetting(BoundSuite):
    bound = BOUNDS["occam_betting"]


class TestPacBayesBetting(BoundSuite):
    bound = BOUNDS["pac_bayes_betting"]


class TestMcAllester(BoundSuite):
    bound = BOUNDS["mcallester"]


class TestSeeger(BoundSuite):
    bound = BOUNDS["seeger"]


class TestLambda(BoundSuite):
    bound = BOUNDS["pac_bayes_lambda"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        penalty = nats + mpmath.log(2 * mpmath.sqrt(n) / mpmath.mpf(delta))
        return [{"lam": 2 / (mpmath.sqrt(2 * errors / penalty + 1) + 1)}]


class TestQuadratic(BoundSuite):
    bound = BOUNDS["pac_bayes_quadratic"]


class TestCatoniFixed(BoundSuite):
    bound = BOUNDS["catoni_fixed"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        return [{"lam": n}]


class TestCatoniGrid(BoundSuite):
    bound = BOUNDS["catoni_grid"]
    alpha = 1e-4

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        code = self.code(nats)

        def at(log_lam: float) -> float:
            lam = math.exp(log_lam)
            price = code - math.log(delta) + 2 * math.log(2 + log_lam / math.log1p(self.alpha))
            x = errors / n + (1 + self.alpha) / lam * price
            return math.expm1(-lam / n * x) / math.expm1(-lam / n)

        top = math.log(n) + 8
        starts = np.linspace(1e-9, top, 2000)
        best = starts[int(np.argmin([at(start) for start in starts]))]
        width = top / 1999
        found = optimize.minimize_scalar(
            at, bounds=(max(best - width, 1e-9), best + width), method="bounded", options={"xatol": 1e-12}
        )
        return [{"lam": mpmath.exp(mpmath.mpf(float(found.x))), "alpha": self.alpha}]

    def code(self, nats: float) -> float:
        return nats

    def reference(self, errors: int, n: int, nats: float, delta: float) -> Any:
        # The search for λ in double precision ends a little above the infimum: any λ is valid, so that is no error.
        return super().reference(errors, n, nats, delta) - mpmath.mpf("1e-10")


class TestZhou(TestCatoniGrid, BoundSuite):
    bound = BOUNDS["zhou"]
    least_nats = math.log(2)

    def code(self, nats: float) -> float:
        length = nats / math.log(2)
        return nats + math.log(length) + math.log1p(length)

    def reference(self, errors: int, n: int, nats: float, delta: float) -> Any:
        # The code has a whole number of bits.
        with mpmath.workdps(40):
            whole = mpmath.ceil(mpmath.mpf(nats) / mpmath.log(2) - mpmath.mpf("1e-9")) * mpmath.log(2)
            return super().reference(errors, n, float(whole), delta)


class TestUniversalPrior(BoundSuite):
    bound = BOUNDS["universal_prior"]
    least_nats = math.log(2)


class TestAghajanyan(BoundSuite):
    bound = BOUNDS["aghajanyan"]

    def extra(self, errors: int, n: int, nats: float, delta: float) -> list[dict[str, Any]]:
        return [{"d": 1, "b": mpmath.mpf(nats) / mpmath.log(2)}]


class TestTolstikhinSeldin(BoundSuite):
    bound = BOUNDS["tolstikhin_seldin"]

    def reference(self, errors: int, n: int, nats: float, delta: float) -> Any:
        """Both branches, straight from the docstring."""
        with mpmath.workdps(40):
            c, half = mpmath.mpf("1.15"), mpmath.log(2 / mpmath.mpf(delta))
            nu1 = mpmath.ceil(mpmath.log(mpmath.sqrt((mpmath.e - 2) * n / (4 * half))) / mpmath.log(c)) + 1
            nu2 = mpmath.ceil(mpmath.log(mpmath.sqrt((n - 1) / half + 1) / 2 + 0.5) / mpmath.log(c))
            a1 = nats + half + mpmath.log(max(nu1, 1))
            a2 = nats + half + mpmath.log(max(nu2, 1))
            v = mpmath.mpf(errors) * (n - errors) / (mpmath.mpf(n) * (n - 1))
            spread = min(v + (1 + c) * mpmath.sqrt(v * a2 / (2 * (n - 1))) + 2 * c * a2 / (n - 1), mpmath.mpf("0.25"))
            scale = (mpmath.e - 2) * spread
            added = 2 * a1 / n if scale < a1 / n else (1 + c) * mpmath.sqrt(scale * a1 / n)
            return min(mpmath.mpf(errors) / n + added, mpmath.mpf(1))


def test_every_bound_over_counts_has_a_suite() -> None:
    tested = {suite.bound.name for suite in BoundSuite.__subclasses__()}
    over_counts = {name for name, bound in BOUNDS.items() if any(kind.__name__ == "Evidence" for kind in bound.accepts)}
    assert over_counts <= tested, f"add a BoundSuite subclass for {sorted(over_counts - tested)}"
