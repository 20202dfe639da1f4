from typing import ClassVar

import pytest
import torch

from idbounds.core.errors import ConfigError
from idbounds.projections import Projection, projection
from idbounds.testing.projection_suite import LAYOUT, Layout, ProjectionSuite, gaussian


class TestIdentity(ProjectionSuite):
    family = "identity"
    seeded: ClassVar = False
    follows_order: ClassVar = True
    # P has as many columns as rows.
    reaches: ClassVar = 2**20

    def fit(self, layout: Layout) -> Layout:
        # Some tens of weights, so that matrices stay small.
        return tuple((name, 1 + size % 16) for name, size in layout)

    def make(self, *, d: int, layout: Layout = LAYOUT, **rest: object) -> Projection:
        return super().make(d=max(d, sum(size for _, size in layout)), layout=layout, **rest)


@pytest.mark.parametrize("layout", [LAYOUT, LAYOUT[::-1]])
def test_w_comes_through_in_the_order_of_the_layout(layout):
    total = sum(size for _, size in layout)
    w = gaussian(total, dtype=torch.float32)
    P = projection("identity", d=total, layout=layout, seed=5)
    assert torch.equal(P @ w, w)
    assert torch.equal(P.T @ w, w)


def test_per_tensor_shares_are_equal_on_average_over_directions():
    P = projection("identity", d=400, layout=(("a", 10), ("b", 390)), allocation="per_tensor")
    squares = P.to_dense().square().sum(1).split([10, 390])
    assert [float(part.sum()) for part in squares] == pytest.approx([200.0, 200.0])


def test_another_d_is_refused():
    with pytest.raises(ConfigError, match="needs d = D: got d = 3 for D = 10 weights; choose d = 10"):
        projection("identity", d=3, D=10)
