"""What follows from a posterior, its specification and the errors of networks drawn from it. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idbounds.bounds import BOUNDS
from idbounds.bounds.base import check_delta
from idbounds.bounds.evidence import GibbsEvidence
from idbounds.bounds.gaussian import PriorScaleGrid, gaussian_kl, risk_from_draws
from idbounds.claims import assumptions_of
from idbounds.comparison import Comparison
from idbounds.core.errors import DataError, UnsupportedEvidenceError
from idbounds.core.stochastic import Draws, StochasticCertificate, StochasticSpec
from idbounds.core.streams import Stream
from idbounds.core.units import nats_to_bits
from idbounds.core.values import Complexity, LedgerItem, RunSpec

#: KL and prices are raised to multiples of this, far below any digit that matters and far above the last bits of a logarithm,
#: which differ between processors: so that two machines write the same certificate.
_GRAIN = 2.0**-20

_PREDICTOR = "stochastic, a network drawn anew from the posterior for each prediction,"
_ASSUMPTIONS = (
    "the words of the counter-based stream, keyed by the posterior's hash, are taken for independent uniform ones",
    "one posterior was drawn from: whoever draws from several and shows the best divides the draws' δ by their number",
)

Part = Literal["train", "test"]
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Posterior:
    """N(μ, diag σ²) in the d coordinates of the subspace of a seed, and the prior N(0, τ² I) that it is compared with.

    `sha256` is that of the file that holds μ and ln σ, and names the draws.
    """

    mean: Vector
    log_sigma: Vector
    seed: int
    scale_index: int
    sha256: str

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return len(self.mean)

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Standard deviations."""
        return np.asarray(np.exp(self.log_sigma.astype(np.float64)))

    def draws(self, settings: StochasticSpec) -> Iterator[Vector]:
        """The declared number of vectors, w = μ + σ z in float64, rounded once to float32."""
        stream = Stream(seed=settings.draw_seed, purpose="stochastic/draws", name=self.sha256)
        mean, sigma = self.mean.astype(np.float64), self.sigma
        for number in range(settings.draws):
            yield (mean + sigma * stream.fine_normal(number * self.d, self.d)).astype(np.float32)

    def examples(self, settings: StochasticSpec, *, part: Part, n: int) -> Iterator[NDArray[np.int64]]:
        """For each draw the examples of a part that it is counted on, in increasing order: all, or so many drawn for it."""
        size = min(settings.examples_a_draw, n)
        stream = Stream(seed=settings.draw_seed, purpose=f"stochastic/{part}", name=self.sha256)
        for number in range(settings.draws):
            yield np.arange(n) if size == n else np.sort(stream.permutation(number * n, n)[:size])


@dataclass(frozen=True)
class DrawCounts:
    """Errors of each draw on the training and on the test part."""

    train: tuple[int, ...]
    test: tuple[int, ...]


def settings_of(spec: RunSpec) -> StochasticSpec:
    """What the specification declares. Raises UnsupportedEvidenceError if it declares no stochastic predictor."""
    if spec.stochastic is None:
        raise UnsupportedEvidenceError(
            f"the specification declares predictors = {list(spec.predictors)}, so a stochastic predictor's prior was not fixed "
            "beforehand; set predictors in [certificate] in a configuration with another output (a common store keeps trials)"
        )
    return spec.stochastic


def grid_of(settings: StochasticSpec) -> PriorScaleGrid:
    """The declared τ."""
    return PriorScaleGrid(largest=settings.largest_scale, ratio=settings.scale_ratio, size=settings.num_scales)


def certificate_of(
    posterior: Posterior, *, spec: RunSpec, counts: DrawCounts, versions: Mapping[str, str]
) -> StochasticCertificate:
    """The certificate that a posterior and the counts of its draws support.

    Raises DataError if d, seed or the index of τ is not in the specification's menus.
    """
    settings, delta = settings_of(spec), spec.delta_of_each
    nats = _kl(posterior, settings)
    ledger = _ledger(posterior, spec=spec, nats=nats)
    train = _drawn(counts.train, spec=spec, part="train", delta=delta)
    test = _drawn(counts.test, spec=spec, part="test", delta=spec.delta)
    training = BOUNDS["seeger"].certify_risk(
        _evidence(train, spec=spec, part="train", delta=delta), Complexity(ledger=ledger), delta=delta
    )
    held_out = BOUNDS["test_set_gibbs"].certify_risk(
        _evidence(test, spec=spec, part="test", delta=spec.delta), Complexity(ledger=()), delta=spec.delta
    )
    assumptions = (*training.assumptions, *assumptions_of(spec, predictor=_PREDICTOR), *_ASSUMPTIONS)
    return StochasticCertificate(
        spec_sha256=spec.sha256,
        posterior_sha256=posterior.sha256,
        d=posterior.d,
        seed=posterior.seed,
        scale_index=posterior.scale_index,
        kl_nats=nats,
        train_draws=train,
        test_draws=test,
        training=training.model_copy(update={"assumptions": assumptions}),
        held_out=held_out,
        majority_error=spec.task.test.majority_errors / spec.task.test.n,
        delta_covers=_delta_covers(spec),
        versions=dict(versions),
    )


