"""One-hot rows with random signs: every weight is moved by one coordinate, and every coordinate by as many weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.projections.slot_table import SlotTable
from idbounds.projections.units import RUN


class OneHot(SlotTable):
    """Each row has one entry; which one is a random permutation, a fresh choice of 16 or more for every d rows.

    Formula: row i of P is ± sqrt(1 / n_j) times the unit vector of coordinate j = π(i), n_j the number of rows with that
        j. A segment of 32 ceil(d / 32) rows takes every coordinate: in the order of one of V random permutations, each with
        signs of its own, started at a random multiple of 32, and each run of 32 rows with one more random sign. V is 16, or
        as many as make 256 runs. Where d is no multiple of 32, the first coordinates are taken twice, and n_j counts that.
    Shapes: some tensor must have 32 ceil(d / 32) weights, so that no coordinate is dead; ConfigError else.
    Scale: ||P w|| = ||w|| exactly (P^T P = I), by the counts n_j of the whole layout.
    Cost: one addition a weight each way; no state but V permutations of d.
    Randomness: streams ``one_hot/permutations`` and ``one_hot/slot signs``, ``one_hot/segments`` and ``one_hot/signs`` (by
        tensor); an entry is a single number, so P has the same bits on every device.
    Source: the count sketch of Charikar, Chen & Farach-Colton 2002; as a subspace for fine-tuning, Uni-LoRA
        (Li et al. 2025), there with independent indices and stored.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("one_hot", d=100, D=10_000, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100))
        True
    """

    family: ClassVar[str] = "one_hot"
    version: ClassVar[int] = 2
    rotates = True
    reorders = False

    def _make_slots(self) -> NDArray[np.int64]:
        return self._stream("permutations").permutations(self.variants, self.groups * RUN)


class SignedPermutation(SlotTable):
    """Runs of 32 weights take 32 neighbouring coordinates, lanes permuted, each with a sign: one-hot at memory speed.

    Formula: row i of P is ± sqrt(1 / n_j) times the unit vector of coordinate j, n_j the number of rows with that j. A
        segment is ceil(d / 32) runs of 32 rows. Run p of segment s takes the coordinates 32 q, …, 32 q + 31 (mod d) with
        q = (a p + b_s) mod ceil(d / 32): a, coprime to the modulus, random for the tensor, b_s random for the segment.
        Within the run they stand in one of V random orders for this q, each with signs of its own; which is random for the
        segment. Each run has one more random sign. V is 16, or as many as make 256 runs.
    Shapes: some tensor must have 32 ceil(d / 32) weights, so that no coordinate is dead; ConfigError else.
    Scale: ||P w|| = ||w|| exactly (P^T P = I), by the counts n_j of the whole layout.
    Cost: one addition a weight each way, from stretches of 32 numbers: no gather, no scatter; no state of size D. One
        64-bit hash serves 1024 weights.
    Randomness: streams ``signed_permutation/lanes`` and ``…/slot signs``, ``…/order``, ``…/segments`` and ``…/signs`` (by
        tensor); an entry is a single number, so P has the same bits on every device.
    Source: ours, after the count sketch (Charikar, Chen & Farach-Colton 2002).

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("signed_permutation", d=100, D=10_000, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100))
        True
    """

    family: ClassVar[str] = "signed_permutation"
    version: ClassVar[int] = 2
    rotates = True
    reorders = True

    def _make_slots(self) -> NDArray[np.int64]:
        lanes = self._stream("lanes").permutations(self.variants * self.groups, RUN)
        stretches = RUN * np.arange(self.groups)[:, None]
        return (stretches + lanes.reshape(self.variants, self.groups, RUN)).reshape(self.variants, -1)
