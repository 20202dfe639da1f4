"""Embeddings whose weight moves: the same numbers as from the whole matrix, and the matrix is never made."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from idbounds import Subspace
from idbounds.measurement import embeddings
from idbounds.projections import lookup

ROWS, COLUMNS = 300, 24


class Texts(nn.Module):
    """Two tables of words and a layer; `padding` has no gradient."""

    def __init__(self, padding=None, **options):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(ROWS, COLUMNS, padding_idx=padding, **options)
        self.others = nn.Embedding(7, COLUMNS)
        self.layer = nn.Linear(COLUMNS, 2)

    def forward(self, ids):
        return self.layer((self.words(ids) + self.others(ids % 7)).tanh().mean(1))


def moved(model, *, whole=False, **options):
    """A subspace away from θ₀, with rows looked up, or through the whole matrix."""
    with pytest.MonkeyPatch.context() as patch:
        if whole:
            patch.setattr("idbounds.measurement.subspace.look_up_moved_rows", lambda _: None)
        subspace = Subspace(model, dim=40, seed=3, **options)
    subspace.set_coordinates(torch.linspace(-1, 1, 40, dtype=subspace.theta_d.dtype))
    return subspace


def looks_up(subspace):
    return type(subspace.model.words).forward is embeddings._forward


def outcome(subspace, ids):
    output = subspace(ids)
    (gradient,) = torch.autograd.grad(output.square().sum(), subspace.theta_d)
    return output.detach(), gradient


@given(
    ids=st.lists(st.integers(0, ROWS - 1), min_size=4, max_size=40).map(
        lambda ids: torch.tensor(ids[: len(ids) // 4 * 4]).view(-1, 4)
    ),
    projection=st.sampled_from(["fastfood", "signed_permutation", "dense"]),
    memory=st.sampled_from(["keep", "recompute"]),
    padding=st.sampled_from([None, 0, 5]),
    at_once=st.sampled_from([1, 100, 2**19]),
)
def test_rows_looked_up_are_those_of_the_whole_matrix(ids, projection, memory, padding, at_once):
    model, options = Texts(padding), {"projection": projection, "memory": memory}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "_AT_ONCE", at_once)
        rows, matrix = moved(model, **options), moved(model, whole=True, **options)
        assert looks_up(rows)
        assert not looks_up(matrix)
        (output, gradient), (expected, its_gradient) = outcome(rows, ids), outcome(matrix, ids)
    assert torch.equal(output, expected)
    torch.testing.assert_close(gradient, its_gradient, rtol=1e-4, atol=1e-6)


def test_the_derivative_of_the_gradient_is_that_through_the_whole_matrix():
    ids, model = torch.tensor([[1, 1, 299], [5, 7, 1]]), Texts(padding=5).double()
    second = []
    for whole in (False, True):
        subspace = moved(model, whole=whole).double()
        (gradient,) = torch.autograd.grad(subspace(ids).square().sum(), subspace.theta_d, create_graph=True)
        second.append(torch.autograd.grad(gradient.square().sum(), subspace.theta_d)[0])
    torch.testing.assert_close(*second, rtol=1e-9, atol=1e-12)


class Largest(TorchDispatchMode):
    """The most numbers of a floating-point tensor for which memory is taken within."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        known = {one.untyped_storage().data_ptr() for one in args if isinstance(one, torch.Tensor)}
        is_number = isinstance(made, torch.Tensor) and made.is_floating_point()
        if is_number and made.untyped_storage().data_ptr() not in known:
            self.numbers = max(self.numbers, made.numel())
        return made


def test_a_batch_of_few_words_makes_nothing_of_the_size_of_the_matrix():
    model, ids = Texts(), torch.tensor([[1, 2, 3]])
    model.words = nn.Embedding(20_000, COLUMNS)
    for whole in (False, True):
        subspace = moved(model, whole=whole, projection="signed_permutation")
        with Largest() as largest:
            subspace(ids).sum().backward()
        assert (largest.numbers >= 20_000 * COLUMNS) == whole


def test_at_the_start_every_row_is_theta_0_in_every_bit():
    model, ids = Texts(), torch.arange(ROWS).view(-1, 3)
    with torch.no_grad():
        model.words.weight[::2] = -0.0
    assert torch.equal(Subspace(model, dim=40).model.words(ids).view(torch.int32), model.words(ids).view(torch.int32))


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_embeddings_that_do_more_take_the_whole_matrix(options):
    assert not looks_up(moved(Texts(**options)))


def test_one_that_is_trained_directly_takes_the_whole_matrix():
    subspace = Subspace(Texts(), dim=ROWS * COLUMNS + 40, train_directly=["words.*"])
    assert not looks_up(subspace)
    subspace(torch.tensor([[1, 2]])).sum().backward()
    assert subspace.theta_d.grad.count_nonzero() > 0


def test_a_matrix_that_a_linear_layer_shares_is_whole_for_both():
    model = Texts()
    model.out = nn.Linear(COLUMNS, ROWS, bias=False)
    model.out.weight = model.words.weight
    assert not looks_up(moved(model))


def test_an_index_that_names_no_row_is_refused():
    for wrong in (ROWS, -1):
        with pytest.raises(IndexError, match=f"{wrong}.*an embedding has {ROWS}"):
            moved(Texts()).model.words(torch.tensor([3, wrong]))


def test_indices_may_be_written_to_before_the_backward_pass():
    gradients = []
    for change in (0, 1):
        subspace, ids = moved(Texts()), torch.tensor([[3, 7]])
        output = subspace(ids)
        ids += change
        gradients.append(torch.autograd.grad(output.square().sum(), subspace.theta_d)[0])
    assert torch.equal(*gradients)


def test_no_words_at_all():
    output, gradient = outcome(moved(nn.Sequential(nn.Embedding(ROWS, 2))), torch.zeros(2, 0, dtype=torch.long))
    assert output.shape == (2, 0, 2)
    assert not bool(gradient.any())


def test_copies_and_merged_models_look_up_rows_of_their_own():
    model, ids = Texts(), torch.tensor([[1, 2, 3, 4]])
    subspace = moved(model)
    twin, expected = copy.deepcopy(subspace), subspace(ids).detach()
    subspace.set_coordinates(torch.zeros(40))
    assert torch.equal(twin(ids), expected)
    assert torch.equal(subspace(ids), model(ids))
    merged = twin.merge()
    assert torch.equal(merged(ids), expected)
    assert type(merged.words) is nn.Embedding
