"""Faults of public code (docs/faults.md): each check fails on the faulty mathematics, written out here, and passes on ours."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn
from torch.autograd.gradcheck import GradcheckError

from idbounds.core.errors import KnownFaultWarning
from idbounds.measurement.subspace import Subspace
from idbounds.projections import PROJECTIONS, Projection, projection
from idbounds.testing.projection_suite import gaussian

#: Drawn from a seed, for any d. `basis` and `identity` have no randomness to get wrong.
FAMILIES = sorted(set(PROJECTIONS) - {"basis", "identity"})
#: Every weight moves with every coordinate.
DENSE_FAMILIES = sorted(set(FAMILIES) - {"coordinate", "one_hot", "signed_permutation", "sparse"})
#: Blocks or padding of a power of two.
POWERS_OF_TWO = {
    "fastfood": lambda P: P.block,
    "fastfood_stacked": lambda P: P.block,
    "fastfood_single_block": lambda P: P.padded(""),
    "srht": lambda P: P.padded(""),
}


def bert(*, vocabulary: int, layers: int) -> tuple[tuple[str, int], ...]:
    """The tensors of a small BERT of width 128."""
    layer = [(f"{what}.bias", 128) for what in ("query", "key", "value", "out")] + [("up.bias", 512), ("down.bias", 128)]
    layer += [(f"norm{which}.{what}", 128) for which in (1, 2) for what in ("weight", "bias")]
    layer += [(f"{what}.weight", 128 * 128) for what in ("query", "key", "value", "out")]
    layer += [("up.weight", 512 * 128), ("down.weight", 512 * 128)]
    body = [(f"layer.{number}.{what}", size) for number in range(layers) for what, size in layer]
    return (("embedding.weight", vocabulary * 128), *body)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def gradient_by_columns(P: Projection, g: torch.Tensor) -> torch.Tensor:
    """P^T g from products P e_j alone."""
    return torch.stack([(P @ column) @ g for column in torch.eye(P.d, dtype=g.dtype)])


def released_code(**arguments: object) -> Projection:
    with warnings.catch_warnings(action="ignore", category=KnownFaultWarning):
        return projection("said_released_code", allocation="per_tensor", **arguments)


class TestB1TheGradientIsNotTheAdjoint:
    def test_released_code_points_elsewhere(self):
        layout = bert(vocabulary=4000, layers=2)
        faulty = released_code(d=500, layout=layout)
        right = projection("fastfood_single_block", d=500, layout=layout, allocation="per_tensor")
        assert torch.equal(faulty @ gaussian(500), right @ gaussian(500))
        g = gaussian(faulty.D, seed=1)
        parts = {
            name: faulty.adjoint_rows(piece, name=name)
            for (name, _), piece in zip(layout, g.split([size for _, size in layout]), strict=True)
        }
        energy = {name: float(part.square().sum()) for name, part in parts.items()}
        share = sum(energy[name] for name, size in layout if size <= 512) / sum(energy.values())
        angle = cosine(faulty.T @ g, right.T @ g)
        print(f"cosine with the true gradient {angle:.3f}; energy from 1-D tensors {share:.5f}")
        assert angle < 0.9
        assert share > 0.9
        for name, piece in zip(parts, g.split([size for _, size in layout]), strict=True):
            expected = right.adjoint_rows(piece, name=name) / right.padded(name)
            torch.testing.assert_close(parts[name], expected, rtol=1e-12, atol=0)

    def test_gradcheck_fails_on_the_released_code(self):
        layout = (("a", 5), ("b", 64), ("c", 130))
        w = gaussian(6).requires_grad_()
        with pytest.raises(GradcheckError):
            torch.autograd.gradcheck(released_code(d=6, layout=layout).matvec, (w,))
        assert torch.autograd.gradcheck(projection("fastfood_single_block", d=6, layout=layout).matvec, (w,))

    def test_on_one_tensor_it_looks_like_a_learning_rate(self):
        faulty = released_code(d=20, layout=(("a", 1000),))
        assert cosine(faulty.T @ gaussian(1000), gradient_by_columns(faulty, gaussian(1000))) > 0.999999

    @pytest.mark.parametrize("allocation", ["global", "per_tensor"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_ours_is_the_adjoint(self, family, allocation):
        P = projection(family, d=32, layout=bert(vocabulary=40, layers=1), allocation=allocation)
        g = gaussian(P.D, dtype=torch.float32)
        assert cosine(P.T @ g, gradient_by_columns(P, g)) > 0.999999


class Tied(nn.Module):
    """The output layer's weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.out = nn.Linear(6, 11)
        self.out.weight = self.embedding.weight


