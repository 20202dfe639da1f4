from typing import ClassVar

import pytest
import torch

from idbounds.core.errors import ConfigError
from idbounds.projections import projection
from idbounds.testing.projection_suite import Layout, ProjectionSuite


class _OneHotSuite(ProjectionSuite):
    isometric: ClassVar = True

    def largest_d(self, layout: Layout) -> int:
        # Every coordinate is sure to move a weight where one tensor has all 32 ceil(d / 32) slots.
        return max(1, 32 * (max(size for _, size in layout) // 32))


class TestOneHot(_OneHotSuite):
    family = "one_hot"


class TestSignedPermutation(_OneHotSuite):
    family = "signed_permutation"


@pytest.mark.parametrize("family", ["one_hot", "signed_permutation"])
class TestBothFamilies:
    @pytest.mark.parametrize(("d", "D"), [(64, 1000), (100, 12_345), (33, 4000)])
    def test_one_entry_a_row_and_balanced_columns(self, family, d, D):
        matrix = projection(family, d=d, D=D, seed=1).to_dense()
        entries = (matrix != 0).sum(0)
        assert bool(((matrix != 0).sum(1) == 1).all())
        # 32 ceil(d / 32) rows take each coordinate once, or twice where d is no multiple of 32.
        slots = 32 * -(-d // 32)
        assert int(entries.min()) >= D // slots
        assert int(entries.max()) <= (1 + (d % 32 > 0)) * -(-D // slots)

    def test_a_coordinate_that_moves_nothing_is_refused(self, family):
        with pytest.raises(ConfigError, match="would move no weight"):
            projection(family, d=64, layout=tuple((f"t{number}", 2) for number in range(32)))

    def test_signs_are_fair_and_differ_between_segments(self, family):
        P = projection(family, d=32, D=32 * 4000, seed=2)
        signs = torch.sign(P @ torch.ones(32)).view(-1, 32)
        assert abs(float(signs.mean())) < 0.02
        assert len({tuple(row) for row in signs.tolist()}) > 3990
