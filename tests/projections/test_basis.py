import hashlib
import subprocess
import sys
import zlib
from typing import ClassVar

import pytest
import safetensors.torch
import torch

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.values import ProjectionSpec
from idbounds.projections import Basis, Projection, from_spec
from idbounds.testing.projection_suite import LAYOUT, Layout, ProjectionSuite, gaussian


def vectors_for(layout: Layout, d: int) -> dict[str, torch.Tensor]:
    return {name: gaussian(d * size, seed=zlib.crc32(name.encode())).view(d, size) for name, size in layout}


class TestBasis(ProjectionSuite):
    family = "basis"
    seeded: ClassVar = False
    in_spec: ClassVar = False
    # The directions are stored.
    reaches: ClassVar = 2**16

    def make(self, *, d: int, layout: Layout = LAYOUT, seed: int = 0, allocation: str = "global", **options: int) -> Projection:
        if options or len(dict(layout)) < len(layout) or d > sum(size for _, size in layout):
            return super().make(d=d, layout=layout, seed=seed, allocation=allocation, **options)  # says what is wrong
        return Basis.from_vectors(vectors_for(layout, d), allocation=allocation)


def test_directions_keep_their_proportions():
    vectors = {"a": gaussian(30).view(3, 2, 5), "b": gaussian(12, seed=1).view(3, 4)}
    matrix = Basis.from_vectors(vectors).to_dense()
    expected = torch.cat([part.reshape(3, -1) for part in vectors.values()], dim=1).T
    torch.testing.assert_close(matrix / matrix[0, 0], expected / expected[0, 0], rtol=1e-12, atol=0)


def test_orthonormal_directions_span_the_same_space_and_point_the_same_way():
    vectors = {"a": gaussian(300).view(3, 100), "b": gaussian(12, seed=1).view(3, 4)}
    given = Basis.from_vectors(vectors).to_dense()
    made = Basis.from_vectors(vectors, orthonormalise=True).to_dense()
    torch.testing.assert_close(made.T @ made, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(made @ (made.T @ given), given, rtol=0, atol=1e-13)
    assert bool(((made.T @ given).diagonal() > 0).all())


def test_per_tensor_shares_are_equal():
    matrix = Basis.from_vectors(vectors_for((("a", 10), ("b", 390)), 4), allocation="per_tensor").to_dense()
    assert [float(part.square().sum()) for part in matrix.split([10, 390])] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saved_and_loaded_in_a_fresh_process_it_has_the_same_bits(tmp_path, dtype):
    # One tensor without a name, as `projection(..., D=...)` makes it.
    vectors = {"": gaussian(5 * 70_000, dtype=dtype).view(5, 70_000), "b": gaussian(10, seed=1).to(dtype).view(5, 2)}
    P = Basis.from_vectors(vectors)
    path = P.save(tmp_path / "here" / "basis.safetensors")
    program = (
        "import sys, hashlib, torch\n"
        "from idbounds.projections import Basis\n"
        "P = Basis.load(sys.argv[1])\n"
        "print(hashlib.sha256((P @ torch.linspace(-1, 1, 5)).numpy().tobytes()).hexdigest(), P.spec.sha256)\n"
    )
    fresh = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    here = hashlib.sha256((P @ torch.linspace(-1, 1, 5)).numpy().tobytes()).hexdigest()
    assert fresh.stdout.split() == [here, P.spec.sha256]
    assert list(path.parent.iterdir()) == [path]


def test_the_specification_names_the_content_and_does_not_make_it():
    vectors = vectors_for((("a", 10),), 2)
    P = Basis.from_vectors(vectors)
    spec = ProjectionSpec.from_dict(P.spec.to_dict())
    assert spec == P.spec
    assert spec.options["content"].bit_length() > 200
    with pytest.raises(ConfigError, match=r"use Basis\.load\(path\)"):
        from_spec(spec)
    vectors["a"][1, 3] += 1e-9
    assert Basis.from_vectors(vectors).spec.options != P.spec.options


def test_an_altered_file_is_refused(tmp_path):
    path = Basis.from_vectors(vectors_for((("a", 10),), 2)).save(tmp_path / "basis")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"the directions have SHA-256 .* the specification names"):
        Basis.load(path)


def test_files_that_are_no_basis_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*; save a basis there first"):
        Basis.load(tmp_path / "missing")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "plain").write_bytes(safetensors.torch.save({"a": torch.ones(2)}))
    for name in ("text", "plain"):
        with pytest.raises(DataError, match="is not a basis saved by idbounds"):
            Basis.load(tmp_path / name)


def changed(row: int, by: object) -> dict[str, torch.Tensor]:
    vectors = vectors_for((("a", 10), ("b", 30)), 4)
    for part in vectors.values():
        part[row] = by(part)
    return vectors


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (changed(2, lambda part: 0 * part[2]), r"directions \[2\] \(counted from 0\) are zero; leave them out"),
        (changed(1, lambda part: part[1] / 0), r"directions \[1\] .* are not finite"),
        (changed(3, lambda part: part[0] - 2 * part[2]), r"directions \[3\] .* are linearly dependent on those before them"),
        (changed(1, lambda part: 3 * part[0]), r"directions \[1\] .* are linearly dependent"),
        ({}, "at least one tensor, got none"),
        ({"a": torch.ones(2, 5), "b": torch.ones(3, 5)}, r"'b' has \(3, 5\), 'a' has \(2, 5\)"),
        ({"a": torch.tensor(1.0)}, r"'a' has \(\)"),
        ({"a": torch.ones(2, 5, dtype=torch.int64)}, "must be floating-point numbers; 'a' has torch.int64"),
        ({"a": gaussian(12).view(4, 3)}, "d = 4 directions for D = 3 weights"),
    ],
)
def test_directions_of_no_use_are_refused(vectors, message):
    with pytest.raises(ConfigError, match=message):
        Basis.from_vectors(vectors)
    if vectors and all(part.dtype == torch.float64 for part in vectors.values()):
        with pytest.raises(ConfigError, match=message):
            Basis.from_vectors({name: part.float() for name, part in vectors.items()}, orthonormalise=True)


def test_a_tensor_that_no_direction_moves_has_no_share():
    vectors = {"a": torch.eye(2, 3), "b": torch.zeros(2, 4)}
    assert not torch.any(Basis.from_vectors(vectors).rows(torch.ones(2), name="b"))
    with pytest.raises(ConfigError, match="no direction moves 'b'"):
        Basis.from_vectors(vectors, allocation="per_tensor")


def test_half_precision_directions_are_kept_in_float32():
    P = Basis.from_vectors({"a": torch.eye(2, 3, dtype=torch.bfloat16)})
    assert P._directions["a"].dtype == torch.float32
