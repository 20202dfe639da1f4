"""The stochastic predictor: its law, its price, its file, and what is refused."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import mpmath
import numpy as np
import pytest
import safetensors.torch
import torch
from forged_files import improved, mutated_json
from image_folders import configuration

import idbounds
from idbounds.bounds import BOUNDS
from idbounds.bounds.gaussian import risk_from_draws
from idbounds.certification import certify_file, opened
from idbounds.config import load_config
from idbounds.core.errors import ConfigError, DataError, IdboundsError, UnsupportedEvidenceError
from idbounds.core.values import RunSpec, StochasticCertificate
from idbounds.measuring import measure
from idbounds.preparation import prepare
from idbounds.report import write_report
from idbounds.reporting import percent_up
from idbounds.reporting.kinds import bounds_table
from idbounds.run_folder import read_run
from idbounds.stochastic import certify_stochastic, count_draws, verify_stochastic
from idbounds.stochastic_claims import DrawCounts, Posterior, certificate_of
from idbounds.verification import verify

SETTINGS = "[certificate]\npredictors = {}\n[stochastic]\nsteps = 30\ndraws = 20\nexamples_a_draw = 50\n"


def small(folder, predictors):
    path = configuration(folder)
    path.write_text(path.read_text() + SETTINGS.format(json.dumps(predictors)))
    return load_config(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that declares both predictors, with both certificates."""
    config = small(tmp_path_factory.mktemp("stochastic"), ["message", "stochastic"])
    idbounds.run(config)
    certify_stochastic(opened(Path(config.output)))
    return Path(config.output)


@pytest.fixture(scope="module")
def run(folder):
    return opened(folder)


@pytest.fixture(scope="module")
def made(folder):
    return StochasticCertificate.read(folder / "stochastic.json")


def posterior_of(made, folder):
    tensors = safetensors.torch.load_file(folder / "posterior.safetensors")
    return Posterior(tensors["mean"].numpy(), tensors["log_sigma"].numpy(), made.seed, made.scale_index, made.posterior_sha256)


