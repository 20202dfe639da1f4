"""What the laws of projections are tried on, and those of them that are about bits."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Protocol

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from idbounds.projections import Projection

#: Tensors of mixed sizes: a scalar, one below a block, primes, one of several blocks.
LAYOUT = (("bias", 7), ("scale", 1), ("matrix", 1031), ("embedding", 4096))

Layout = tuple[tuple[str, int], ...]

layouts = st.lists(st.integers(1, 600), min_size=1, max_size=4).map(
    lambda sizes: tuple((f"t{position}", size) for position, size in enumerate(sizes))
)
seeds = st.integers(0, 2**64 - 1)
allocations = st.sampled_from(["global", "per_tensor"])


def gaussian(size: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A fixed vector that is not special in any way."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(size)).to(dtype)


class _Suite(Protocol):
    follows_order: bool
    in_spec: bool

    def make(self, *, d: int, layout: Layout = LAYOUT, seed: int = 0, allocation: str = "global") -> Projection: ...


class BitLaws:
    """P has the same bits for any chunk, thread count, order of tensors and process; see `ProjectionSuite`."""

    @given(seed=seeds, start=st.integers(0, 4095), length=st.integers(0, 4096))
    def test_same_bits_for_any_slice(self: _Suite, seed: int, start: int, length: int) -> None:
        P = self.make(d=50, seed=seed)
        w = gaussian(P.d, dtype=torch.float32)
        stop = min(start + length, 4096)
        assert torch.equal(P.rows(w, name="embedding", start=start, stop=stop), P.rows(w, name="embedding")[start:stop])

    def test_same_bits_for_any_order_of_tensors(self: _Suite) -> None:
        if self.follows_order:
            pytest.skip("rows follow the order of the layout")
        w = gaussian(50, dtype=torch.float32)
        forwards, backwards = self.make(d=50), self.make(d=50, layout=LAYOUT[::-1])
        for name, _ in LAYOUT:
            assert torch.equal(forwards.rows(w, name=name), backwards.rows(w, name=name))

    def test_same_bits_for_any_number_of_threads(self: _Suite) -> None:
        P = self.make(d=50, layout=(("large", 300_000),))
        w = gaussian(P.d, dtype=torch.float32)
        threads = torch.get_num_threads()
        try:
            images = []
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                images.append(P @ w)
        finally:
            torch.set_num_threads(threads)
        assert torch.equal(images[0], images[1])
        assert torch.equal(images[0], images[2])

    def test_same_bits_in_a_fresh_process_from_the_spec(self: _Suite) -> None:
        if not self.in_spec:
            pytest.skip("the specification alone does not hold P")
        P = self.make(d=50, seed=5)
        program = (
            "import sys, hashlib, torch\n"
            "from idbounds.core.values import ProjectionSpec\n"
            "from idbounds.projections import from_spec\n"
            "import json\n"
            "torch.set_num_threads(1)\n"
            "P = from_spec(ProjectionSpec.from_dict(json.loads(sys.stdin.read())))\n"
            "print(hashlib.sha256((P @ torch.linspace(-1, 1, P.d)).numpy().tobytes()).hexdigest())\n"
        )
        fresh = subprocess.run(
            [sys.executable, "-c", program], input=P.spec.canonical_json(), capture_output=True, text=True, check=True
        )
        here = hashlib.sha256((P @ torch.linspace(-1, 1, P.d)).numpy().tobytes()).hexdigest()
        assert fresh.stdout.strip() == here
