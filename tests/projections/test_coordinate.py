from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from idbounds.projections import projection
from idbounds.testing.projection_suite import ProjectionSuite, gaussian, layouts


class TestCoordinate(ProjectionSuite):
    family = "coordinate"
    zero_rows: ClassVar = True


@given(layout=layouts, share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_d_rows_are_unit_vectors_and_the_rest_are_0(layout, share, seed):
    total = sum(size for _, size in layout)
    d = max(1, round(share * min(total, 60)))
    P = projection("coordinate", d=d, layout=layout, seed=seed)
    matrix = P.to_dense()
    assert set(matrix.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(matrix.T @ matrix, torch.eye(d, dtype=torch.float64))


def test_every_weight_is_drawn_equally_often_by_every_coordinate():
    for d in (3, 9):  # below and above D / 2: by rejection, and by a permutation
        counts = sum(projection("coordinate", d=d, D=11, seed=seed).to_dense() for seed in range(2000))
        assert stats.chisquare(counts[:, 0].numpy()).pvalue > 1e-4
        assert stats.chisquare(counts[:, -1].numpy()).pvalue > 1e-4


def test_w_comes_through_in_every_bit():
    w = gaussian(100, dtype=torch.float32)
    for D in (100, 150, 999):
        image = projection("coordinate", d=100, D=D, seed=1) @ w
        assert torch.equal(image[image != 0].sort().values, w.sort().values)


def test_huge_tensors_keep_d_positions():
    P = projection("coordinate", d=1000, layout=(("a", 2**40), ("b", 3)), seed=0)
    places = P._places["a"]
    assert len(np.unique(places)) + len(P._places["b"]) == 1000
    assert places.max() > 2**39
    row = int(places[7])
    w = gaussian(1000)
    assert P.rows(w, name="a", start=row, stop=row + 1).item() == w[P._coordinates["a"][7]]
    assert P.rows(w, name="b").shape == (3,)


def test_per_tensor_shares_are_equal_on_average():
    layout = (("a", 10), ("b", 40), ("c", 350))
    shares = np.zeros((400, 3))
    for seed in range(400):
        P = projection("coordinate", d=40, layout=layout, seed=seed, allocation="per_tensor")
        shares[seed] = [float(P.rows(torch.ones(40), name=name).square().sum()) / 40 for name, _ in layout]
    assert (np.abs(shares.mean(0) - 1 / 3) < 4 * shares.std(0) / 20).all()


@pytest.mark.parametrize("d", [1, 2, 4])
def test_smallest_sizes(d):
    assert projection("coordinate", d=d, D=4, seed=3).to_dense().sum() == d
