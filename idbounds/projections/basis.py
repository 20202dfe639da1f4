"""Directions that are given: task vectors, principal directions, gradients."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from idbounds.core.errors import ConfigError, DataError
from idbounds.core.records import write_atomically
from idbounds.core.values import ProjectionSpec
from idbounds.projections.base import Projection

#: A direction whose distance from the span of those before it, divided by its length, is at most so many roundings is
#: taken to lie in it: rounding a sum of other directions leaves about one, the factorisation some tens.
_ROUNDINGS = 100


class Basis(Projection):
    """P w is the sum of w_j times direction j, for d given directions in weight space.

    Formula: P = c V^T, direction j being row j of V (d, D). With ``orthonormalise`` V is replaced by the Q^T of its QR
        decomposition, each column signed like its direction, so that P spans the same space and P^T P = I. c is one
        number (``global``), or one a tensor (``per_tensor``).
    Shapes: from a mapping of names to tensors (d, ...), d <= D. Directions that are zero, not finite, or linearly dependent
        are refused by number.
    Scale: the mean of ||P w||² over directions of w is ||w||², since ||P||_F² = d: that fixes c. With ``per_tensor`` every
        tensor's share of it is the same (and P^T P = I no longer holds). Lengths and angles of the directions are otherwise
        kept, so a long one moves the weights further.
    Cost: d multiplications and additions a weight each way, in the order of memory; state d numbers a weight, in the dtype
        in which they were given. Making it takes a copy in float64.
    Randomness: none; the seed is 0. The specification's option ``content`` is the SHA-256 of the numbers, as an integer, so
        that it names P without holding it: `from_spec` refuses, `Basis.load` checks. P w is summed in the order of
        the directions, so it has the same bits on every device.
    Source: task vectors: Ilharco et al., ICLR 2023.

    Examples:
        >>> import torch
        >>> P = Basis.from_vectors({"a": torch.eye(2, 3), "b": torch.zeros(2, 1)})
        >>> (P @ torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0, 0.0, 0.0]
    """

    family: ClassVar[str] = "basis"
    default_options: ClassVar[dict[str, int]] = {"content": 0}
    independent_tensors = False
    #: A piece and a product, 256 KiB each in float32, stay in the second-level cache while d directions are added.
    tile_rows = 2**16

    def __init__(self, spec: ProjectionSpec, directions: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(spec)
        if directions is None:
            raise ConfigError(
                "'basis' cannot be made from its specification, which holds only the hash of the directions; "
                "use Basis.load(path) for a saved one, or Basis.from_vectors"
            )
        found = _content(directions)
        if found != self.options["content"]:
            raise DataError(
                f"the directions have SHA-256 {found:064x}, the specification names {self.options['content']:064x}; "
                "use the file that was saved with it"
            )
        self._directions = dict(directions)

    @classmethod
    def from_vectors(
        cls,
        vectors: Mapping[str, Tensor],
        *,
        orthonormalise: bool = False,
        allocation: Literal["global", "per_tensor"] = "global",
    ) -> Basis:
        """A basis of d directions.

        Args:
            vectors: for each tensor, its part of all directions: shape (d, *shape of the tensor), d the same for all.
            orthonormalise: whether to replace the directions by orthonormal ones of the same span.
            allocation: ``"global"`` or ``"per_tensor"``; see `Projection`.
        """
        flat = _flattened(vectors)
        dtype = torch.float64 if any(part.dtype == torch.float64 for part in flat.values()) else torch.float32
        sizes = [part.shape[1] for part in flat.values()]
        columns = torch.cat([part.to(torch.float64) for part in flat.values()], dim=1).T
        columns = _checked(columns, precision=torch.finfo(dtype).eps, orthonormalise=orthonormalise)
        parts = dict(zip(flat, torch.split(columns, sizes), strict=True))
        directions = {
            name: (part.T * factor).to(dtype).contiguous()
            for (name, part), factor in zip(parts.items(), _factors(parts, allocation), strict=True)
        }
        spec = ProjectionSpec.checked(
            family=cls.family,
            version=cls.version,
            dim=columns.shape[1],
            seed=0,
            allocation=allocation,
            layout=tuple(zip(flat, sizes, strict=True)),
            options={"content": _content(directions)},
        )
        return cls(spec, directions)

    def save(self, path: Path) -> Path:
        """Write directions and specification as safetensors; the file appears whole or not at all."""
        content = safetensors.torch.save(self._directions, metadata={"spec": self.spec.canonical_json()})
        return write_atomically(path, content)

    @classmethod
    def load(cls, path: Path) -> Basis:
        """Read what `save` wrote; the directions must have the hash that the specification names."""
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                spec = ProjectionSpec.from_dict(json.loads(file.metadata()["spec"]))
                # Copies, so that P does not change with the file.
                return cls(spec, {name: file.get_tensor(name).clone() for name, _ in spec.layout})
        except FileNotFoundError:
            raise DataError(f"no such file: {path}; save a basis there first") from None
        except (OSError, safetensors.SafetensorError, TypeError, KeyError, json.JSONDecodeError) as error:
            raise DataError(f"{path} is not a basis saved by idbounds: {error}") from None

    def scale(self, name: str) -> float:
        """1: the directions are kept with their scale, as they were hashed."""
        self.size(name)
        return 1.0

    def _rows(self, expanded: Tensor, name: str, start: int, stop: int) -> Iterator[Tensor]:
        coefficients = expanded.tolist()
        for begin in range(start, stop, self.tile_rows):
            part = self._part(name, begin, min(stop, begin + self.tile_rows), like=expanded)
            total = expanded.new_zeros(part.shape[1])
            # A product and a sum at a time: a matrix product's bits would depend on how many rows are asked for.
            for coefficient, direction in zip(coefficients, part, strict=True):
                total += direction * coefficient
            yield total

    def _adjoint_rows(self, g: Tensor, name: str, start: int) -> Tensor:
        total = g.new_zeros(self.d)
        for piece in torch.split(g, self.tile_rows):
            total += self._part(name, start, start + piece.numel(), like=g) @ piece
            start += piece.numel()
        return total

    def _part(self, name: str, start: int, stop: int, *, like: Tensor) -> Tensor:
        return self._directions[name][:, start:stop].to(like)


def _flattened(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor's part of the directions as a matrix (d, size)."""
    if not vectors:
        raise ConfigError("a basis needs directions in at least one tensor, got none")
    counts = {name: part.shape[0] if part.ndim else 0 for name, part in vectors.items()}
    first, expected = next(iter(counts.items()))
    for name, count in counts.items():
        if count == 0 or count != expected:
            raise ConfigError(
                f"every tensor needs shape (d, ...) with one d >= 1: {name!r} has {tuple(vectors[name].shape)}, "
                f"{first!r} has {tuple(vectors[first].shape)}"
            )
        if not vectors[name].dtype.is_floating_point:
            raise ConfigError(f"directions must be floating-point numbers; {name!r} has {vectors[name].dtype}")
    return {name: part.detach().reshape(expected, -1) for name, part in vectors.items()}