def test_both_certificates_are_verified_in_a_fresh_process_from_elsewhere(folder, tmp_path):
    command = [sys.executable, "-m", "idbounds", "verify", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "verified: every number agrees" in outcome.stdout
    assert "stochastic training" in outcome.stdout


def test_delta_is_shared_and_both_say_so(folder, run, made):
    message, _ = certify_file(run)
    assert run.spec.delta == 0.05
    assert (message.training.delta, made.training.delta) == (0.025, 0.025)
    assert (message.held_out.delta, made.held_out.delta) == (0.05, 0.05)
    for words in (message.delta_covers, made.delta_covers):
        assert "hold together" in words or "holds together" in words
        assert "1 - 0.05" in words
    assert made.training.evidence["monte_carlo_delta"] == 0.0125


def test_its_numbers_follow_from_the_files(folder, run, made):
    """KL with 50 digits, errors counted draw by draw, and the bound from them."""
    posterior = posterior_of(made, folder)
    settings = run.spec.stochastic
    tau = mpmath.mpf(settings.largest_scale) * mpmath.mpf(settings.scale_ratio) ** -made.scale_index
    with mpmath.workdps(50):
        terms = []
        for mean, log_sigma in zip(posterior.mean.tolist(), posterior.log_sigma.tolist(), strict=True):
            moment = mpmath.exp(2 * mpmath.mpf(log_sigma)) + mpmath.mpf(mean) ** 2
            terms.append(mpmath.log(tau) - mpmath.mpf(log_sigma) + moment / (2 * tau**2) - mpmath.mpf(1) / 2)
        exact = mpmath.fsum(terms)
        assert exact <= made.kl_nats <= exact + 2**-19
        bits = made.training.complexity.num_bits
        price = mpmath.log(2 * settings.num_scales)  # two dimensions, one seed
        assert (exact + price) / mpmath.log(2) <= bits <= (exact + price) / mpmath.log(2) + 2**-17
    q = torch.distributions.Normal(torch.tensor(posterior.mean).double(), torch.tensor(posterior.sigma))
    p = torch.distributions.Normal(0.0, float(tau))
    assert float(torch.distributions.kl_divergence(q, p).sum()) == pytest.approx(made.kl_nats, rel=1e-6)
    counts = count_draws(run, posterior)
    assert (counts.train, counts.test) == (made.train_draws.errors, made.test_draws.errors)
    risk = risk_from_draws(np.array(counts.train) / 50, delta_mc=0.0125)
    assert made.train_draws.risk_at_most == risk > made.train_draws.mean
    value = BOUNDS["seeger"].value(
        empirical_risk=risk, n=216, complexity_nats=made.training.complexity.nats, delta=math.nextafter(0.0125, 0)
    )
    assert made.training.value == float(value)
    assert made.training.value > made.train_draws.risk_at_most


def test_each_draw_is_counted_on_examples_of_its_own(run, made, folder):
    posterior = posterior_of(made, folder)
    drawn = list(posterior.examples(run.spec.stochastic, part="train", n=216))
    assert len({tuple(one) for one in drawn}) == len(drawn) == 20
    assert all(len(one) == len(set(one)) == 50 for one in drawn)
    vectors = np.stack(list(posterior.draws(run.spec.stochastic)))
    assert len(np.unique(vectors, axis=0)) == 20
    other = replace(posterior, sha256="0" * 64)  # another file, other draws
    assert not np.array_equal(vectors, np.stack(list(other.draws(run.spec.stochastic))))


def test_a_wider_posterior_costs_less_and_a_farther_one_more(run, made, folder):
    posterior = posterior_of(made, folder)
    counts = DrawCounts(train=(3,) * 20, test=(2,) * 20)

    def nats(**changes):
        return certificate_of(replace(posterior, **changes), spec=run.spec, counts=counts, versions={}).kl_nats

    narrower, farther = posterior.log_sigma - 1, posterior.mean * 2
    assert nats(log_sigma=narrower) > nats() > 0
    assert nats(mean=farther) > nats()


FORGERIES = {
    "kl_nats": lambda one: one.kl_nats / 2,
    "train_draws": lambda one: one.train_draws.model_copy(
        update={"errors": (one.train_draws.errors[0] + 1, *one.train_draws.errors[1:])}
    ),
    "scale_index": lambda one: one.scale_index + 1,
    "delta_covers": lambda one: "nothing",
    "training": lambda one: one.training.model_copy(update={"value": one.training.value / 2}),
    "held_out": lambda one: one.held_out.model_copy(update={"value": one.held_out.value / 2}),
}


@pytest.mark.parametrize("field", FORGERIES)
def test_forged_numbers_differ(folder, made, tmp_path, field):
    copied = shutil.copytree(folder, tmp_path / "run")
    made.model_copy(update={field: FORGERIES[field](made)}).write(copied / "stochastic.json")
    outcome = verify(copied)
    assert not outcome.agrees
    assert all(one.what.startswith("stochastic") for one in outcome.comparisons if not one.agrees)
    assert not outcome.counts_alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d": 21}, "dimension 21 is not in the specification's menu"),
        ({"seed": 5}, "seed 5 is not in the specification's menu"),
        ({"scale_index": 10**6}, "scale_index is 1000000, the specification declares 128"),
        ({"posterior_sha256": "0" * 64}, "is not the file that stochastic.json names"),
        ({"spec_sha256": "0" * 64}, "was made for specification 000000000000…"),
    ],
)
def test_choices_outside_the_menus_and_other_files_are_refused(folder, made, tmp_path, changes, message):
    copied = shutil.copytree(folder, tmp_path / "run")
    made.model_copy(update=changes).write(copied / "stochastic.json")
    with pytest.raises(DataError, match=message):
        verify(copied)


def test_a_damaged_posterior_is_refused(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "run")
    path = copied / "posterior.safetensors"
    good = safetensors.torch.load_file(path)
    infinite = {**good, "log_sigma": torch.full_like(good["mean"], math.inf)}
    for tensors in (
        {"mean": good["mean"]},
        infinite,
        {**good, "more": good["mean"] + 1},
        {**good, "mean": good["mean"].double()},
    ):
        path.write_bytes(safetensors.torch.save(tensors))
        with pytest.raises(DataError, match=r"must hold|at most"):
            verify(copied)
    for content in (b"", b"\xff" * 100, b"\0" * 10_000):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read as safetensors|at most .* are read"):
            verify(copied)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        verify(copied)