def moved_by_name(model: nn.Module) -> nn.Module:
    """Every tensor that `named_parameters` lists is moved where it is listed, as public code does (B3)."""
    for name, parameter in list(model.named_parameters()):
        module, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(module), attribute, nn.Parameter(parameter.detach() + 1))
    return model


class TestB3TiedWeightsAreUntied:
    @staticmethod
    def is_tied(model: nn.Module) -> bool:
        return torch.equal(model.embedding.weight, model.out.weight)

    def test_moving_by_name_is_noticed(self):
        assert self.is_tied(Tied())
        assert not self.is_tied(moved_by_name(Tied()))

    def test_ours_move_both_places(self):
        # More in tests/measurement/test_subspace.py, "tied".
        model = Tied()
        subspace = Subspace(model, dim=10)
        with torch.no_grad():
            subspace.theta_d.fill_(1.0)
        assert self.is_tied(subspace.model)
        assert not torch.equal(subspace.model.out.weight, model.out.weight)


def cut_off(w: torch.Tensor, size: int) -> torch.Tensor:
    """Rows of a tensor as public code makes them (B4): what does not fit into its padded length is dropped."""
    padded = 1 << (size - 1).bit_length()
    values = torch.zeros(padded, dtype=w.dtype)
    values[: min(padded, w.numel())] = w[:padded]
    return (torch.from_numpy(hadamard(padded)).to(w) @ values)[:size]


class TestB4CoordinatesAreCutOff:
    @staticmethod
    def all_coordinates_matter(rows) -> bool:
        influence = torch.stack([rows(column) for column in torch.eye(200)])
        return bool((influence.abs().sum(1) > 0).all())

    def test_truncation_is_noticed(self):
        assert not self.all_coordinates_matter(lambda w: cut_off(w, 3))
        assert self.all_coordinates_matter(lambda w: cut_off(w, 200))

    @pytest.mark.parametrize("family", DENSE_FAMILIES)
    def test_small_tensors_of_ours_see_every_coordinate(self, family):
        P = projection(family, d=200, layout=(("bias", 3), ("weight", 5000)))
        assert self.all_coordinates_matter(lambda w: P.rows(w, name="bias"))


def bernoulli_sparse(D: int, d: int, seed: int) -> torch.Tensor:
    """Very sparse entries drawn one by one with density 1 / sqrt(D): nothing sees to it that a row has any (B7)."""
    generator = np.random.default_rng(seed)
    kept = generator.random((D, d)) < 1 / math.sqrt(D)
    return torch.from_numpy(kept * np.where(generator.random((D, d)) < 0.5, -1.0, 1.0))


def seed_forgotten(w: torch.Tensor, *, seed: int, start: int, stop: int) -> torch.Tensor:
    """The seed is an argument that nothing reads (B7)."""
    return (torch.from_numpy(np.random.default_rng(0).standard_normal((3000, w.numel())))[start:stop] * w).sum(1)


def drawn_by_chunk(w: torch.Tensor, *, seed: int, start: int, stop: int) -> torch.Tensor:
    """Each chunk starts the generator anew, so that rows depend on where chunks begin (B7)."""
    return (torch.from_numpy(np.random.default_rng(seed).standard_normal((stop - start, w.numel()))) * w).sum(1)


def normalised_in_place(w: torch.Tensor, *, seed: int, start: int, stop: int) -> torch.Tensor:
    """The caller's vector is scaled where it lies (B7)."""
    w /= w.norm()
    return w.sum().expand(stop - start)


def rows_of(family: str):
    def rows(w, *, seed, start, stop):
        return projection(family, d=w.numel(), D=3000, seed=seed).rows(w, start=start, stop=stop)

    return rows


