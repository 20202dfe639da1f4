"""Hopeless learning rates are stopped half-way: kept as dropped, not trained again, never a result."""

from functools import partial

import pytest
from small_models import Bag, word_problem
from small_runs import Recorder, spec

from idbounds.core.values import Score, Trial
from idbounds.estimation import choose_trials
from idbounds.estimation.rates import RateEvidence
from idbounds.measurement.executors import InProcess, Processes
from idbounds.measurement.keys import planned_keys
from idbounds.measurement.store import TrialStore
from idbounds.measurement.sweep import Sweep
from idbounds.measurement.trials import SubspaceMaker, TrialRunner

#: Enough examples that three standard errors are less than what a rate of nearly nothing loses.
DATA = {part: word_problem(200, seed=seed) for seed, part in enumerate(("train", "validation", "test"))}
GOOD, BAD, WORSE = 3.0, 1e-6, 1e-7


def run_spec(*, rates, seeds=(0,), steps=40):
    base = spec(dims=(40,), seeds=seeds, rates=rates)
    return base.model_copy(update={"training": base.training.model_copy(update={"steps": steps})})


def swept(folder, *, rates, drops=True, executor=InProcess, reporter=None, **options):
    runner = TrialRunner(SubspaceMaker(Bag(), run_spec(rates=rates, **options), {}), DATA, threads=1, scores_halfway=drops)
    with TrialStore(folder) as store, executor(runner) as running:
        sweep = Sweep(runner.make_subspace, store=store, reporter=reporter or Recorder(), executor=running, drop_hopeless=drops)
        return sweep.complete([key for key in planned_keys(sweep.spec) if key.d])


def by_rate(trials):
    return {trial.key.learning_rate: trial for trial in trials}


def numbers(trial):
    return trial.validation, trial.test, trial.final_loss, trial.vector_sha256


def test_a_hopeless_rate_is_dropped_with_its_reason_and_not_trained_again(tmp_path):
    trials = by_rate(swept(tmp_path, rates=(GOOD, BAD)))
    assert [trials[rate].status for rate in (GOOD, BAD)] == ["finished", "dropped"]
    dropped = trials[BAD]
    assert dropped.reason == (
        f"half-way {dropped.halfway.errors} of 200 validation errors, rate 3 at the same d and seed "
        f"{trials[GOOD].halfway.errors}; stopped by drop_hopeless"
    )
    assert (dropped.validation, dropped.test, dropped.vector_sha256) == (None, None, None)
    reporter = Recorder()
    assert by_rate(swept(tmp_path, rates=(GOOD, BAD), reporter=reporter)) == trials
    assert reporter.begun == []


def test_a_dropped_trial_is_no_result(tmp_path):
    (point,) = choose_trials(swept(tmp_path, rates=(GOOD, BAD), seeds=(0, 1)))
    assert point.learning_rate == GOOD
    assert [trial.status for trial in point.trials] == ["finished"] * 2


def test_those_that_finish_have_the_bits_they_always_had(tmp_path):
    with_dropping = by_rate(swept(tmp_path / "drops", rates=(GOOD, 9.0, BAD)))
    without = by_rate(swept(tmp_path / "plain", rates=(GOOD, 9.0, BAD), drops=False))
    assert [numbers(with_dropping[rate]) for rate in (GOOD, 9.0)] == [numbers(without[rate]) for rate in (GOOD, 9.0)]
    assert all(trial.status == "finished" and trial.halfway is None for trial in without.values())


def test_the_score_is_that_of_training_for_half_of_the_steps(tmp_path):
    """A constant schedule without warm-up, so that the first half of a run is a shorter run."""
    rates, constant = (GOOD,), {"schedule": "constant", "warmup_fraction": 0.0}
    found = []
    for steps in (40, 20):
        base = run_spec(rates=rates, steps=steps)
        plain = base.model_copy(update={"training": base.training.model_copy(update=constant)})
        runner = TrialRunner(SubspaceMaker(Bag(), plain, {}), DATA, threads=1, scores_halfway=True)
        found.append(runner(planned_keys(plain)[-1], lambda *_: None).trial)
    assert found[0].halfway == found[1].validation