def test_three_hundred_forged_certificates_are_refused_or_differ(folder, run, made, tmp_path, monkeypatch):
    """As forgers do it in tests/forged_files.py. Draws are counted once, since the posterior's file is the same."""
    shutil.copy(folder / "posterior.safetensors", tmp_path)
    counted = cache(lambda seed, index: count_draws(run, replace(posterior_of(made, folder), seed=seed, scale_index=index)))
    monkeypatch.setattr("idbounds.stochastic.count_draws", lambda _, posterior: counted(posterior.seed, 0))
    random, outcomes, honest = Random(0), Counter(), made.canonical_json().encode()
    for _ in range(300):
        content = (mutated_json if random.random() < 0.5 else improved)(honest, random)
        (tmp_path / "stochastic.json").write_bytes(content)
        try:
            agrees = all(one.agrees for one in verify_stochastic(tmp_path, run=run))
        except IdboundsError:
            outcomes["refused"] += 1
            continue
        outcomes["agrees" if agrees else "differs"] += 1
        claimed = StochasticCertificate.read(tmp_path / "stochastic.json")
        assert agrees == (claimed.model_copy(update={"versions": made.versions}).sha256 == made.sha256)
    assert outcomes["refused"] > 60
    assert outcomes["differs"] > 60


def test_what_is_not_declared_is_not_certified(tmp_path):
    config = small(tmp_path, ["stochastic"])
    with pytest.raises(ConfigError, match=r"predictors = .*has no message"):
        idbounds.run(config)
    measure(prepare(config))
    run = opened(Path(config.output))
    certificate, _ = certify_stochastic(run)
    assert certificate.training.delta == 0.05
    assert verify(run.folder).agrees
    assert "no message is declared" in verify(run.folder).verdict
    table = bounds_table([read_run(run.folder)])
    row = dict(zip(table.flat_heads, table.rows[0], strict=True))
    assert row["training set: bound (%)"].value == certificate.training.value
    assert row["training set: bits"].value == certificate.training.complexity.num_bits
    assert (row["training set: error (%)"].value, row["training set: error (%)"].mark) == (
        certificate.train_draws.risk_at_most,
        "§",
    )
    assert (row["d"].value, row["training set: errors"].text) == (certificate.d, "–")
    assert row["held-out set: bound (%)"].value == certificate.held_out.value
    assert "training set: stochastic (%)" not in table.flat_heads, "it is the row's own bound"
    assert f"certificate {certificate.sha256[:12]}" in table.caption
    message_only = prepare(small(tmp_path / "other", ["message"]))
    with pytest.raises(UnsupportedEvidenceError, match="prior was not fixed beforehand"):
        certify_stochastic(message_only)


def test_specifications_from_before_keep_their_hash(tmp_path):
    spec = prepare(load_config(configuration(tmp_path))).spec
    assert spec.predictors == ("message",)
    assert not {"predictors", "stochastic"} & set(spec.to_dict())
    with pytest.raises(ConfigError, match="exactly where predictors"):
        RunSpec.checked(**{**dict(spec), "predictors": ("message", "stochastic")})
    with pytest.raises(ConfigError, match="declared twice"):
        RunSpec.checked(**{**dict(spec), "predictors": ("message", "message")})


def test_table_and_report_show_it_and_refuse_one_that_does_not_follow(folder, made, tmp_path):
    run = read_run(folder)
    assert run.stochastic == made
    table = bounds_table([run])
    (cell,) = (row[table.flat_heads.index("training set: stochastic (%)")] for row in table.rows)
    assert (cell.value, cell.text) == (made.training.value, percent_up(made.training.value))
    assert "training set: θ₀ alone (%)" not in table.flat_heads, "no data prefix here"
    report = write_report(tmp_path / "report.html", [run]).read_text()
    assert f"most {percent_up(made.training.value)} % of new examples on average over the draws" in report
    copied = shutil.copytree(folder, tmp_path / "run")
    lower = made.training.model_copy(update={"value": 0.1})
    made.model_copy(update={"training": lower}).write(copied / "stochastic.json")
    with pytest.raises(DataError, match=r"stochastic training bound is 0\.1, the folder's files give"):
        read_run(copied)
    made.write(copied / "stochastic.json")
    (copied / "posterior.safetensors").write_bytes((folder / "posterior.safetensors").read_bytes()[:-1] + b"\1")
    with pytest.raises(DataError, match=r"is not the file that stochastic\.json names by its hash"):
        read_run(copied)
