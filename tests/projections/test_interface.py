"""What a caller outside a model meets: numpy, scipy, torch's autograd, the specification as JSON."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator, svds

from idbounds.core.values import ProjectionSpec
from idbounds.projections import from_spec, projection
from idbounds.testing.projection_suite import LAYOUT, gaussian

#: By additions alone, by sums over tiles, by matrix products, by copies.
FAMILIES = pytest.mark.parametrize("family", ["fastfood", "one_hot", "dense", "kronecker", "sparse", "coordinate"])


@FAMILIES
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_in_numpy_out_with_the_bits_of_torch(family, dtype):
    P = projection(family, d=40, layout=LAYOUT, seed=3)
    w, g = gaussian(40).numpy().astype(dtype), gaussian(P.D).numpy().astype(dtype)
    for given, made, same in ((w, P @ w, P @ torch.from_numpy(w)), (g, P.T @ g, P.T @ torch.from_numpy(g))):
        assert isinstance(made, np.ndarray)
        assert isinstance(same, torch.Tensor)
        assert made.dtype == given.dtype
        np.testing.assert_array_equal(made, same.numpy())


@FAMILIES
def test_linear_operator_agrees_with_the_dense_matrix(family):
    P = projection(family, d=40, layout=LAYOUT, seed=3)
    operator, matrix = P.as_linear_operator(), P.to_dense().numpy()
    assert isinstance(operator, LinearOperator)
    assert operator.shape == P.shape == matrix.shape
    vectors, gradients = gaussian(120).numpy().reshape(40, 3), gaussian(3 * P.D).numpy().reshape(P.D, 3)
    reference = aslinearoperator(matrix)
    np.testing.assert_allclose(operator.matvec(vectors[:, 0]), reference.matvec(vectors[:, 0]), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(operator.rmatvec(gradients[:, 0]), reference.rmatvec(gradients[:, 0]), rtol=1e-10, atol=1e-12)
    # Several columns at once, and a column as scipy's solvers hand it over.
    np.testing.assert_allclose(operator @ vectors, matrix @ vectors, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(operator.H @ gradients, matrix.T @ gradients, rtol=1e-10, atol=1e-12)
    assert operator.matvec(vectors[:, :1]).shape == (P.D, 1)


@pytest.mark.parametrize("family", ["fastfood", "kronecker"])
def test_singular_values_through_scipy(family):
    P = projection(family, d=40, layout=LAYOUT, seed=3)
    start = gaussian(40).numpy()
    found = np.sort(svds(P.as_linear_operator(), k=5, return_singular_vectors=False, v0=start))
    expected = np.linalg.svd(P.to_dense().numpy(), compute_uv=False)[:5]
    np.testing.assert_allclose(found, np.sort(expected), rtol=1e-9)


@FAMILIES
def test_a_point_has_the_bits_of_rows_and_move_and_differentiates(family):
    P = projection(family, d=40, layout=LAYOUT, seed=3)
    w = gaussian(40, dtype=torch.float32).requires_grad_()
    point = P.at(w)
    theta = {name: gaussian(size, seed=8, dtype=torch.float32) for name, size in LAYOUT}
    for name, size in LAYOUT:
        assert torch.equal(point.rows(name=name), P.rows(w, name=name))
        middle = slice(size // 3, size - size // 3)
        cut = point.rows(name=name, start=middle.start, stop=middle.stop)
        assert torch.equal(cut, P.rows(w, name=name)[middle])
        assert torch.equal(point.move(theta[name], name=name), P.move(theta[name], w, name=name))
    weights = gaussian(P.D, dtype=torch.float32)
    parts = torch.split(weights, [size for _, size in LAYOUT])
    loss = sum((part * point.move(theta[name], name=name)).sum() for part, (name, _) in zip(parts, LAYOUT, strict=True))
    (gradient,) = torch.autograd.grad(loss, w)
    torch.testing.assert_close(gradient, P.T @ weights, rtol=1e-4, atol=1e-5)


@FAMILIES
def test_a_specification_goes_to_json_and_back(family):
    P = projection(family, d=40, layout=LAYOUT, seed=2**64 - 1, allocation="per_tensor")
    text = P.spec.canonical_json()
    again = from_spec(ProjectionSpec.from_dict(json.loads(text)))
    assert again.spec == P.spec
    assert again.spec.canonical_json() == text
    w = gaussian(40, dtype=torch.float32)
    assert torch.equal(again @ w, P @ w)


def test_a_specification_keeps_options():
    P = projection("sparse", d=40, layout=LAYOUT, nonzeros=5)
    again = from_spec(ProjectionSpec.from_dict(json.loads(json.dumps(P.spec.to_dict()))))
    assert again.spec.options == {"nonzeros": 5}
    assert torch.equal(again @ torch.ones(40), P @ torch.ones(40))


def test_scales_give_every_tensor_its_share_at_any_size():
    layout = (("huge", 2**40), ("bias", 7), ("one", 1))
    for allocation in ("global", "per_tensor"):
        P = projection("dense", d=3, layout=layout, allocation=allocation)
        squares = [size * P.scale(name) ** 2 for name, size in layout]
        assert math.isclose(sum(squares), 1)
        shares = [size / P.D for _, size in layout] if allocation == "global" else [1 / 3] * 3
        assert squares == pytest.approx(shares)
