import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import hadamard

from idbounds.core.streams import Stream
from idbounds.projections import projection
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.fastfood_stacked import _permutations, chi_atoms
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


class TestFastfoodStacked(ProjectionSuite):
    family = "fastfood_stacked"


@given(d=st.integers(1, 70), index=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_a_block_is_the_product_that_the_docstring_states(d, index, seed):
    P = projection("fastfood_stacked", d=d, D=600, seed=seed)
    m = P.block

    def stream(what):
        return Stream(seed=seed, purpose=f"fastfood_stacked/{what}")

    part = (index * m, m)
    G = stream("gaussians").normal(*part).astype(np.float64)
    s = math.sqrt(m) * chi_atoms(m).astype(np.float64)[stream("lengths").uint16(*part) % 2**12]
    S = s / (math.sqrt(m) * np.linalg.norm(G))
    B = fair_signs(stream("signs"), *part)
    permutation = np.eye(m)[_permutations(stream("permutations").words(*part)[None])[0]]
    H = hadamard(m)
    block = np.diag(S) @ H @ np.diag(G) @ permutation @ H @ np.diag(B)
    w = gaussian(d)
    rows = P.rows(w, start=index * m, stop=(index + 1) * m)
    np.testing.assert_allclose(rows, block[:, :d] @ w.numpy() / math.sqrt(600), rtol=1e-9, atol=1e-11)


def test_rows_have_the_norms_of_gaussian_rows():
    d = 64
    norms = projection("fastfood_stacked", d=d, D=64 * 300, seed=0).to_dense().norm(dim=1) * math.sqrt(64 * 300)
    assert stats.kstest(norms.numpy(), stats.chi(d).cdf).pvalue > 1e-4


@pytest.mark.parametrize("degrees", [32, 128, 2048, 2**17])
def test_the_table_of_lengths_is_close_to_chi(degrees):
    atoms = chi_atoms(degrees).astype(np.float64) * math.sqrt(degrees)
    assert np.mean(atoms**2) == pytest.approx(degrees, rel=1e-6)
    assert np.var(atoms) == pytest.approx(stats.chi(degrees).var(), rel=0.005)
    levels = (np.arange(2**12) + 0.5) / 2**12
    # Steps of 2^-16 are 2^-15.5 sqrt(degrees) standard deviations.
    assert np.abs(stats.chi(degrees).cdf(atoms) - levels).max() < 2e-4 + 2**-15.5 * math.sqrt(degrees)


def test_the_table_of_lengths_has_these_bits():
    digest = hashlib.sha256(b"".join(chi_atoms(2**k).astype("<f4").tobytes() for k in range(5, 15)))
    assert digest.hexdigest() == "c82cce76be5c2c340043208c2497e1c8d5eaef89a477da488b0167830d1f815e"


@given(log2_size=st.integers(5, 9), seed=st.integers(0, 2**32))
def test_permutations_are_the_order_of_the_words(log2_size, seed):
    words = Stream(seed=seed, purpose="test").words(0, 3 * 2**log2_size).reshape(3, -1)
    np.testing.assert_array_equal(_permutations(words), np.argsort(words, axis=1))


def test_blocks_are_independent():
    matrix = projection("fastfood_stacked", d=32, D=32 * 20, seed=1).to_dense().view(20, 32, 32)
    assert len({tuple(block.flatten().tolist()) for block in matrix}) == 20


def test_padding_is_exact_at_powers_of_two():
    # Fault B11: a floating-point log2 doubles the block at 2^29; bit_length does not.
    for exponent in (5, 16, 29, 40):
        assert projection("fastfood_stacked", d=2**exponent, D=2**exponent).block == 2**exponent
        assert projection("fastfood_stacked", d=2**exponent + 1, D=2**exponent + 1).block == 2 ** (exponent + 1)


def test_many_blocks_are_nearly_an_isometry():
    P = projection("fastfood_stacked", d=100, D=1_000_000, seed=0)
    w = gaussian(100)
    # Gaussian columns would give about sqrt(d / D) = 0.01.
    assert float((P.T @ (P @ w) - w).norm() / w.norm()) < 0.02
    assert torch.equal(P.rows(w, start=999_990), (P @ w)[999_990:])
