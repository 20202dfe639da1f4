import numpy as np

from idbounds.core.streams import Stream
from idbounds.testing.projection_suite import ProjectionSuite


class TestDense(ProjectionSuite):
    family = "dense"

    def test_entries_are_the_stream(self):
        P = self.make(d=4, layout=(("a", 100),), seed=3)
        entries = Stream(seed=3, purpose="dense/gaussians", name="a").normal(0, 400).reshape(100, 4)
        np.testing.assert_array_equal(P.to_dense().numpy(), entries.astype(np.float64) * 0.1)
