"""Splits of images share none, hashes say what is in them, and the small networks are what they are said to be."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.model_spec import ImageInput
from idbounds.measurement.image_splits import LabelledImages, split_images
from idbounds.measurement.models import fingerprint
from idbounds.measurement.small_networks import SMALL_NETWORKS, small_network

GOLDEN = Path(__file__).parents[1] / "golden" / "small_networks.json"


def images(values, labels=None, *, kind="u1"):
    """One image of 2 x 2 for each value, all of its pixels alike."""
    array = np.repeat(np.asarray(values, dtype=kind), 4).reshape(-1, 2, 2)
    return LabelledImages(array, np.arange(len(array)) % 2 if labels is None else np.asarray(labels))


def hashed(part):
    return part.describe(majority_label=0).sha256_of_examples


@given(
    train=st.lists(st.integers(0, 40), min_size=30, max_size=60),
    test=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seed=st.integers(0, 5),
)
def test_no_image_is_in_two_splits_or_twice_in_one(train, test, seed):
    train = [*range(100, 120), *train]  # some that are surely left, of both classes
    splits = split_images({"train": images(train), "test": images(test)}, validation_fraction=0.2, seed=seed)
    found = [part.images[:, 0, 0].tolist() for part in (splits.train, splits.validation, splits.test)]
    together = [value for part in found for value in part]
    assert sorted(together) == sorted({*train, *test})
    assert splits.duplicates_removed == len(train) + len(test) - len(together)
    assert set(found[2]) == set(test)  # what is in the test part is never trained on
    assert len(found[1]) == round(0.2 * (len(found[0]) + len(found[1])))


def test_labels_need_not_begin_at_0_and_keep_their_images():
    values = list(range(40))
    labels = [3 if value % 2 else 17 for value in values]
    splits = split_images({"train": images(values, labels), "test": images([99], [17])}, validation_fraction=0.2, seed=0)
    assert splits.label_names == ("3", "17")
    for part in (splits.train, splits.validation):
        assert part.labels.tolist() == [0 if value % 2 else 1 for value in part.images[:, 0, 0]]
    assert splits.test.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": images(range(20)), "test": images([99], [5])}, "the test split has label 5, which no training image has"),
        ({"train": images(range(20), [1] * 20), "test": images([99], [1])}, "have 1 label"),
        (
            {"train": images(range(20)), "test": LabelledImages(np.zeros((1, 3, 2), "u1"), np.array([0]))},
            r"one shape, got .*'test': \(1, 3, 2\)",
        ),
        ({"train": images([7] * 20), "test": images([7])}, "the train split is empty"),
    ],
)
def test_images_that_cannot_be_split_are_refused(parts, message):
    with pytest.raises((DataError, ConfigError), match=message):
        split_images(parts, validation_fraction=0.2, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_outside_0_and_1_is_refused(fraction):
    with pytest.raises(ConfigError, match="validation must be positive"):
        split_images({"train": images(range(20)), "test": images([99])}, validation_fraction=fraction, seed=0)


def test_the_hash_is_of_pixels_type_shape_labels_and_order():
    base = images(range(6))
    wide = LabelledImages(base.images.reshape(6, 1, 4), base.labels)
    others = [
        images([0, 1, 2, 3, 4, 6]),
        images(range(6), [0, 1, 0, 1, 0, 0]),
        images(range(6), kind="i1"),
        base.take([1, 0, 2, 3, 4, 5]),
        base.take(range(5)),
        wide,
    ]
    assert len({hashed(part) for part in (base, *others)}) == 7
    assert hashed(images(range(6), kind=">i4")) == hashed(images(range(6), kind="<i4"))
    assert base.describe(majority_label=1).majority_errors == 3


def test_colours_are_the_first_axis_of_the_input():
    generator = np.random.default_rng(0)
    part = LabelledImages(generator.integers(0, 256, (5, 4, 6, 3)).astype("u1"), np.arange(5))
    assert part.shape == (3, 4, 6)
    data = part.encode(ImageInput(shape=part.shape, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)))
    assert data.inputs.shape == (5, 3, 4, 6)
    assert float(data.inputs[2, 1, 3, 4]) == pytest.approx((part.images[2, 3, 4, 1] / 255 - 0.2) / 2, rel=1e-6)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_small_network_is_the_same_on_every_machine(name):
    """Their weights are in no message: were one bit of them to change, no message of theirs could be decoded."""
    golden = json.loads(GOLDEN.read_text())[name]
    model = small_network(name, shape=(1, 28, 28), num_labels=10, seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == golden["num_weights"]
    assert fingerprint(model) == golden["theta0_sha256"]


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_weights_have_the_stated_variance_and_follow_the_seed_alone(name):
    before = torch.random.get_rng_state()
    one, two = (small_network(name, shape=(2, 20, 24), num_labels=5, seed=seed) for seed in (1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert one(torch.zeros(3, 2, 20, 24)).shape == (3, 5)
    for (tensor_name, tensor), other in zip(one.named_parameters(), two.parameters(), strict=True):
        if tensor_name.endswith("bias"):
            assert not tensor.any()
            continue
        assert not torch.equal(tensor, other)
        wanted = math.sqrt(1 / (3 * tensor[0].numel()))
        # The standard error of a deviation of n Gaussians is 1 / sqrt(2 n) of it; five of them.
        assert float(tensor.detach().std()) == pytest.approx(wanted, rel=5 / math.sqrt(2 * tensor.numel()))


@pytest.mark.parametrize("name", ["convnet", "lenet"])
def test_networks_of_convolutions_name_the_smallest_image(name):
    assert small_network(name, shape=(1, 16, 16), num_labels=2, seed=0)(torch.zeros(1, 1, 16, 16)).shape == (1, 2)
    with pytest.raises(ConfigError, match=f"{name} needs images of at least 16 x 16, got 15 x 28"):
        small_network(name, shape=(1, 15, 28), num_labels=2, seed=0)