class TestB7ProjectorsThatAreNotWhatTheySay:
    @staticmethod
    def seed_matters(rows) -> bool:
        first, second = (rows(gaussian(50), seed=seed, start=0, stop=3000) for seed in (0, 1))
        return not torch.equal(first, second)

    @staticmethod
    def chunks_agree(rows) -> bool:
        whole = rows(gaussian(50), seed=1, start=0, stop=3000)
        cuts = [0, 7, 64, 1000, 2049, 3000]
        parts = [rows(gaussian(50), seed=1, start=start, stop=stop) for start, stop in itertools.pairwise(cuts)]
        return torch.equal(whole, torch.cat(parts))

    @staticmethod
    def input_is_left_alone(rows) -> bool:
        w = gaussian(50)
        rows(w, seed=1, start=0, stop=10)
        return torch.equal(w, gaussian(50))

    def test_each_fault_is_noticed_by_its_check_alone(self):
        checks = (self.seed_matters, self.chunks_agree, self.input_is_left_alone)
        assert [check(seed_forgotten) for check in checks] == [False, True, True]
        assert [check(drawn_by_chunk) for check in checks] == [True, False, True]
        assert not self.input_is_left_alone(normalised_in_place)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_ours_follow_the_seed_and_nothing_else(self, family):
        rows = rows_of(family)
        assert self.seed_matters(rows)
        assert self.chunks_agree(rows)
        assert self.input_is_left_alone(rows)

    def test_independent_sparse_entries_leave_rows_that_never_move(self):
        # At d = 50 and D = 1474, peers.md counts 413 such rows.
        assert 300 < int((bernoulli_sparse(1474, 50, seed=0) == 0).all(1).sum()) < 500

    @pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"coordinate"}))
    def test_every_row_of_ours_moves(self, family):
        # A subset of the weights is what `coordinate` is for.
        matrix = projection(family, d=50, D=1474).to_dense(dtype=torch.float32)
        assert int((matrix == 0).all(1).sum()) == 0

    def test_an_integer_root_by_floating_point_is_too_small(self):
        assert int(64 ** (1 / 3)) == 3

    @pytest.mark.parametrize("size", [64, 4096, 10**6, 3**20, 2**52, 10**16])
    def test_shapes_of_ours_hold_powers_exactly(self, size):
        shapes = projection("kronecker", d=64, D=size).shapes("")
        assert shapes.c1 * shapes.c2 >= 64
        assert shapes.r1 * shapes.r2 >= size > (shapes.r1 - 1) * shapes.r2


def not_divided_by_the_gaussians(w: torch.Tensor, seed: int) -> torch.Tensor:
    """One Fastfood block that holds d, divided by the root of its rows, and not by ||G||, which grows with d (B8)."""
    generator, block = np.random.default_rng(seed), 1 << (w.numel() - 1).bit_length()
    values = np.zeros(block)
    values[: w.numel()] = w.numpy() * np.where(generator.random(w.numel()) < 0.5, -1.0, 1.0)
    mixed = generator.standard_normal(block) * generator.permutation(hadamard(block) @ values)
    return torch.from_numpy(hadamard(block) @ mixed / math.sqrt(block))


class TestB8TheScaleDrifts:
    @staticmethod
    def drift(product) -> float:
        """||P w||^2 of unit vectors: the largest over the smallest of the means at three d."""
        means = []
        for d in (20, 100, 500):
            w = gaussian(d) / gaussian(d).norm()
            means.append(np.mean([float(product(w, seed).square().sum()) for seed in range(30)]))
        return max(means) / min(means)

    def test_a_scale_that_follows_d_is_noticed(self):
        assert self.drift(not_divided_by_the_gaussians) > 10

    @pytest.mark.parametrize("family", FAMILIES)
    def test_ours_is_the_same_at_every_d(self, family):
        # The largest spread is that of `kronecker`: few random numbers for many weights.
        assert self.drift(lambda w, seed: projection(family, d=w.numel(), D=2000, seed=seed) @ w) < 1.5


def padded_by_logarithm(size: int) -> int:
    """The padding as public code computes it (B11)."""
    return 2 ** math.ceil(math.log(size) / math.log(2))


class TestB11PaddingByFloatingPoint:
    @staticmethod
    def exponents_at_fault(padded) -> list[int]:
        return [exponent for exponent in range(12, 50) if padded(2**exponent) != 2**exponent]

    def test_a_logarithm_doubles_the_padding(self):
        assert 29 in self.exponents_at_fault(padded_by_logarithm)

    @pytest.mark.parametrize("family", POWERS_OF_TWO)
    def test_ours_is_exact(self, family):
        size_of = POWERS_OF_TWO[family]
        assert self.exponents_at_fault(lambda size: size_of(projection(family, d=size, D=size))) == []
        assert size_of(projection(family, d=2**29 + 1, D=2**29 + 1)) == 2**30
