"""Embeddings whose weight moves look up rows of θ: a batch names a few of them, and the matrix is most of a small model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from idbounds.measurement.sites import Site


def only_in_embeddings(sites: Mapping[str, Sequence[Site]]) -> dict[str, Sequence[Site]]:
    """Of tensors and all their places those that stand in embeddings alone: none is a matrix of a linear layer too."""
    return {name: places for name, places in sites.items() if all(isinstance(at.module, nn.Embedding) for at in places)}


def look_up_moved_rows(places: Iterable[Site]) -> None:
    """Have parametrized embeddings look up rows of θ, where looking up is all that they do.

    Torch gives a parametrized module a class of its own, and its old one back when it is plain again.
    """
    for module, _, _ in places:
        kind: Any = type(module)
        if kind.forward is nn.Embedding.forward and _looks_up_only(module):
            kind.forward = _forward


def _looks_up_only(embedding: Any) -> bool:
    """Whether no norm is cut before, and gradients are dense and not divided by counts."""
    return embedding.max_norm is None and not embedding.sparse and not embedding.scale_grad_by_freq


def _forward(self: Any, input: Tensor) -> Tensor:
    (moved,), theta_0 = self.parametrizations.weight, self.parametrizations.weight.original
    if torch.compiler.is_compiling() or not moved.subspace.looks_up(theta_0, input):
        whole: Tensor = nn.Embedding.forward(self, input)
        return whole
    rows: Tensor = moved.subspace.looked_up(theta_0, moved.name, input, self.padding_idx)
    return rows
