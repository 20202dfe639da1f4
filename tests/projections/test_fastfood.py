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
from idbounds.projections.fastfood import _walsh_hadamard
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


class TestFastfood(ProjectionSuite):
    family = "fastfood"


class TestFastfoodLargeBlocks(ProjectionSuite):
    family = "fastfood"
    options: ClassVar = {"block_size": 256}


@pytest.mark.parametrize("log2_size", range(11))
def test_the_transform_is_scipys_hadamard_matrix(log2_size):
    size = 2**log2_size
    identity = torch.eye(size, dtype=torch.float64)
    ours = _walsh_hadamard(identity.clone())
    np.testing.assert_array_equal(ours.numpy(), hadamard(size))
    assert torch.equal(_walsh_hadamard(ours.clone()), size * identity)


@given(log2_size=st.integers(5, 9), log2_d=st.integers(0, 9), seed=st.integers(0, 2**32))
def test_coset_oracle(log2_size, log2_d, seed):
    """For D = m = 2^k and d = 2^j, the eigenvalues of P^T P are the means of G^2 over the cosets {Π mod d}.

    G is scaled so that the mean of G^2 over the block is 1 (peers.md, Mathematics).
    """
    size, d = 2**log2_size, 2 ** min(log2_d, log2_size)
    P = projection("fastfood", d=d, D=size, seed=seed, block_size=size)
    matrix = P.to_dense()
    permutation = Stream(seed=seed, purpose="fastfood/permutation").permutation(0, size)
    gaussians = Stream(seed=seed, purpose="fastfood/gaussians").normal(0, size).astype(np.float64)
    squares = gaussians**2 / np.mean(gaussians**2)
    expected = [squares[permutation % d == coset].mean() for coset in range(d)]
    np.testing.assert_allclose(np.linalg.eigvalsh((matrix.T @ matrix).numpy()), np.sort(expected), rtol=1e-5, atol=1e-7)


@given(d=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_rows_of_whole_blocks_have_the_same_norm_on_average(d, seed):
    # trace(P^T P) = d exactly when D is whole blocks: no scale drifts with d (fault B8).
    block = max(32, 1 << (d - 1).bit_length())
    P = projection("fastfood", d=d, D=4 * block, seed=seed)
    matrix = P.to_dense()
    assert float((matrix**2).sum()) == pytest.approx(d, rel=0.35 if d < 8 else 0.15)


def test_no_coordinate_is_cut_off_by_small_tensors():
    # Fault B4: a tensor whose padded length is below d must still depend on all of w.
    P = projection("fastfood", d=200, layout=(("bias", 3), ("weight", 5000)), seed=0)
    influence = torch.stack([P.rows(column, name="bias") for column in torch.eye(200)])
    assert bool((influence.abs().sum(1) > 0).all())


def test_padding_is_exact_at_powers_of_two():
    # Fault B11: a floating-point log2 doubles the block at 2^29; bit_length does not.
    for exponent in (5, 16, 29, 40):
        P = projection("fastfood", d=2**exponent, D=2**exponent)
        assert P._block == 2**exponent
        assert projection("fastfood", d=2**exponent + 1, D=2**exponent + 1)._block == 2 ** (exponent + 1)


def test_many_tiles_are_nearly_an_isometry():
    P = projection("fastfood", d=100, D=1_000_000, seed=0)
    w = gaussian(100)
    assert float((P.T @ (P @ w) - w).norm() / w.norm()) < 0.02


@pytest.mark.parametrize("block_size", [33, 16, 64])
def test_a_block_must_be_a_power_of_two_that_holds_d(block_size):
    with pytest.raises(ConfigError, match=f"got {block_size}"):
        projection("fastfood", d=100, D=1000, block_size=block_size)
