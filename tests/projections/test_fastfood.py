import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from idbounds.projections import projection
from idbounds.projections.hadamard import walsh_hadamard, walsh_hadamard_of_a_vector
from idbounds.projections.table import VARIANTS
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


class TestFastfood(ProjectionSuite):
    family = "fastfood"
    generic_from: ClassVar = 17


@pytest.mark.parametrize("log2_size", range(11))
def test_the_transform_is_scipys_hadamard_matrix(log2_size):
    size = 2**log2_size
    identity = torch.eye(size, dtype=torch.float64)
    ours = walsh_hadamard(identity.clone().unsqueeze(0))[0]
    np.testing.assert_array_equal(ours.numpy(), hadamard(size))
    assert torch.equal(walsh_hadamard(ours.clone().unsqueeze(0))[0], size * identity)


@pytest.mark.parametrize("log2_size", range(14))
def test_the_transform_of_a_vector_has_the_same_bits(log2_size):
    vector = gaussian(2**log2_size, dtype=torch.float32)
    expected = walsh_hadamard(vector.clone().view(1, -1, 1)).view(-1)
    assert torch.equal(walsh_hadamard_of_a_vector(vector.clone()), expected)


@given(d=st.integers(1, 300), blocks=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_whole_blocks_are_an_isometry(d, blocks, seed):
    matrix = projection("fastfood", d=d, D=2048 * blocks, seed=seed).to_dense()
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_block_is_the_product_that_its_docstring_states():
    m = 2048
    P = projection("fastfood", d=m, D=m, seed=3)
    mixers = P._mixers_like(torch.zeros(1, dtype=torch.float64))
    (variant,) = P.places("", range(1))
    fresh = np.kron(1.0 - 2.0 * P.bits("", range(1)), np.ones(m // 32))
    first, second = mixers.first_signs[:, variant].numpy(), mixers.second_signs[:, variant].numpy()
    columns = mixers.column_signs[variant].numpy().reshape(-1)
    permutation = np.eye(m)[mixers.permutations.view(m, VARIANTS)[:, variant].numpy() // VARIANTS]
    left, middle = np.kron(hadamard(32), np.eye(m // 32)), np.kron(np.eye(32), hadamard(m // 32))
    # Without the signs between them the two are Fastfood's own last factor.
    np.testing.assert_array_equal(left @ middle, hadamard(m))
    between = np.diag(fresh) @ np.diag(columns)
    block = left @ between @ middle @ np.diag(second) @ permutation @ hadamard(m) @ np.diag(first) / math.sqrt(m)
    w = gaussian(m)
    # P is V over sqrt(D), which here is sqrt(m).
    np.testing.assert_allclose((P @ w).numpy(), block @ w.numpy() / math.sqrt(m), rtol=1e-9, atol=1e-11)


def test_every_unit_has_fresh_signs():
    bits = projection("fastfood", d=100, D=2**22, seed=4).bits("", range(2048)).reshape(-1, 32)
    assert len({tuple(row) for row in bits.tolist()}) == 2048
    assert abs(float(bits.mean()) - 0.5) < 0.01


def test_no_coordinate_is_cut_off_by_small_tensors():
    # Fault B4: a tensor whose padded length is below d must still depend on all of w.
    P = projection("fastfood", d=200, layout=(("bias", 3), ("weight", 5000)), seed=0)
    influence = torch.stack([P.rows(column, name="bias") for column in torch.eye(200)])
    assert bool((influence.abs().sum(1) > 0).all())


def test_padding_is_exact_at_powers_of_two():
    # Fault B11: a floating-point log2 doubles the block at 2^29; bit_length does not.
    for exponent in (5, 16, 29, 40):
        assert projection("fastfood", d=2**exponent, D=2**exponent).block == 2**exponent
        assert projection("fastfood", d=2**exponent + 1, D=2**exponent + 1).block == 2 ** (exponent + 1)


def test_many_blocks_are_nearly_an_isometry():
    P = projection("fastfood", d=100, D=1_000_000, seed=0)
    w = gaussian(100)
    assert float((P.T @ (P @ w) - w).norm() / w.norm()) < 0.001
