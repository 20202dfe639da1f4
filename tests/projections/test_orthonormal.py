from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError
from idbounds.projections import projection
from idbounds.projections.orthonormal import _sum_of_columns, odd_gaussians
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


class TestOrthonormal(ProjectionSuite):
    family = "orthonormal"
    isometric: ClassVar = True
    # V^T V takes all rows before the first product. Addresses beyond: test_rows_are_addressed_beyond_32_bits.
    reaches: ClassVar = 2**20


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    seed=st.integers(0, 2**64 - 1),
    allocation=st.sampled_from(["global", "per_tensor"]),
    data=st.data(),
)
def test_columns_are_the_product_of_reflections_that_the_docstring_states(sizes, seed, allocation, data):
    layout = tuple((f"t{position}", size) for position, size in enumerate(sizes))
    d = data.draw(st.integers(1, sum(sizes)))
    P = projection("orthonormal", d=d, layout=layout, seed=seed, allocation=allocation)
    order = sorted(layout, key=lambda tensor: (-tensor[1], tensor[0]))
    x = np.concatenate([P.scale(name) * next(iter(P._tiles(name, 0, size)))[1].astype(float) for name, size in order])
    frame, signs = np.eye(len(x))[:, :d], np.empty(d)
    for j in reversed(range(d)):
        assert not x[:j, j].any()
        signs[j] = -np.copysign(1.0, x[j, j])
        v = x[:, j].copy()
        v[j] -= signs[j] * np.linalg.norm(v)
        frame -= np.outer(v, 2 * (v @ frame) / (v @ v))
    matrix = np.concatenate([P.rows(torch.eye(d, dtype=torch.float64)[0], name=name).numpy() for name, _ in order])
    np.testing.assert_allclose(matrix, (frame * signs)[:, 0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(("d", "D"), [(1, 1), (40, 40), (150, 150), (60, 1000)])
def test_an_isometry_even_where_a_gaussian_matrix_is_nearly_singular(d, D):
    for seed in range(5):
        matrix = projection("orthonormal", d=d, D=D, seed=seed).to_dense()
        torch.testing.assert_close(matrix.T @ matrix, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-14 * d + 1e-14)


def test_entries_are_those_of_a_uniform_frame():
    # An entry of a uniform frame in R^n has mean 0 and variance 1 / n, wherever it stands; n = 8, d = 3.
    squares = torch.stack([projection("orthonormal", d=3, D=8, seed=seed).to_dense() for seed in range(2000)])
    assert float(squares.mean(0).abs().max()) < 4.5 / np.sqrt(8 * 2000)
    # A squared entry has variance 2 (n - 1) / (n^2 (n + 2)).
    assert float((squares.square().mean(0) - 1 / 8).abs().max()) < 4.5 * np.sqrt(14 / 640 / 2000)


def test_tensors_have_equal_shares_where_they_are_much_larger_than_d():
    layout = (("a", 400), ("b", 20_000))
    P = projection("orthonormal", d=10, layout=layout, allocation="per_tensor")
    matrix = P.to_dense()
    assert float(matrix[:400].square().sum()) / 10 == pytest.approx(0.5, abs=0.05)


def test_the_table_is_odd_symmetric_and_close_to_the_atoms():
    in_steps = odd_gaussians().astype(np.float64) * 2**8
    assert bool((in_steps % 2 == 1).all())
    np.testing.assert_array_equal(in_steps, -in_steps[::-1])
    # The square of an entry has at most 21 bits, so that 2^18 of them add up exactly.
    assert np.abs(in_steps).max() ** 2 < 2**21


def test_rows_are_addressed_beyond_32_bits():
    P = projection("orthonormal", d=1, layout=(("huge", 10**12),))
    (row, tail), (_, middle) = *P._tiles("huge", 10**12 - 64, 10**12), *P._tiles("huge", 2**38, 2**38 + 64)
    assert (row, tail.shape) == (10**12 - 64, (64, 1))
    assert not np.array_equal(tail, middle)


def test_a_setup_of_minutes_is_refused():
    with pytest.raises(ConfigError, match=r"D d\^2 = 1000000000 \* 100\^2 = 1\.0e\+13 .* the limit is 1e\+12"):
        projection("orthonormal", d=100, D=10**9)


@given(rows=st.integers(1, 5), width=st.integers(1, 70))
def test_the_sum_of_columns_adds_each_once(rows, width):
    values = gaussian(rows * width).view(rows, width)
    torch.testing.assert_close(_sum_of_columns(values.clone()), values.sum(1), rtol=1e-13, atol=1e-13)
