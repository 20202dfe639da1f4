import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.projections import projection
from idbounds.projections.fair_signs import fair_signs
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


def drawn(what, *, seed, name=""):
    return Stream(seed=seed, purpose=f"fastfood_single_block/{what}", name=name)


class TestFastfoodSingleBlock(ProjectionSuite):
    family = "fastfood_single_block"
    # The transform has the length of the tensor. Addresses beyond: test_padding_is_exact_at_powers_of_two.
    reaches: ClassVar = 2**20


class TestFastfoodSingleBlockOfSigns(ProjectionSuite):
    family = "fastfood_single_block"
    options: ClassVar = {"rademacher": 1}
    reaches: ClassVar = 2**20
    generic_from: ClassVar = 17


@given(log2_size=st.integers(0, 9), log2_d=st.integers(0, 9), seed=st.integers(0, 2**32))
def test_coset_oracle(log2_size, log2_d, seed):
    """For D = L = 2^k and d = 2^j, the eigenvalues of P^T P are the means of G^2 over the cosets {Π mod d}."""
    size, d = 2**log2_size, 2 ** min(log2_d, log2_size)
    matrix = projection("fastfood_single_block", d=d, D=size, seed=seed).to_dense()
    permutation = drawn("permutation", seed=seed).permutation(0, size)
    gaussians = drawn("gaussians", seed=seed).normal(0, size).astype(np.float64)
    squares = gaussians**2 / np.mean(gaussians**2)
    expected = [squares[permutation % d == coset].mean() for coset in range(d)]
    np.testing.assert_allclose(np.linalg.eigvalsh((matrix.T @ matrix).numpy()), np.sort(expected), rtol=1e-9, atol=1e-12)


@given(log2_size=st.integers(0, 9), seed=st.integers(0, 2**32), data=st.data())
def test_signs_in_place_of_gaussians_give_an_isometry_where_nothing_is_cut(log2_size, seed, data):
    d = data.draw(st.integers(1, 2**log2_size))
    matrix = projection("fastfood_single_block", d=d, D=2**log2_size, seed=seed, rademacher=1).to_dense()
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-12)


@given(size=st.integers(1, 100), other=st.integers(1, 100), seed=st.integers(0, 2**32), signs=st.integers(0, 1), data=st.data())
def test_a_tensor_is_the_product_that_the_docstring_states(size, other, seed, signs, data):
    d = data.draw(st.integers(1, size + other))
    P = projection("fastfood_single_block", d=d, layout=(("a", size), ("b", other)), seed=seed, rademacher=signs)
    length = P.padded("a")
    assert length >= max(size, d) > length / 2
    H = hadamard(length)
    G = fair_signs(drawn("coins", seed=seed, name="a"), 0, length) * 1.0
    if not signs:
        G = drawn("gaussians", seed=seed, name="a").normal(0, length).astype(np.float64)
    permuted = H[drawn("permutation", seed=seed, name="a").permutation(0, length)][:, :d]
    block = H @ np.diag(G) @ permuted @ np.diag(fair_signs(drawn("signs", seed=seed, name="a"), 0, d)) / np.linalg.norm(G)
    w = gaussian(d)
    np.testing.assert_allclose(P.rows(w, name="a"), block[:size] @ w.numpy() / math.sqrt(size + other), rtol=1e-9, atol=1e-11)


def test_no_coordinate_is_cut_off_by_small_tensors():
    # Fault B4: a tensor whose padded length is below d must still depend on all of w.
    P = projection("fastfood_single_block", d=200, layout=(("bias", 3), ("weight", 5000)), seed=0)
    influence = torch.stack([P.rows(column, name="bias") for column in torch.eye(200)])
    assert bool((influence.abs().sum(1) > 0).all())


def test_padding_is_exact_at_powers_of_two():
    # Fault B11: a floating-point log2 doubles the block at 2^29; bit_length does not.
    for exponent in (0, 5, 16, 29, 40):
        for d, D in ((1, 2**exponent), (2**exponent, 2**exponent)):
            assert projection("fastfood_single_block", d=d, D=D).padded("") == 2**exponent
            assert projection("fastfood_single_block", d=d, D=D + 1).padded("") == 2 ** (exponent + 1)


def test_the_option_is_checked():
    with pytest.raises(ConfigError, match=r"rademacher must be 0 .* got 2"):
        projection("fastfood_single_block", d=10, D=100, rademacher=2)
