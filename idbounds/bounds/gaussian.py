"""KL of a Gaussian posterior in d coordinates, and Monte-Carlo estimates of a stochastic predictor's risk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idbounds.bounds.base import check_delta
from idbounds.core.errors import ConfigError
from idbounds.core.logmath import FloatArray, fraction_array, kl_inverse_upper, x_minus_log1p
from idbounds.core.units import nats_to_bits
from idbounds.core.values import LedgerItem


def gaussian_kl(mean: ArrayLike, *, sigma: ArrayLike, prior_scale: float) -> float:
    """KL(N(μ, diag σ²) ‖ N(0, τ² I)) in nats, rounded up.

    Formula: Σ ½ (ln(τ²/σ²) + (σ² + μ²)/τ² - 1) = ½ Σ (φ(σ²/τ² - 1) + μ²/τ²), φ(x) = x - ln(1+x), nothing cancels.
    Symbols: μ, σ of length d (σ may be one number), σ > 0, τ > 0.

    Examples:
        >>> round(gaussian_kl([0.0, 1.0], sigma=1.0, prior_scale=1.0), 6)
        0.5
    """
    mu, spread = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(sigma, dtype=np.float64))
    if not np.all(np.isfinite(mu)):
        raise ConfigError("mean must be finite")
    if not (np.all(spread > 0) and np.all(np.isfinite(spread))):
        raise ConfigError("sigma must be positive: a posterior of width 0 has infinite KL; use a code length instead")
    if not 0 < prior_scale < math.inf:
        raise ConfigError(f"prior_scale must be positive, got {prior_scale}")
    ratio = (spread / prior_scale) ** 2
    # φ(ratio - 1) for a ratio far below 1/2 is better as ratio - 1 - ln(ratio); x_minus_log1p loses nothing above.
    shape = np.where(ratio < 0.5, ratio - 1 - np.log(ratio), x_minus_log1p(np.maximum(ratio, 0.5) - 1))
    # The rounding of σ/τ moves φ by at most |ratio - 1| units; this is added in full.
    total = math.fsum(shape.ravel()) + math.fsum(((mu / prior_scale) ** 2).ravel())
    slack = 2.0**-48 * (total + float(np.abs(ratio - 1).sum()))
    return 0.5 * (total + slack)


@dataclass(frozen=True)
class PriorScaleGrid:
    """Geometric grid τ_j = largest · ratio^-j, j = 0 … size-1: the choice of τ after training costs log2(size) bits."""

    largest: float = 10.0
    ratio: float = 1.1
    size: int = 128

    def __post_init__(self) -> None:
        if not (0 < self.largest < math.inf and self.ratio > 1 and self.size >= 1):
            raise ConfigError(f"a grid needs largest > 0, ratio > 1 and size >= 1, got {self}")

    @property
    def scales(self) -> FloatArray:
        """All τ."""
        return np.asarray(self.largest * self.ratio ** -np.arange(self.size, dtype=np.float64))

    def best_index(self, mean: ArrayLike, *, sigma: ArrayLike) -> int:
        """j of the smallest KL."""
        nats = [gaussian_kl(mean, sigma=sigma, prior_scale=float(tau)) for tau in self.scales]
        return int(np.argmin(nats))

    def best(self, mean: ArrayLike, *, sigma: ArrayLike) -> tuple[float, float, tuple[LedgerItem, ...]]:
        """(τ, KL in nats, ledger): the smallest KL on the grid, with one ledger line for KL and one for the choice of τ."""
        index = self.best_index(mean, sigma=sigma)
        tau = float(self.scales[index])
        nats = gaussian_kl(mean, sigma=sigma, prior_scale=tau)
        bits = nats_to_bits(nats)
        choice = math.nextafter(math.log2(self.size), math.inf) if self.size > 1 else 0.0
        ledger = (
            LedgerItem(name="KL(Q‖P)", bits=bits, reason=f"Gaussian posterior against N(0, τ² I), τ = {tau:.6g}"),
            LedgerItem(name="prior scale", bits=choice, reason=f"τ was chosen on the sample among {self.size} values"),
        )
        return tau, nats, ledger


def monte_carlo_risk(mean_of_draws: ArrayLike, *, num_draws: int, delta_mc: float) -> FloatArray:
    """Upper end of the empirical risk of Q from V independent draws of the predictor, at its own confidence δ_mc.

    Formula: kl⁻¹(r̂_MC, ln(2/δ_mc)/V). The bound that uses it then holds with probability 1 - δ - δ_mc; put
    δ_mc into `GibbsEvidence.monte_carlo_delta`, and the certificate's δ covers both.
    Source: Langford & Caruana (2001), Theorem 2.5; Dziugaite & Roy (2017), section 4, arXiv:1703.11008. (ln(1/δ_mc) would do
    for one side; the published constant is kept.)

    Examples:
        >>> float(monte_carlo_risk(0.03, num_draws=150_000, delta_mc=0.01).round(5))
        0.03146
    """
    if not num_draws >= 1 or int(num_draws) != num_draws:
        raise ConfigError(f"num_draws must be a whole number of at least 1, got {num_draws}")
    nats = math.log(2 / check_delta(delta_mc)) * (1 + 1e-15)
    return kl_inverse_upper(mean_of_draws, c=nats / num_draws * (1 + 1e-15))


def risk_from_draws(risks: ArrayLike, *, delta_mc: float) -> float:
    """Upper end of the empirical risk of Q from the losses of m independent draws, at its own confidence δ_mc; rounded up.

    Formula: r̂(Q) ≤ 1 - (δ_mc Π(1 - z_i))^(1/m).
    Symbols: z_i in [0, 1], each with mean r̂(Q): the error of draw i on the sample, or on examples drawn from it for this draw.
    Holds: with probability at least 1 - δ_mc over the draws, by Markov's inequality, since E Π(1 - z_i) = (1 - r̂(Q))^m.
    Source: the largest bet of a betting bound, which loses least where the z_i are alike (Waudby-Smith & Ramdas 2024, JRSS-B
    86, arXiv:2010.09686): ln(1/δ_mc)/m in the logarithm, where `monte_carlo_risk` loses a square root of that.

    Examples:
        >>> round(risk_from_draws([0.3] * 100, delta_mc=0.025), 4)
        0.3254
    """
    z = np.asarray(risks, dtype=np.float64)
    if z.ndim != 1 or not z.size:
        raise ConfigError(f"risks must be a vector with one loss for each draw, got shape {z.shape}")
    z = fraction_array("risks", z)
    if float(z.max()) == 1.0:
        return 1.0
    terms = [math.log(check_delta(delta_mc)), *(math.log1p(-float(one)) for one in z)]
    # Each logarithm is good to two units, and z itself to half a unit of 1 - z, which is at most one of z's.
    slack = math.fsum(2.0**-50 * (abs(term) + 1 / (1 - one)) for term, one in zip(terms, (0.0, *z.tolist()), strict=True))
    least = math.exp((math.fsum(terms) - slack) / z.size) * (1 - 2.0**-50)
    return min(1.0, math.nextafter(1.0 - least, math.inf))
