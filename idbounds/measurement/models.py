"""Pretrained text classifiers: loading, a classification head that the seed fixes, fingerprints, batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idbounds.core.errors import ConfigError
from idbounds.core.streams import Stream
from idbounds.core.values import ModelSpec
from idbounds.measurement.data import LabelledText

#: Standard deviation of a new head's weights: the initializer of BERT (Devlin et al. 2019, `initializer_range`).
HEAD_STD = 0.02

#: Token counts are padded up to a multiple of this, so that an example's padding depends on itself alone.
LENGTH_BUCKET = 8


class TextClassifier(nn.Module):
    """A pretrained encoder, the mean of its token states, and a linear head.

    Mean pooling is what sentence encoders such as MiniLM are trained with (Reimers & Gurevych 2019); an
    encoder's own pooler is dropped, so every weight that is left takes part in the prediction.
    """

    def __init__(self, encoder: nn.Module, *, hidden_size: int, num_labels: int, head_seed: int) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # type: ignore[assignment]
        self.encoder = encoder
        self.classifier = nn.Linear(hidden_size, num_labels)
        weights = Stream(seed=head_seed, purpose="head", name="classifier.weight").normal(0, self.classifier.weight.numel())
        with torch.no_grad():
            self.classifier.weight.copy_(HEAD_STD * torch.from_numpy(weights).view_as(self.classifier.weight))
            self.classifier.bias.zero_()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits, shape (batch, num_labels)."""
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **extra).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        logits: Tensor = self.classifier(mean)
        return logits


@dataclass(frozen=True)
class Pretrained:
    """θ₀ with its tokenizer and its specification."""

    model: TextClassifier
    tokenizer: Any
    spec: ModelSpec


# torch draws initial weights, which are then overwritten: the caller's random state must not notice.
@torch.random.fork_rng(devices=[])
def load_pretrained(
    source: str,
    *,
    num_labels: int,
    max_length: int,
    head_seed: int = 0,
    eval_batch_size: int = 64,
    revision: str | None = None,
    name: str | None = None,
    citation_key: str | None = None,
    described_as: str | None = None,
) -> Pretrained:
    """Load an encoder in float32 from a local folder or by its Hugging Face name, and put a new head on it.

    Args:
        source: a folder with config.json, weights and tokenizer, or a Hugging Face name.
        num_labels: rows of the new head.
        max_length: tokens; longer texts are cut.
        head_seed: of the new head's weights, which are part of θ₀.
        eval_batch_size: pinned, because logits change in the last bit with the batch.
        revision: of a Hugging Face model.
        name, citation_key, described_as: for the record; by default what `source` says.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise ConfigError("loading a pretrained model needs the extra: pip install 'idbounds[hf]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        encoder = AutoModel.from_pretrained(source, revision=revision, dtype=torch.float32)
    except Exception as error:  # transformers raises many kinds: no such folder, no network, a broken file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model {source!r} cannot be loaded: {reason}; give a folder with config.json and weights, or a Hugging Face name"
        ) from error
    _check_encoder(encoder, source)
    model = TextClassifier(encoder, hidden_size=encoder.config.hidden_size, num_labels=num_labels, head_seed=head_seed).eval()
    # Of a local folder only the name: its hash says which model it is, and a path differs between machines.
    known_as = Path(source).name if Path(source).is_dir() else source
    spec = ModelSpec.checked(
        name=name or known_as,
        source=described_as or (known_as if revision is None else f"{known_as}@{revision}"),
        citation_key=citation_key,
        num_weights=sum(parameter.numel() for parameter in model.parameters()),
        num_labels=num_labels,
        theta0_sha256=fingerprint(model),
        tokenizer_sha256=_tokenizer_fingerprint(tokenizer),
        head_seed=head_seed,
        max_length=max_length,
        eval_batch_size=eval_batch_size,
    )
    return Pretrained(model=model, tokenizer=tokenizer, spec=spec)


def _check_encoder(encoder: nn.Module, source: str) -> None:
    if getattr(encoder.config, "is_encoder_decoder", False) or not hasattr(encoder.config, "hidden_size"):
        raise ConfigError(f"model {source!r} is not an encoder with token states (BERT, RoBERTa, MiniLM and the like)")
    wrong = {str(parameter.dtype) for parameter in encoder.parameters() if parameter.dtype != torch.float32}
    if wrong:
        raise ConfigError(f"model {source!r} has weights of type {', '.join(sorted(wrong))}; quantised weights cannot be moved")


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the names, shapes, types and bytes of all parameters and buffers, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tokenizer_fingerprint(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError("the tokenizer has no serialised form to fingerprint; use a model with a tokenizer.json")
    # Truncation and padding are set by each call and are not part of what a tokenizer is.
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


@dataclass(frozen=True)
class Tokenized:
    """Token ids of one split: `length` counts an example's own tokens, `padded` rounds it up to `LENGTH_BUCKET`."""

    inputs: dict[str, Tensor]
    labels: Tensor
    padded: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: NDArray[np.int64]) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs and labels of these examples, padded to the longest among them."""
        chosen = torch.from_numpy(indices)
        width = int(self.padded[indices].max())
        return {key: value[chosen, :width] for key, value in self.inputs.items()}, self.labels[chosen]

    def evaluation_batches(self, batch_size: int) -> Iterator[NDArray[np.int64]]:
        """Batches of equal padded length, so that no example's input depends on another example."""
        for width in np.unique(self.padded):
            same = np.flatnonzero(self.padded == width)
            for start in range(0, len(same), batch_size):
                yield same[start : start + batch_size]


def tokenize(examples: LabelledText, *, tokenizer: Any, max_length: int) -> Tokenized:
    """Token ids, truncated to max_length (the longer text of a pair first)."""
    columns: Sequence[Sequence[str]] = list(zip(*examples.texts, strict=True))
    encoded = tokenizer(
        *(list(column) for column in columns), truncation=True, max_length=max_length, padding="max_length", return_tensors="pt"
    )
    lengths = encoded["attention_mask"].sum(1).numpy()
    padded = np.minimum(-(-lengths // LENGTH_BUCKET) * LENGTH_BUCKET, max_length)
    return Tokenized(inputs=dict(encoded), labels=torch.from_numpy(examples.labels), padded=padded)
