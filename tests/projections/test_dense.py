from typing import ClassVar

import numpy as np
import pytest
import torch

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.projections import projection
from idbounds.projections.fair_signs import fair_signs
from idbounds.testing.projection_suite import ProjectionSuite


class TestDense(ProjectionSuite):
    family = "dense"

    def test_entries_are_the_stream(self):
        P = self.make(d=4, layout=(("a", 100),), seed=3)
        entries = Stream(seed=3, purpose="dense/gaussians", name="a").normal(0, 400).reshape(100, 4)
        np.testing.assert_array_equal(P.to_dense().numpy(), entries.astype(np.float64) * 0.1)


class TestDenseSigns(ProjectionSuite):
    family = "dense"
    options: ClassVar = {"rademacher": 1}
    # With D >= 2 d rows of d signs, two of the columns agree but for the sign with a probability below d^2 / 4^d.
    generic_from: ClassVar = 17

    def test_entries_are_the_stream(self):
        P = self.make(d=4, layout=(("a", 100),), seed=3)
        entries = fair_signs(Stream(seed=3, purpose="dense/signs", name="a"), 0, 400).reshape(100, 4)
        np.testing.assert_array_equal(P.to_dense().numpy(), entries * 0.1)


def test_columns_of_signs_have_norm_one():
    matrix = projection("dense", d=30, D=1000, rademacher=1).to_dense()
    torch.testing.assert_close(matrix.norm(dim=0), torch.ones(30, dtype=torch.float64), rtol=1e-14, atol=0)


def test_the_option_is_checked():
    with pytest.raises(ConfigError, match=r"rademacher must be 0 .* got -1"):
        projection("dense", d=10, D=100, rademacher=-1)
