"""One-hot rows with random signs: every weight is moved by one coordinate, and every coordinate by as many weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from idbounds.projections.signs import RUN
from idbounds.projections.table import VARIANTS, SlotTable


class OneHot(SlotTable):
    """Each row has one entry; which one is a random permutation, a fresh choice of 16 for every d rows.

    Formula: row i of P is ± sqrt(1 / n_j) times the unit vector of coordinate j = π(i), n_j the number of rows with that
        j, the sign a fair coin for each row. A segment of 32 ceil(d / 32) rows takes every coordinate: in the order of
        one of 16 random permutations, started at a random multiple of 32. Where d is no multiple of 32, the first
        coordinates are taken twice, and n_j counts that.
    Shapes: some tensor must have 32 ceil(d / 32) weights, so that no coordinate is dead; ConfigError else.
    Scale: ||P w|| = ||w|| exactly (P^T P = I), by the counts n_j of the whole layout.
    Cost: one addition a weight each way; no state but 16 permutations of d.
    Randomness: streams ``one_hot/permutations`` (by variant), ``one_hot/segments`` and ``one_hot/signs`` (by tensor);
        an entry is a single number, so P has the same bits on every device.
    Source: the count sketch of Charikar, Chen & Farach-Colton 2002; as a subspace for fine-tuning, Uni-LoRA
        (Li et al. 2025), there with independent indices and stored.

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("one_hot", d=100, D=10_000, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100))
        True
    """

    family: ClassVar[str] = "one_hot"
    rotates = True
    reorders = False
    variant_per_run = False

    def _make_slots(self) -> NDArray[np.int64]:
        slots = self.groups * RUN
        permutations = [self._stream("permutations", str(variant)).permutation(0, slots) for variant in range(VARIANTS)]
        return np.stack(permutations) % self.d


class SignedPermutation(SlotTable):
    """Runs of 32 weights take 32 neighbouring coordinates, lanes permuted, each with a sign: one-hot at memory speed.

    Formula: row i of P is ± sqrt(1 / n_j) times the unit vector of coordinate j, n_j the number of rows with that j, the
        sign a fair coin for each row. A segment is ceil(d / 32) runs of 32 rows. Run p of segment s takes the
        coordinates 32 q, …, 32 q + 31 (mod d) with q = (a p + b_s) mod ceil(d / 32): a, coprime to the modulus, random
        for the tensor, b_s random for the segment. Within the run they stand in the order of one of 16 random
        permutations of 32, chosen afresh for each run.
    Shapes: some tensor must have 32 ceil(d / 32) weights, so that no coordinate is dead; ConfigError else.
    Scale: ||P w|| = ||w|| exactly (P^T P = I), by the counts n_j of the whole layout.
    Cost: one addition a weight each way, from stretches of 32 numbers: no gather, no scatter; no state of size D. One
        64-bit hash serves 32 weights.
    Randomness: streams ``signed_permutation/lanes`` (by variant), ``…/order``, ``…/segments`` and ``…/signs`` (by
        tensor); an entry is a single number, so P has the same bits on every device.
    Source: ours, after the count sketch (Charikar, Chen & Farach-Colton 2002).

    Examples:
        >>> import torch, idbounds
        >>> P = idbounds.projection("signed_permutation", d=100, D=10_000, seed=0)
        >>> torch.allclose(P.T @ (P @ torch.ones(100)), torch.ones(100))
        True
    """

    family: ClassVar[str] = "signed_permutation"
    rotates = True
    reorders = True
    variant_per_run = True

    def _make_slots(self) -> NDArray[np.int64]:
        lanes = [self._stream("lanes", str(variant)).permutation(0, RUN) for variant in range(VARIANTS)]
        stretches = RUN * np.arange(self.groups)[:, None]
        return np.stack([(stretches + permuted).reshape(-1) for permuted in lanes]) % self.d