def monte_carlo_share(delta: float) -> float:
    """Half of δ is for the draws: what that costs in the bound, ln 2 nats of the whole complexity, is less than it saves."""
    return check_delta(delta) / 2


def compare_stochastic(claimed: StochasticCertificate, found: StochasticCertificate) -> tuple[Comparison, ...]:
    """Every number and word that a certificate claims, beside what was found; versions are left out."""
    pairs: dict[str, tuple[object, object]] = {
        "KL in nats": (claimed.kl_nats, found.kl_nats),
        "errors of each draw": (_sums(claimed), _sums(found)),
        "mean error at most": (claimed.train_draws.risk_at_most, found.train_draws.risk_at_most),
        "bits": (claimed.training.complexity.num_bits, found.training.complexity.num_bits),
        "delta": (claimed.training.delta, found.training.delta),
        "training bound": (claimed.training.value, found.training.value),
        "held-out bound": (claimed.held_out.value, found.held_out.value),
        "theorem, assumptions, hashes": (_without_versions(claimed), _without_versions(found)),
    }
    return tuple(Comparison(f"stochastic {name}", *pair) for name, pair in pairs.items())


def _without_versions(certificate: StochasticCertificate) -> str:
    return certificate.model_copy(update={"versions": {}}).sha256


def _sums(certificate: StochasticCertificate) -> str:
    train, test = certificate.train_draws, certificate.test_draws
    return f"{sum(train.errors)} and {sum(test.errors)} in {len(train.errors)} draws"


def _kl(posterior: Posterior, settings: StochasticSpec) -> float:
    scales = grid_of(settings).scales
    if not posterior.scale_index < len(scales):
        raise DataError(f"scale_index is {posterior.scale_index}, the specification declares {len(scales)} scales")
    nats = gaussian_kl(posterior.mean, sigma=posterior.sigma, prior_scale=float(scales[posterior.scale_index]))
    return _raised(nats)


def _raised(amount: float) -> float:
    return math.ceil(amount / _GRAIN) * _GRAIN


def _ledger(posterior: Posterior, *, spec: RunSpec, nats: float) -> tuple[LedgerItem, ...]:
    menu, settings = spec.menu, settings_of(spec)
    tau = float(grid_of(settings).scales[posterior.scale_index])
    return (
        LedgerItem(
            name="KL(Q‖P)",
            bits=_raised(nats_to_bits(nats)),
            reason=f"Gaussian posterior in {posterior.d} coordinates against N(0, τ² I), τ = {tau:.6g}",
        ),
        _choice("dimension", posterior.d, menu.dims, menu.dim_weights),
        _choice("seed", posterior.seed, menu.seeds, menu.seed_weights),
        _choice("prior scale", posterior.scale_index, range(settings.num_scales), ()),
    )


def _choice(what: str, value: int, options: tuple[int, ...] | range, weights: tuple[int, ...]) -> LedgerItem:
    """-log2 of a choice's mass, rounded up."""
    if value not in options:
        raise DataError(f"{what} {value} is not in the specification's menu of {len(options)}")
    masses = weights or (1,) * len(options)
    mass, total = masses[options.index(value)], sum(masses)
    among = f"{len(options)} declared {'with weights' if weights else 'with equal mass'}"
    bits = 0.0 if mass == total else _raised(math.nextafter(math.log2(total) - math.log2(mass), math.inf))
    return LedgerItem(name=what, bits=bits, reason=f"-log2 of its mass among {among}")


def _drawn(errors: tuple[int, ...], *, spec: RunSpec, part: Part, delta: float) -> Draws:
    examples = min(settings_of(spec).examples_a_draw, getattr(spec.task, part).n)
    risks = np.asarray(errors, dtype=np.float64) / examples
    return Draws(errors=errors, examples=examples, risk_at_most=risk_from_draws(risks, delta_mc=monte_carlo_share(delta)))


def _evidence(drawn: Draws, *, spec: RunSpec, part: Part, delta: float) -> GibbsEvidence:
    split = getattr(spec.task, part)
    return GibbsEvidence(
        empirical_risk=drawn.risk_at_most,
        n=split.n,
        monte_carlo_delta=monte_carlo_share(delta),
        split=part,
        examples_sha256=split.sha256_of_examples,
    )


def _delta_covers(spec: RunSpec) -> str:
    shared = len(spec.predictors) > 1
    whole = "this predictor's share of δ, the rest being the message's" if shared else "δ"
    together = (
        f"; it and the message's training bound hold together with probability at least 1 - {spec.delta:g}" if shared else ""
    )
    return (
        f"the training bound fails with probability at most {spec.delta_of_each:g} ({whole}): half for the draw of the "
        "training part, for all posteriors and choices from the menus at once, half for the draws from this posterior by which "
        f"its mean training error is estimated{together}. The held-out bound has a δ of its own, {spec.delta:g}, half for the "
        "draw of the test part and half for the draws"
    )
