"""Laws of the stochastic predictor's parts: draws, estimate, bound by simulation, the trained objective."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from idbounds.bounds import BOUNDS
from idbounds.bounds.evidence import GibbsEvidence
from idbounds.bounds.gaussian import gaussian_kl, risk_from_draws
from idbounds.core.errors import ConfigError, UnsupportedEvidenceError
from idbounds.core.streams import Stream
from idbounds.core.values import Complexity, LedgerItem
from idbounds.measurement.batches import Arrays, ByKind
from idbounds.measurement.posterior import GaussianSubspace
from idbounds.measurement.subspace import Subspace
from idbounds.stochastic_claims import monte_carlo_share


def test_fine_normals_have_the_law_of_a_gaussian():
    stream = Stream(seed=3, purpose="test")
    z = stream.fine_normal(0, 200_000)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert len(np.unique(z)) == len(z)
    assert np.array_equal(z[1000:1010], stream.fine_normal(1000, 10))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.floats(1e-6, 0.5))
def test_the_estimate_from_draws_is_its_formula_rounded_up(errors, delta):
    value = risk_from_draws(np.array(errors) / 20, delta_mc=delta)
    with mpmath.workdps(40):
        product = mpmath.fprod(1 - mpmath.mpf(one / 20) for one in errors)
        exact = 1 - (mpmath.mpf(delta) * product) ** (mpmath.mpf(1) / len(errors))
    assert exact <= value <= exact + 1e-12
    assert np.mean(errors) / 20 <= value <= 1


def test_the_estimate_from_draws_fails_no_more_often_than_it_says():
    random = np.random.default_rng(0)
    for risk in (0.02, 0.3, 0.7):
        draws = random.binomial(50, risk, size=(2000, 30)) / 50
        failures = sum(risk_from_draws(one, delta_mc=0.2) < risk for one in draws)
        assert failures <= 0.2 * 2000


def test_the_bound_holds_for_a_posterior_fitted_to_the_sample():
    """One coordinate, Gaussian posterior around the best threshold of each sample, the risk known: 400 samples at δ = 0.3."""
    random, n, delta, failures = np.random.default_rng(1), 40, 0.3, 0
    thresholds = np.linspace(-4, 4, 801)

    def risk(w):  # labels are x > 0, flipped for a fifth
        return 0.2 + 0.6 * np.abs(0.5 - special.ndtr(w))

    for _ in range(400):
        x = random.standard_normal(n)
        y = (x > 0) ^ (random.random(n) < 0.2)
        errors = ((x[:, None] > thresholds) != y[:, None]).mean(0)
        mean, sigma = thresholds[errors.argmin()], 0.3
        draws = random.normal(mean, sigma, size=200)
        empirical = risk_from_draws(((x[:, None] > draws) != y[:, None]).mean(0), delta_mc=delta / 2)
        nats = gaussian_kl([mean], sigma=sigma, prior_scale=1.0)
        bound = float(BOUNDS["seeger"].value(empirical_risk=empirical, n=n, complexity_nats=nats, delta=delta / 2))
        true = float(risk(random.normal(mean, sigma, size=4000)).mean())
        failures += bound < true
    assert failures <= delta * 400


def test_the_trained_kl_is_that_of_the_bound():
    network = torch.nn.Linear(20, 3)
    subspace = Subspace(network, dim=6, projection="dense", seed=0)
    torch.manual_seed(0)
    subspace.set_coordinates(torch.randn(6) * 3)
    made = GaussianSubspace(subspace)
    with torch.no_grad():
        made.unit_log_sigma += torch.randn(6)
    sigma = made.log_sigma.double().exp().numpy()
    scales = np.linspace(0.05, 30, 2_000)
    best = min(gaussian_kl(made.mean.numpy(), sigma=sigma, prior_scale=float(scale)) for scale in scales)
    assert made.kl().item() == pytest.approx(best, rel=1e-4)


def test_its_gradient_reaches_both_mean_and_width():
    network = torch.nn.Linear(20, 3)
    subspace = Subspace(network, dim=6, projection="dense", seed=0)
    subspace.set_coordinates(torch.ones(6))
    made = GaussianSubspace(subspace)
    torch.manual_seed(1)
    made(torch.ones(2, 20)).square().sum().backward()
    assert bool((made.unit_mean.grad != 0).all())
    assert bool((made.unit_log_sigma.grad != 0).all())
    assert subspace.theta_d.grad is None
    with pytest.raises(ConfigError, match="root mean square 0"):
        GaussianSubspace(Subspace(network, dim=6, projection="dense", seed=0))


def test_taken_examples_are_batched_as_in_the_whole():
    data = Arrays(torch.arange(10.0)[:, None], torch.arange(10))
    taken = ByKind(data).take(np.array([7, 2, 5]))
    batches = [taken.batch(one).labels.tolist() for one in taken.evaluation_batches(2)]
    assert batches == [[7, 2], [5]]
    assert len(taken) == 3


def test_the_draws_share_of_delta_is_half():
    assert monte_carlo_share(0.05) == 0.025


def test_a_held_out_gibbs_risk_owes_no_bits():
    bound, held_out = BOUNDS["test_set_gibbs"], GibbsEvidence(empirical_risk=0.1, n=500, split="test", examples_sha256="0" * 64)
    code = Complexity(ledger=(LedgerItem(name="message", bits=80.0, reason="test"),))
    made = bound.certify_risk(held_out, Complexity(ledger=()), delta=0.05)
    # Chernoff is looser than the binomial's exact tail, and needs no whole errors.
    assert float(BOUNDS["test_set"].value(errors=50, n=500, delta=0.05)) < made.value < 0.15
    for evidence, complexity in ((held_out, code), (held_out.model_copy(update={"split": "train"}), Complexity(ledger=()))):
        with pytest.raises(UnsupportedEvidenceError, match="test_set_gibbs does not apply"):
            bound.certify_risk(evidence, complexity, delta=0.05)
    with pytest.raises(UnsupportedEvidenceError, match="use test_set"):
        BOUNDS["seeger"].certify_risk(held_out, code, delta=0.05)
    with pytest.raises(UnsupportedEvidenceError, match="something was chosen"):
        bound.value(empirical_risk=0.1, n=500, complexity_nats=1.0, delta=0.05)
