import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idbounds.core.errors import ConfigError
from idbounds.projections import projection
from idbounds.projections.kronecker import orthogonalised
from idbounds.testing.projection_suite import ProjectionSuite, gaussian


class TestKronecker(ProjectionSuite):
    family = "kronecker"


class TestTwoOrthonormalTerms(ProjectionSuite):
    family = "kronecker"
    options: ClassVar = {"orthonormal": 1, "terms": 2}
    # Orthogonal columns need all rows of A: millions of them for a tensor of 2^40 rows.
    reaches: ClassVar = 2**32


@given(d=st.integers(1, 100_000), size=st.integers(1, 2**50))
def test_shapes_cover_both_sides_in_integers(d, size):
    # Fault B7: integer roots in floating point cut 64 to 3 x 3 x 3.
    c1, c2, r1, r2 = projection("kronecker", d=d, layout=(("other", d), ("this", size))).shapes("this")
    assert c1 * c2 >= d > c1 * (c2 - 1)
    assert r1 * r2 >= size > (r1 - 1) * r2


def test_64_is_8_times_8():
    c1, c2, _, _ = projection("kronecker", d=64, D=6400).shapes("")
    assert (c1, c2) == (8, 8)


@given(d=st.integers(1, 600), extra=st.integers(0, 5000))
def test_one_tensor_alone_has_both_factors_high_enough_for_full_rank(d, extra):
    c1, c2, r1, r2 = projection("kronecker", d=d, D=2 * d + extra).shapes("")
    if 2 * d + extra >= c1 * c2:
        assert r1 >= c1
        assert r2 >= c2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_entry_is_one_product_of_entries_of_the_factors(dtype):
    P = projection("kronecker", d=30, D=1000, seed=4)
    c1, c2, r1, r2 = P.shapes("")
    left, right = P._left_entries("", 0, r1).numpy().astype(dtype), P._right_entries("")[0].numpy().astype(dtype)
    # Scalar by scalar: no sums, so no BLAS can change a bit.
    scaled = (right * dtype(P.scale(""))).astype(dtype)
    entries = (left[:, None, :, None] * scaled[None, :, None, :]).reshape(r1 * r2, c1 * c2)[:1000, :30]
    np.testing.assert_array_equal(P.to_dense(dtype=torch.from_numpy(left).dtype).numpy(), entries)


def test_rows_are_those_of_the_kronecker_product_of_the_docstring():
    P = projection("kronecker", d=23, D=777, seed=1, terms=2)
    c1, c2, r1, _ = P.shapes("")
    left, right = P._left_entries("", 0, r1).numpy().astype(float), P._right_entries("").numpy().astype(float)
    w, (order, signs) = gaussian(23).numpy(), (P._order.numpy(), np.sign(P._signs.numpy()))
    image = np.zeros(777)
    for term, vector in enumerate((w, signs * w[order])):
        padded = np.concatenate([vector, np.zeros(c1 * c2 - 23)])
        image += (np.kron(left[:, term * c1 : (term + 1) * c1], right[term]) @ padded)[:777] / math.sqrt(2 * 777)
    np.testing.assert_allclose((P @ gaussian(23)).numpy(), image, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize(("d", "size"), [(1, 4096), (16, 4096), (64, 4096), (125, 8192)])
def test_orthonormal_factors_are_an_isometry_where_nothing_is_cut(d, size, terms):
    P = projection("kronecker", d=d, layout=(("a", size), ("b", size)), seed=2, orthonormal=1, terms=terms)
    assert P.shapes("a").r1 * P.shapes("a").r2 == size
    matrix = P.to_dense()
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-12)


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_orthogonalised(rows, columns, seed):
    entries = np.random.default_rng(seed).standard_normal((rows, columns))
    made = orthogonalised(entries)
    gram = made.T @ made if rows >= columns else made @ made.T
    np.testing.assert_allclose(gram, max(rows, columns) * np.eye(min(rows, columns)), atol=1e-11)
    # The same space, with the same orientation: each column is a positive multiple of what is new in it.
    if rows >= columns:
        triangle = made.T @ entries
        assert np.abs(np.tril(triangle, -1)).max() < 1e-10
        assert (np.diag(triangle) > 0).all()


def test_every_coordinate_moves_with_two_terms():
    # Fault B7: in the public sum of two products some coordinates move nothing.
    for d in (5, 50, 97):
        matrix = projection("kronecker", d=d, D=4 * d, seed=0, terms=2).to_dense()
        assert bool((matrix.abs().sum(0) > 0).all())


def test_bits_do_not_depend_on_where_threads_cut_the_tiles():
    # 100 003 is prime: no cut falls on the edge of a tile.
    P, w, base = (
        projection("kronecker", d=200, D=10 * 100_003, seed=0),
        gaussian(200, dtype=torch.float32),
        torch.ones(1_000_030),
    )
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = P.move(base, w, name="")
        torch.set_num_threads(3)
        assert torch.equal(P.move(base, w, name=""), one)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("options", [{"terms": 3}, {"orthonormal": 2}])
def test_options_out_of_range_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ConfigError, match=f"{name} must be one of .* got {value}"):
        projection("kronecker", d=4, D=40, **options)
