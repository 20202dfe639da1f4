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

    def test_signs_and_orders_are_fair_and_differ_between_segments(self, family):
        P = projection(family, d=32, D=32 * 4000, seed=2)
        runs = (P @ torch.arange(1.0, 33.0)).view(-1, 32)
        assert abs(float(torch.sign(runs).mean())) < 0.02
        # 256 variants, each with both signs.
        assert len({tuple(row) for row in runs.tolist()}) > 500

    def test_neighbouring_runs_have_independent_signs(self, family):
        # What is seen of a row is the product of its run's sign and its slot's.
        P = projection(family, d=64, D=64 * 4000, seed=2)
        signs = torch.sign(P @ torch.ones(64)).view(-1, 2, 32)
        assert abs(float((signs[:, 0] * signs[:, 1]).mean())) < 0.02

    def test_so_many_variants_as_make_256_stretches(self, family):
        found = [projection(family, d=d, D=10**6).variants for d in (1, 32, 33, 1000, 2048, 2049, 10_000, 100_000)]
        assert found == [256, 256, 128, 16, 16, 16, 16, 16]