def test_without_dropping_a_dropped_trial_is_due_like_any_other(tmp_path):
    swept(tmp_path, rates=(GOOD, BAD))
    reporter = Recorder()
    trials = swept(tmp_path, rates=(GOOD, BAD), drops=False, reporter=reporter)
    assert [trial.status for trial in trials] == ["finished"] * 2
    assert reporter.begun == [(40, 0)]


def test_a_run_without_the_rival_trains_what_another_run_dropped(tmp_path):
    swept(tmp_path, rates=(GOOD, BAD))
    (trial,) = swept(tmp_path, rates=(BAD,))
    assert trial.status == "finished"


def test_a_drop_for_a_rival_that_was_lost_is_taken_back(tmp_path):
    """The rival was half-way in another process, and its driver was killed before it ended."""
    before = by_rate(swept(tmp_path, rates=(GOOD, BAD)))
    with TrialStore(tmp_path) as store:
        store._database.execute("DELETE FROM trials WHERE key = ?", (before[GOOD].key.sha256,))
        store._database.commit()
    reporter = Recorder()
    after = by_rate(swept(tmp_path, rates=(GOOD, BAD), reporter=reporter))
    assert numbers(after[GOOD]) == numbers(before[GOOD])
    assert after[BAD] == before[BAD]
    assert len(reporter.begun) == 1
    with TrialStore(tmp_path) as store:
        store.add(Trial(key=after[GOOD].key, status="failed", reason="its disk burnt", seconds=0.0, attempts=9))
    last = by_rate(swept(tmp_path, rates=(GOOD, BAD)))
    assert (last[GOOD].status, last[BAD].status) == ("failed", "finished")


def test_a_process_asks_while_it_trains(tmp_path):
    alone = swept(tmp_path / "alone", rates=(GOOD, BAD, WORSE))
    trials = swept(tmp_path / "one", rates=(GOOD, BAD, WORSE), executor=partial(Processes, workers=1))
    assert [(t.status, t.reason, numbers(t)) for t in trials] == [(t.status, t.reason, numbers(t)) for t in alone]


def test_of_two_processes_the_good_one_stays(tmp_path):
    """Which of the bad ones is half-way before the good one is, and so is not dropped, nobody knows beforehand."""
    alone = by_rate(swept(tmp_path / "alone", rates=(GOOD, BAD, WORSE), drops=False))
    trials = by_rate(swept(tmp_path / "two", rates=(GOOD, BAD, WORSE), executor=partial(Processes, workers=2)))
    assert numbers(trials[GOOD]) == numbers(alone[GOOD])
    for rate in (BAD, WORSE):
        assert trials[rate].status == "dropped" or numbers(trials[rate]) == numbers(alone[rate])


def test_an_interrupted_sweep_drops_what_a_straight_one_drops(tmp_path):
    options = {"rates": (GOOD, BAD, WORSE), "seeds": (0, 1)}
    straight = swept(tmp_path / "straight", **options)
    for interrupted in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            swept(tmp_path / "stopped", reporter=Recorder(interrupt_in=interrupted), **options)
    resumed = swept(tmp_path / "stopped", **options)
    assert [(t.key, t.status, t.reason, *numbers(t)) for t in resumed] == [
        (t.key, t.status, t.reason, *numbers(t)) for t in straight
    ]
    assert {trial.status for trial in straight} == {"finished", "dropped"}


def test_a_dropped_rate_counts_as_compared(tmp_path):
    trials = swept(tmp_path, rates=(GOOD, 9.0, BAD))
    evidence = RateEvidence(trials, menu=(BAD, GOOD, 9.0))
    assert BAD in evidence.compared(40)
    assert evidence.best(40) != BAD
    assert BAD not in evidence.candidates(40)


def test_a_dropped_trial_needs_its_score_and_has_no_other():
    key, score = planned_keys(spec())[-1], Score(errors=3, n=10)
    for wrong in ({"reason": "behind"}, {"halfway": score}, {"reason": "behind", "halfway": score, "test": score}):
        with pytest.raises(ValueError, match="dropped trial needs"):
            Trial(key=key, status="dropped", seconds=1.0, **wrong)


def test_old_records_keep_their_hashes():
    key, score = planned_keys(spec())[-1], Score(errors=3, n=10)
    trial = Trial(key=key, status="finished", validation=score, test=score, seconds=1.0)
    assert "halfway" not in trial.canonical_json()
