from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError
from idbounds.core.values import IntrinsicDimension, Trial, TrialKey
from idbounds.estimation import choose_trials, intrinsic_dimension, target_accuracy
from idbounds.estimation.curve import crossing, monotone_curve
from idbounds.testing.estimator_suite import EstimatorSuite, make_trial, simulate_trials

DIMS = (10, 30, 100, 300, 1000, 3000)


class TestIntrinsicDimension(EstimatorSuite):
    estimate = staticmethod(intrinsic_dimension)


def estimate(trials, **changes):
    return intrinsic_dimension(trials, **{"parametrization": "full", "majority_accuracy": 0.5, **changes})


def learning_curve(d):
    """From 0.5 (guessing) to 0.9, a logistic function of log d centred at 100."""
    return 0.5 + 0.4 / (1 + (100 / d) ** 1.5)


#: Solves learning_curve(d) = 0.9 * 0.9 and = 0.5 + 0.9 * 0.4.
TRUE_D90 = {"paper": 100 * (0.4 / 0.31 - 1) ** (-1 / 1.5), "chance_corrected": 100 * (0.4 / 0.36 - 1) ** (-1 / 1.5)}


@pytest.mark.parametrize("rule", ["paper", "chance_corrected"])
def test_a_noiseless_curve_gives_its_d90(rule):
    dims = [int(d) for d in np.geomspace(10, 3000, 40)]
    trials = [make_trial(d=d, correct=round(10**6 * (learning_curve(d) if d else 0.9)), n=10**6) for d in (0, *dims)]
    assert estimate(trials, rule=rule).value == pytest.approx(TRUE_D90[rule], rel=0.01)


@pytest.mark.parametrize("rule", ["paper", "chance_corrected"])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(rule):
    """60 simulated studies at 90 %: fewer than 48 covering has probability 0.6 % if coverage is 90 %.

    The truth is the crossing of the true curve interpolated on the grid: the interval is about sampling and
    seeds, not about how coarse the grid is.
    """
    target = target_accuracy(rule, baseline=0.9, majority=0.5)
    truth = crossing(DIMS, np.array([learning_curve(d) for d in DIMS]), target=target)
    covered = 0
    for draw in range(60):
        trials = simulate_trials(learning_curve, dims=DIMS, full=0.9, n=1000, seeds=4, noise=0.005, draw=draw)
        result = estimate(trials, rule=rule)
        lower = 0.0 if result.lower is None else result.lower
        upper = math.inf if result.upper is None else result.upper
        covered += lower <= truth <= upper
    assert covered >= 48


def test_same_trials_same_interval():
    trials = simulate_trials(learning_curve, dims=DIMS, full=0.9, n=200, seeds=3, noise=0.01, draw=1)
    assert estimate(trials).sha256 == estimate(trials).sha256


def test_more_examples_give_a_narrower_interval():
    def width(n):
        trials = [make_trial(d=d, correct=round(n * (learning_curve(d) if d else 0.9)), n=n) for d in (0, *DIMS)]
        result = estimate(trials)
        return math.log(result.upper / result.lower)

    assert width(100_000) < 0.2 * width(1000)


def test_an_interval_wholly_outside_the_grid_is_printed_as_such():
    low = [make_trial(d=0, correct=950, n=1000), *(make_trial(d=d, correct=500, n=1000) for d in DIMS)]
    assert str(estimate(low)) == "not reached, d90 > 3000 [3000, > 3000] at 90%"
    high = [make_trial(d=0, correct=950, n=1000), *(make_trial(d=d, correct=950, n=1000) for d in DIMS)]
    assert str(estimate(high)) == "d90 < 10 [< 10, 10] at 90%"


def test_a_lucky_point_that_the_monotone_curve_does_not_support_is_not_reached():
    accuracies = (500, 900, 600)
    trials = [make_trial(d=0, correct=1000, n=1000)]
    trials += [make_trial(d=d, correct=k, n=1000) for d, k in zip((10, 100, 1000), accuracies, strict=True)]
    result = estimate(trials)
    assert result.value is None
    assert str(result).startswith("not reached")
    assert result.grid[1][1] == result.grid[2][1] == pytest.approx(0.75)


def test_targets():
    assert target_accuracy("paper", baseline=0.8, majority=0.6) == pytest.approx(0.72)
    assert target_accuracy("chance_corrected", baseline=0.8, majority=0.6) == pytest.approx(0.78)
    with pytest.raises(ConfigError, match="'best'; known rules: paper, chance_corrected"):
        target_accuracy("best", baseline=0.8, majority=0.6)


def test_record_names_its_trials_and_targets():
    trials = [make_trial(d=d, correct=k) for d, k in ((0, 90), (10, 60), (100, 85))]
    result = estimate(trials, rule="chance_corrected")
    assert result.trials == tuple(trial.sha256 for trial in trials)
    assert result.baseline_accuracy == 0.9
    assert result.target_accuracy == pytest.approx(0.5 + 0.9 * 0.4)
    assert IntrinsicDimension.from_dict(result.to_dict()) == result


def test_learning_rates_at_which_seeds_failed_are_out():
    steady = [make_trial(d=10, correct=60, seed=seed, rate=0.1, validation=60) for seed in range(3)]
    survivor = make_trial(d=10, correct=90, seed=0, rate=1.0, validation=90)
    failed = [
        Trial(
            key=TrialKey(spec_sha256="5" * 64, method="full_weights", d=10, seed=seed, learning_rate=1.0),
            status="failed",
            reason="loss became NaN",
            seconds=1.0,
        )
        for seed in (1, 2)
    ]
    (point,) = choose_trials([survivor, *failed, *steady])
    assert point.learning_rate == 0.1
    assert point.accuracy == pytest.approx(0.6)
    assert point.num_examples == 300


def test_trials_that_do_not_belong_together_are_refused():
    base = make_trial(d=0, correct=90)
    one, two = make_trial(d=10, correct=60), make_trial(d=20, correct=60)
    with pytest.raises(ConfigError, match="pass each trial once"):
        estimate([base, one, one])
    other_spec = two.model_copy(update={"key": two.key.model_copy(update={"spec_sha256": "6" * 64})})
    with pytest.raises(ConfigError, match="2 specs"):
        estimate([base, one, other_spec])
    other_method = two.model_copy(update={"key": two.key.model_copy(update={"method": "said"})})
    with pytest.raises(ConfigError, match="mix the methods full_weights, said"):
        estimate([base, one, other_method])
    with pytest.raises(ConfigError, match="level must be"):
        estimate([base, one], level=1.5)
    with pytest.raises(ConfigError, match="majority_accuracy"):
        estimate([base, one], majority_accuracy=50.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_crossing_lies_where_the_curve_has_the_target(accuracies, target):
    dims = [10 * 3**i for i in range(len(accuracies))]
    curve = monotone_curve(np.array(accuracies), weights=np.ones(len(accuracies)))
    assert np.all(np.diff(curve) >= 0)
    d = crossing(dims, curve, target=target)
    if d == -math.inf:
        assert curve[0] >= target
    elif d == math.inf:
        assert curve[-1] < target
    else:
        assert np.interp(math.log(d), np.log(dims), curve) == pytest.approx(target, abs=1e-9)


def test_monotone_curve_weighs_points_by_their_examples():
    fit = monotone_curve(np.array([0.8, 0.5]), weights=np.array([300.0, 100.0]))
    assert fit.tolist() == pytest.approx([0.725, 0.725])
