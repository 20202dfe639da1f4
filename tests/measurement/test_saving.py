"""What is written is the network, in d numbers; what comes back is the same network, or a clear refusal."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from networks import IDS, bert
from safetensors import safe_open
from small_models import Tied, mixed
from torch import nn

from idbounds.core.errors import ConfigError, DataError, TrainingError, VerificationError
from idbounds.measurement import Subspace
from idbounds.measurement.saving import require_same_outputs

X = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
WORDS = torch.arange(10)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def moved(model, *, dim=20, size=0.3, **options):
    subspace = Subspace(model, dim=dim, **options).eval()
    subspace.set_coordinates(size * torch.randn(dim, generator=torch.Generator().manual_seed(1)))
    return subspace


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"parametrization": "said", "projection": "signed_permutation", "memory": "recompute"},
        {"seed": 3, "allocation": "per_tensor", "projection": "sparse", "projection_options": {"nonzeros": 3}},
        {"parametrization": "biases_and_norms", "dim": 15, "train_directly": ["out.bias"]},
        {"parametrization": "low_rank_sparse", "parametrization_options": {"rank": 2, "whole": ["out.bias"]}},
    ],
)
def test_a_folder_gives_the_same_network(tmp_path, options):
    subspace = moved(Tied(), **options)
    subspace.train()(WORDS)  # the statistics of BatchNorm are in the folder too
    subspace.rounding_step = 0.125
    subspace.save_pretrained(tmp_path)
    again = Subspace.from_pretrained(tmp_path, model=Tied())
    assert torch.equal(again.eval()(WORDS), subspace.eval()(WORDS))
    assert (again.ledger(), again.settings) == (subspace.ledger(), subspace.settings)


def test_a_folder_is_two_small_files(tmp_path):
    moved(bert()).save_pretrained(tmp_path / "new" / "folder")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(sizes) == {"model.safetensors", "config.json"}
    assert sizes["model.safetensors"] < 4 * 20 + 1500
    config = json.loads((tmp_path / "new" / "folder" / "config.json").read_text())
    assert (config["record"], config["schema_version"], config["dim"]) == ("SubspaceRecord", 1, 20)


@pytest.mark.parametrize("make", [bert, Tied])
def test_the_merged_model_is_saved_and_is_the_wrapped_one(tmp_path, make):
    subspace = moved(make(), parametrization="said")
    inputs = {"input_ids": IDS} if make is bert else WORDS
    for _ in range(2):  # the second replaces the first
        subspace.save_pretrained(tmp_path, merged=True, inputs=inputs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "merged", "model.safetensors"]
    if make is bert:
        plain = type(bert()).from_pretrained(tmp_path / "merged")
        assert torch.equal(plain(IDS).logits, subspace(IDS).logits)
    else:
        plain = Tied().eval()
        safetensors.torch.load_model(plain, tmp_path / "merged" / "model.safetensors")
        assert torch.equal(plain(WORDS), subspace(WORDS))
        assert plain.out.weight is plain.embedding.weight


def test_an_adapter_merges_within_its_tolerance(tmp_path):
    pytest.importorskip("peft")
    from peft import LoraConfig

    options = {"config": LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS"), "seed": 1}
    subspace = moved(bert(), parametrization="peft", parametrization_options=options, size=3.0)
    with pytest.raises(VerificationError, match=r"differ from the wrapped model's by up to .*e-0.*pass tolerance=1e-4"):
        subspace.save_pretrained(tmp_path, merged=True, inputs={"input_ids": IDS})
    assert not (tmp_path / "merged").exists()
    subspace.save_pretrained(tmp_path, merged=True, inputs={"input_ids": IDS}, tolerance=1e-4)
    again = Subspace.from_pretrained(tmp_path, model=bert()).eval()  # the config comes from the record
    assert torch.equal(again(IDS).logits, subspace(IDS).logits)
    plain = type(bert()).from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(plain(IDS).logits, subspace(IDS).logits)


def test_options_recorded_by_hash_are_given_again(tmp_path):
    tuned = Tied()
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    options = {"checkpoints": [tuned.state_dict()]}
    subspace = moved(Tied(), dim=5, parametrization="task_vectors", parametrization_options=options)
    subspace.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint"):
        Subspace.from_pretrained(tmp_path, model=Tied())
    again = Subspace.from_pretrained(tmp_path, model=Tied(), parametrization_options=options).eval()
    assert torch.equal(again(WORDS), subspace(WORDS))
    other = {"checkpoints": [{name: 2 * one for name, one in tuned.state_dict().items()}]}
    with pytest.raises(ConfigError, match="its parametrization_options is"):
        Subspace.from_pretrained(tmp_path, model=Tied(), parametrization_options=other)


def test_options_that_cannot_be_recorded_are_refused_before_training():
    with pytest.raises(ConfigError, match="cannot be recorded"):
        Subspace(mixed(), dim=5, parametrization="selected", parametrization_options={"tensors": {"0.*"}})


def test_merging_without_inputs_and_outputs_that_differ_are_refused(tmp_path):
    subspace = moved(mixed())
    with pytest.raises(ConfigError, match="merged=True needs inputs"):
        subspace.save_pretrained(tmp_path, merged=True)
    assert not list(tmp_path.iterdir())
    with pytest.raises(VerificationError, match=r"by up to 0\.\d+, the largest output being"):
        require_same_outputs(subspace, mixed(), X, tolerance=0.01)
    with pytest.raises(VerificationError, match="cannot be compared"):
        require_same_outputs(subspace, nn.Linear(7, 4), X, tolerance=0.01)
    broken = mixed()
    with torch.no_grad():
        broken[3].bias[0] = torch.nan
    with pytest.raises(VerificationError, match="by up to nan"):
        require_same_outputs(broken, broken, X, tolerance=1.0)


def test_the_check_leaves_both_models_as_they_were(tmp_path):
    subspace = moved(Tied()).train()
    subspace.model.body[1].eval()
    plain = subspace.merge()
    plain.out.bias.requires_grad_(False)
    require_same_outputs(subspace, plain, (WORDS,), tolerance=0.0)
    for body in (subspace.model.body, plain.body):
        assert (body[3].training, body[1].training) == (True, False)
    assert subspace.theta_d.requires_grad
    assert [name for name, one in plain.named_parameters() if not one.requires_grad] == ["out.bias"]


def test_a_weight_that_could_have_a_gradient_is_multiplied_as_one_that_could_not(tmp_path):
    # On the outputs of a recurrent layer, which are not contiguous, torch takes another product for each.
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.tags = nn.GRU(16, 16, batch_first=True), nn.Linear(16, 3)

        def forward(self, x):
            return self.tags(self.body(x)[0])

    x = torch.randn(32, 7, 16, generator=torch.Generator().manual_seed(2))
    moved(Tagger()).save_pretrained(tmp_path, merged=True, inputs=x)


def other_theta_0():
    model = mixed()
    with torch.no_grad():
        model[0].bias[0] += 1e-6
    return model


def fewer_trainable():
    model = mixed()
    model[0].requires_grad_(False)
    return model


def smaller():
    return nn.Sequential(nn.Linear(7, 33), nn.Tanh(), nn.LayerNorm(33), nn.Linear(33, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_theta_0, "its theta_0_sha256 is .* load the same θ₀, head included"),
        (fewer_trainable, "its projection_spec_sha256 is .* the model has other tensors, or others were trainable"),
        (smaller, "its projection_spec_sha256 is"),
    ],
)
def test_another_model_is_refused(tmp_path, make, message):
    moved(mixed()).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=message):
        Subspace.from_pretrained(tmp_path, model=make())


def rewrite(folder, *, both=True, **changes):
    """Change fields of the record, in the tensor and in config.json, as one who knows the format could."""
    file = folder / "model.safetensors"
    state = safetensors.torch.load_file(file)
    record = json.loads(state["subspace_record"].numpy().tobytes()) | changes
    state["subspace_record"] = torch.frombuffer(bytearray(json.dumps(record).encode()), dtype=torch.uint8)
    safetensors.torch.save_file(state, file)
    if both:
        (folder / "config.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"projection_version": 99}, ConfigError, "its projection_version is 99, here it is 3; its P is another one"),
        ({"schema_version": 2}, DataError, "has schema version 2, this idbounds reads 1"),
        ({"record": "Trial"}, DataError, "expected a SubspaceRecord record, got 'Trial'"),
        ({"dim": "many"}, DataError, "dim: .*got 'many'"),
        ({"dim": 19}, ConfigError, "its projection_spec_sha256 is"),
        ({"seed": 1}, ConfigError, "its projection_spec_sha256 is"),
        ({"projection": "magic"}, ConfigError, "unknown projection 'magic'"),
        ({"surprise": 1}, DataError, "surprise"),
    ],
)
def test_an_altered_record_is_refused(tmp_path, changes, error, message):
    moved(mixed()).save_pretrained(tmp_path)
    rewrite(tmp_path, **changes)
    with pytest.raises(error, match=message):
        Subspace.from_pretrained(tmp_path, model=mixed())


def test_a_config_that_says_something_else_is_refused(tmp_path):
    moved(mixed()).save_pretrained(tmp_path)
    rewrite(tmp_path, both=False, rounding_step=0.5)
    with pytest.raises(DataError, match=r"config\.json in .* is not that of model\.safetensors"):
        Subspace.from_pretrained(tmp_path, model=mixed())


def test_every_damaged_file_is_refused(tmp_path):
    moved(mixed()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in sorted({0, len(whole) - 1, *rng.integers(0, len(whole), 60).tolist()}):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(damaged)
        try:
            again = Subspace.from_pretrained(tmp_path, model=mixed())
        except (DataError, ConfigError):
            continue
        # A flip in the file's own description of itself, such as padding, may leave all that is read as it was.
        assert torch.equal(again.theta_d, moved(mixed()).theta_d), place
    for length in (0, 7, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be read as safetensors"):
            Subspace.from_pretrained(tmp_path, model=mixed())
    file.unlink()
    with pytest.raises(DataError, match="no such file"):
        Subspace.from_pretrained(tmp_path, model=mixed())


def test_a_damaged_number_is_noticed_by_the_hash(tmp_path):
    moved(mixed()).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        metadata, state = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    state["theta_d"][3] *= 1.5
    safetensors.torch.save_file(state, file, metadata=metadata)
    with pytest.raises(DataError, match="was altered or damaged"):
        Subspace.from_pretrained(tmp_path, model=mixed())


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    subspace = moved(mixed())
    state = subspace.state_dict()
    with torch.no_grad():
        subspace.theta_d[:2] = torch.tensor([torch.nan, torch.inf])
    for hand_on in (subspace.merge, lambda: subspace.save_pretrained(tmp_path)):
        with pytest.raises(TrainingError, match="2 of 20 trained numbers are NaN or infinite"):
            hand_on()
    assert not list(tmp_path.iterdir())
    safetensors.torch.save_file({**state, "theta_d": subspace.theta_d.detach()}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="trained numbers that are NaN or infinite"):
        Subspace.from_pretrained(tmp_path, model=mixed())
