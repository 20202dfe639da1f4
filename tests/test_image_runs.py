"""Image classification from a configuration: measured, certified and verified, on synthetic images and on MNIST's files."""

from pathlib import Path

import pytest
import torch
from image_folders import CLASSES, SIDE, configuration, striped, write_folder

import idbounds
from idbounds.config import load_config, parse_config
from idbounds.core.errors import ConfigError, DataError
from idbounds.core.values import ModelSpec, RunSpec
from idbounds.measurement.keys import planned_keys
from idbounds.preparation import load

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
OWN = """
from torch import nn

def small(*, num_labels, seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, num_labels))

def narrow(*, num_labels, seed):
    return nn.Linear(9, num_labels)

def one_class(*, num_labels, seed):
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 1))

def nothing(*, num_labels, seed):
    return None
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    path = configuration(folder)
    return path, idbounds.run(load_config(path))


def test_a_run_learns_is_certified_below_chance_and_verified(finished):
    path, result = finished
    assert idbounds.verify(path.parent / "out").agrees
    training = result.certificate.training
    assert training.evidence.n == 216  # 240 images, a tenth of them for validation
    assert training.value < result.certificate.majority_error
    assert result.certificate.held_out.evidence.n == 60


def test_the_specification_says_what_an_image_becomes_and_what_is_counted(finished):
    path, result = finished
    spec = RunSpec.read(path.parent / "out" / "spec.json")
    assert spec == result.spec
    assert spec.learning_task == "image_classification"
    assert spec.model.images is not None
    assert (spec.model.images.shape, spec.model.images.mean, spec.model.images.std) == ((1, SIDE, SIDE), (0.5,), (0.5,))
    assert (spec.model.tokenizer_sha256, spec.model.max_length, spec.model.eval_batch_size) == (None, None, 1000)
    assert spec.task.label_names == tuple(map(str, range(CLASSES)))


def test_no_word_of_texts_is_said_about_images(finished):
    path, result = finished
    written = [file for file in (path.parent / "out").iterdir() if file.suffix in {".md", ".tex", ".csv"}]
    words = " ".join([*result.certificate.training.assumptions, *(file.read_text() for file in written)])
    assert "its scaling of pixels" in words
    assert "duplicate images were removed" in words
    assert "none: θ₀ is drawn at random" in words
    assert not any(word in words for word in ("tokenizer", "texts", "tokens"))


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ('builtin = "mlp"\nmean = 0.4', "", r"model.images is .*mean.* here"),
        ('builtin = "mlp"\nhead_seed = 1', "", "model.theta0_sha256 is"),
        ('builtin = "lenet"', "", "model.theta0_sha256 is"),
        ('builtin = "mlp"', "split_seed = 1", "task.train is 216 examples with hash"),
        ('builtin = "mlp"', "max_test = 50", "task.test is 50 examples with hash"),
    ],
)
def test_verification_refuses_another_model_scaling_or_split(finished, tmp_path, model, data, message):
    other = load_config(configuration(tmp_path, model=model, data=data))
    with pytest.raises(DataError, match=message):
        idbounds.verify(finished[0].parent / "out", config=other)


def test_verification_refuses_an_image_with_one_other_pixel(finished, tmp_path):
    path = configuration(tmp_path)
    images, labels = striped(240, seed=0)
    images[7, 3, 3] ^= 1
    write_folder(tmp_path / "stripes", train=(images, labels), test=striped(60, seed=1))
    with pytest.raises(DataError, match=r"task\.(train|validation) is"):
        idbounds.verify(finished[0].parent / "out", config=load_config(path))


def test_trials_of_another_scaling_are_not_shared(tmp_path):
    one, two = (load(load_config(configuration(tmp_path, model=f'builtin = "mlp"\nstd = {std}'))).spec for std in (0.5, 0.25))
    assert one.model.theta0_sha256 == two.model.theta0_sha256
    assert not {key.sha256 for key in planned_keys(one)} & {key.sha256 for key in planned_keys(two)}


def test_files_may_be_unpacked_and_a_missing_one_is_named(tmp_path):
    gzipped = load(load_config(configuration(tmp_path))).spec
    for path in (tmp_path / "stripes").iterdir():
        path.unlink()
    write_folder(tmp_path / "stripes", train=striped(240, seed=0), test=striped(60, seed=1), ending="")
    assert load(load_config(tmp_path / "stripes.toml")).spec == gzipped
    (tmp_path / "stripes" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"no such file: .*t10k-labels-idx1-ubyte, with or without \.gz"):
        load(load_config(tmp_path / "stripes.toml"))


def test_a_network_of_ones_own_is_certified_and_verified_only_by_naming_its_code(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(configuration(tmp_path, model='architecture = "my_networks:small"'))
    before = torch.random.get_rng_state()
    result = idbounds.run(config)
    assert torch.equal(before, torch.random.get_rng_state())
    assert result.spec.model.source == "my_networks:small"
    assert result.spec.task.declared_overlap == "not declared"  # who knows what the function loads
    with pytest.raises(DataError, match="made by 'my_networks:small'; read that code, then name it by --config"):
        idbounds.verify(tmp_path / "out")
    assert idbounds.verify(tmp_path / "out", config=config).agrees


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("my_other_networks:narrow", r"cannot be called with images of shape \(1, 16, 16\)"),
        ("my_other_networks:one_class", r"gives \(1, 1\) for one image of 3 classes; it must give \(1, 3\)"),
        ("my_other_networks:nothing", "gives NoneType; it must return a torch.nn.Module"),
        ("my_other_networks:absent", "cannot be imported: module 'my_other_networks' has no attribute 'absent'"),
        ("absent_networks:small", "cannot be imported: No module named 'absent_networks'"),
        ("my_other_networks", 'architecture must read "module:function"'),
    ],
)
def test_a_network_that_does_not_fit_is_refused(tmp_path, monkeypatch, where, message):
    (tmp_path / "my_other_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load(load_config(configuration(tmp_path, model=f'architecture = "{where}"')))


def test_a_vision_transformer_from_a_folder_is_certified_and_verified(tmp_path):
    transformers = pytest.importorskip("transformers")
    shape = transformers.ViTConfig(
        image_size=SIDE, patch_size=8, num_channels=1, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    torch.manual_seed(0)
    transformers.ViTModel(shape, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    path = configuration(tmp_path, model='source = "vit"', measurement="eval_batch_size = 16\n")
    result = idbounds.run(load_config(path))
    assert (result.spec.model.name, result.spec.model.eval_batch_size) == ("vit", 16)
    assert idbounds.verify(tmp_path / "out").agrees


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({"builtin": "all-MiniLM-L6-v2"}, {"images": "x"}, "builtin = 'all-MiniLM-L6-v2' in .model. is for texts"),
        ({"source": "x", "head": "architecture"}, {"images": "x"}, "head = 'architecture' in .model. is for texts"),
        ({"builtin": "mlp", "max_length": 9, "dtype": "bfloat16"}, {"images": "x"}, "max_length = 9 and dtype = 'bfloat16'"),
        ({"builtin": "mlp"}, {"train": "x.csv"}, "builtin = 'mlp' in .model. is for images"),
        ({"source": "x", "std": 0.1}, {"train": "x.csv"}, "std = 0.1 in .model. is for images"),
        ({"architecture": "a:b"}, {"builtin": "bbc_news"}, "architecture = 'a:b' in .model. is for images"),
        ({"builtin": "mlp", "std": 0.0}, {"images": "x"}, "std"),
        ({"builtin": "mlp", "architecture": "a:b"}, {"images": "x"}, "exactly one of source .* builtin and architecture"),
        ({"builtin": "mlp"}, {"images": "x", "train": "y"}, "exactly one of builtin, dataset .* and images"),
        ({"builtin": "mlp"}, {"images": "x", "test": "y"}, "the folder's t10k files are the test part"),
    ],
)
def test_settings_of_the_other_kind_are_refused(model, data, message):
    with pytest.raises(ConfigError, match=message):
        parse_config({"output": "out", "model": model, "data": data}, where="test")


def test_constants_fit_the_channels(tmp_path):
    with pytest.raises(DataError, match="mean has 2 numbers, the images have 1 channels"):
        load(load_config(configuration(tmp_path, model='builtin = "mlp"\nmean = [0.1, 0.2]')))


@pytest.mark.parametrize("given", [{"tokenizer_sha256": "c" * 64}, {"images": None}, {"max_length": 3}])
def test_a_specification_is_of_texts_or_of_images(finished, given):
    fields = {name: getattr(finished[1].spec.model, name) for name in ModelSpec.model_fields}
    with pytest.raises(ConfigError, match="a model of texts has tokenizer_sha256 and max_length, one of images has images"):
        ModelSpec.checked(**{**fields, **given})


@pytest.mark.skipif(not MNIST.is_dir(), reason="the shared data are not on this machine")
def test_mnist_is_ready_to_be_measured():
    raw = {"output": "unused", "model": {"builtin": "lenet"}, "data": {"images": str(MNIST), "validation_fraction": 0.1}}
    run = load(parse_config(raw, where="test"))
    assert [run.spec.task.train.n, run.spec.task.validation.n, run.spec.task.test.n] == [54_000, 6_000, 10_000]
    assert (run.spec.task.duplicates_removed, run.spec.model.num_weights) == (0, 44_426)
