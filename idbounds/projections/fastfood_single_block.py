"""Fastfood as the papers on intrinsic dimension use it: one block as long as the tensor."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.core.values import ProjectionSpec
from idbounds.projections.exact_norms import exact_norms
from idbounds.projections.fair_signs import fair_signs
from idbounds.projections.full_length import FullLength
from idbounds.projections.hadamard import walsh_hadamard_of_a_vector


class FastfoodSingleBlock(FullLength):
    """One Fastfood block for each tensor, without the χ scaling: Li et al. 2018 and Aghajanyan et al. 2021.

    Formula: V w = (1 / ||G||) H G Π H B [w; 0], H the ±1 Walsh-Hadamard matrix of size L, the smallest power of two that
        holds the tensor and d; B random signs, Π a random permutation, G a Gaussian diagonal. P is V cut to the tensor.
        ``rademacher=1`` puts random signs in place of G.
    Shapes: w (d,) is padded with zeros to L; no coordinate is cut off. Li et al. take one block over the concatenation of
        all tensors: for that, give D instead of a layout.
    Scale: every row has E<v, w>^2 = ||w||^2. For one tensor of L weights and d a power of two, the eigenvalues of P^T P are
        the means of G^2 / mean(G^2) over the classes of Π mod d; with ``rademacher=1`` and D = L, P^T P = I.
    Cost: one transform of the full padded length each way, log2(L) additions a weight, even for one row of a tensor: [w; 0]
        repeats under the first H, which is done at the size of d. Temporaries of a few L numbers; from first use 8 bytes
        of state for each of the L, which would take longer to draw than to use. One thread a tensor.
    Randomness: streams ``fastfood_single_block/signs``, ``…/permutation`` and ``…/gaussians`` (or ``…/coins``), by tensor.
        Additions and multiplications in a fixed order, so P w has the same bits on every device.
    Source: Li, Farkhoor, Liu & Yosinski, ICLR 2018; Aghajanyan, Gupta & Zettlemoyer 2021;
        H G Π H B of Le, Sarlos & Smola 2013.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("fastfood_single_block", d=100, D=1024, seed=0, rademacher=1)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100), atol=1e-5)
        True
    """

    family: ClassVar[str] = "fastfood_single_block"
    default_options: ClassVar[dict[str, int]] = {"rademacher": 0}

    def __init__(self, spec: ProjectionSpec) -> None:
        super().__init__(spec)
        if self.options["rademacher"] not in (0, 1):
            raise ConfigError(f"rademacher must be 0 (Gaussian G) or 1 (signs), got {self.options['rademacher']}")
        #: H of this size takes w; beyond it, [w; 0] repeats under a larger H.
        self._period = 1 << (self.d - 1).bit_length()
        self._drawn: dict[tuple[str, torch.device], _Drawn] = {}

    def _spread(self, w: Tensor, name: str) -> Tensor:
        drawn = self._drawn_for(name, w.device)
        values = w.new_zeros(self._period)
        values[: self.d] = w * drawn.signs / drawn.norm
        return walsh_hadamard_of_a_vector(values).index_select(0, drawn.places).mul_(drawn.factors)

    def _gather(self, values: Tensor, name: str) -> Tensor:
        drawn = self._drawn_for(name, values.device)
        folded = values.new_zeros(self._period).index_add_(0, drawn.places, values.mul_(drawn.factors))
        return walsh_hadamard_of_a_vector(folded)[: self.d] * drawn.signs / drawn.norm

    def _drawn_for(self, name: str, device: torch.device) -> _Drawn:
        if (name, device) not in self._drawn:
            size = self.padded(name)
            places = self._stream("permutation", name).permutation(0, size) % self._period
            factors = self._factors(name, size)
            self._drawn[name, device] = _Drawn(
                signs=torch.from_numpy(fair_signs(self._stream("signs", name), 0, self.d)).to(device),
                places=torch.from_numpy(places.astype(np.int32)).to(device),
                factors=torch.from_numpy(factors).to(device),
                norm=float(exact_norms(factors)),
            )
        return self._drawn[name, device]

    def _factors(self, name: str, size: int) -> NDArray[np.float32]:
        if self.options["rademacher"]:
            return fair_signs(self._stream("coins", name), 0, size).astype(np.float32)
        return self._stream("gaussians", name).normal(0, size)

    def _stream(self, what: str, name: str) -> Stream:
        return Stream(seed=self.spec.seed, purpose=f"fastfood_single_block/{what}", name=name)


class _Drawn(NamedTuple):
    signs: Tensor  # (d,), B
    places: Tensor  # (L,), Π mod the period
    factors: Tensor  # (L,), G
    norm: float  # ||G||