def _checked(columns: Tensor, *, precision: float, orthonormalise: bool) -> Tensor:
    """The columns, or orthonormal ones of the same span; ConfigError where one is of no use."""
    if columns.shape[1] > columns.shape[0]:
        raise ConfigError(f"d must be at most D: got d = {columns.shape[1]} directions for D = {columns.shape[0]} weights")
    lengths = torch.linalg.vector_norm(columns, dim=0)
    _refuse(~lengths.isfinite(), "not finite")
    _refuse(lengths == 0, "zero")
    orthonormal, triangle = torch.linalg.qr(columns / lengths, mode="reduced" if orthonormalise else "r")
    diagonal = triangle.diagonal()
    _refuse(diagonal.abs() <= _ROUNDINGS * precision, "linearly dependent on those before them")
    return orthonormal * diagonal.sign() if orthonormalise else columns


def _refuse(bad: Tensor, why: str) -> None:
    numbers = bad.nonzero().flatten().tolist()
    if numbers:
        raise ConfigError(f"directions {numbers} (counted from 0) are {why}; leave them out")


def _factors(parts: Mapping[str, Tensor], allocation: str) -> list[float]:
    """c for each tensor, so that the squares of all entries of P sum to d."""
    squares = {name: float(part.square().sum()) for name, part in parts.items()}
    d = next(iter(parts.values())).shape[1]
    if allocation == "global":
        # fsum, so that the order of the tensors does not matter.
        return [math.sqrt(d / math.fsum(squares.values()))] * len(parts)
    for name, square in squares.items():
        if square == 0:
            raise ConfigError(f"no direction moves {name!r}, so it cannot have its share; use allocation 'global'")
    return [math.sqrt(d / (len(parts) * square)) for square in squares.values()]


def _content(directions: Mapping[str, Tensor]) -> int:
    """SHA-256 of names, shapes, dtypes and numbers, as an integer."""
    digest = hashlib.sha256()
    for name, part in directions.items():
        digest.update(json.dumps([name, list(part.shape), str(part.dtype)]).encode())
        numbers = part.cpu().contiguous().numpy()
        digest.update(numbers.astype(numbers.dtype.newbyteorder("<"), copy=False).data)
    return int.from_bytes(digest.digest(), "big")
