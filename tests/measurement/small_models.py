"""Small real networks for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from idbounds.measurement.tokens import Tokenized


class Tied(nn.Module):
    """A language model in miniature: the output layer's weight is the embedding's; Dropout and BatchNorm are nested."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(11, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 6))
        self.out = nn.Linear(6, 11)
        self.out.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.body(self.embedding(ids)))


def mixed(*, seed: int = 0) -> nn.Sequential:
    """Tensors of mixed sizes, smooth."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(7, 33), nn.Tanh(), nn.LayerNorm(33), nn.Linear(33, 3))


class Bag(nn.Module):
    """Mean of token embeddings, then a linear head: the smallest real text classifier. Id 0 is padding."""

    def __init__(self, *, vocabulary: int = 20, num_labels: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(vocabulary, 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, num_labels)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return self.head(self.dropout(mean))


def word_problem(n: int = 64, *, seed: int = 0) -> Tokenized:
    """Sequences of 3 to 19 tokens; class 1 uses ids 10 to 18, class 0 ids 1 to 9: separable by one direction."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    lengths = torch.randint(3, 20, (n,), generator=generator)
    ids = torch.randint(1, 10, (n, 24), generator=generator) + 9 * labels.unsqueeze(1)
    mask = (torch.arange(24) < lengths.unsqueeze(1)).long()
    padded = (-(-lengths // 8) * 8).numpy()
    return Tokenized(inputs={"input_ids": ids * mask, "attention_mask": mask}, labels=labels, padded=padded)
