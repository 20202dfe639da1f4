"""Pretrained text classifiers with what a specification says of them: loading and fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from idbounds.core.errors import ConfigError
from idbounds.core.values import ModelSpec
from idbounds.measurement.auto_models import (
    from_pretrained,
    load_model_for,
    load_tokenizer,
    require_dtype,
    transformers_library,
)
from idbounds.measurement.batches import Data
from idbounds.measurement.heads import TextClassifier
from idbounds.measurement.tokens import tokenize


@dataclass(frozen=True)
class Pretrained:
    """θ₀ with its specification, and `encode`, which makes the model's input of a split's examples.

    `tokenizer` is None for a model of other things than texts.
    """

    model: nn.Module
    spec: ModelSpec
    encode: Callable[[Any], Data]
    tokenizer: Any = None


def load_pretrained(
    source: str,
    *,
    num_labels: int,
    max_length: int,
    head: Literal["mean_pooling", "architecture"] = "mean_pooling",
    head_seed: int = 0,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    eval_batch_size: int = 64,
    revision: str | None = None,
    name: str | None = None,
    citation_key: str | None = None,
    described_as: str | None = None,
) -> Pretrained:
    """Load a model from a local folder or by its Hugging Face name, with a classification head and its tokenizer.

    Args:
        source: a folder with config.json, weights and tokenizer, or a Hugging Face name.
        num_labels: rows of the head.
        max_length: tokens; longer texts are cut.
        head: ``"mean_pooling"``, a new linear head on the mean of the token states (`TextClassifier`), or ``"architecture"``,
            the head that transformers has for the model: decoders and encoder-decoders need this one.
        head_seed: of the new head's weights, which are part of θ₀.
        dtype: of all weights.
        eval_batch_size: pinned, because logits change in the last bit with the batch.
        revision: of a Hugging Face model.
        name, citation_key, described_as: for the record; by default what `source` says.
    """
    model: nn.Module
    if head == "architecture":
        model = load_model_for(
            "sequence_classification", source, num_labels=num_labels, head_seed=head_seed, dtype=dtype, revision=revision
        )
    else:
        model = _mean_pooling(source, num_labels=num_labels, head_seed=head_seed, dtype=dtype, revision=revision)
    network = model.encoder if isinstance(model, TextClassifier) else model
    _require_places(network, max_length)
    tokenizer = load_tokenizer(source, model=network, revision=revision)
    known_as = local_name(source)
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
        dtype=dtype,
        head=head,
    )
    return Pretrained(model, spec, partial(tokenize, tokenizer=tokenizer, max_length=max_length), tokenizer)


def local_name(source: str) -> str:
    """Of a local folder only the name: its hash says which model it is, and a path differs between machines."""
    return Path(source).name if Path(source).is_dir() else source


# torch draws the head's weights, which are then overwritten: the caller's random state must not notice.
@torch.random.fork_rng(devices=[])
def _mean_pooling(source: str, *, num_labels: int, head_seed: int, dtype: str, revision: str | None) -> TextClassifier:
    encoder = from_pretrained(transformers_library().AutoModel, source, revision=revision, dtype=dtype)
    if getattr(encoder.config, "is_encoder_decoder", False) or not hasattr(encoder.config, "hidden_size"):
        raise ConfigError(
            f"model {source!r} is not an encoder with token states (BERT, RoBERTa, MiniLM and the like); "
            "take the head of its architecture (head = 'architecture')"
        )
    require_dtype(encoder, dtype=dtype, source=source)
    return TextClassifier(encoder, hidden_size=encoder.config.hidden_size, num_labels=num_labels, head_seed=head_seed).eval()


def _require_places(network: nn.Module, max_length: int) -> None:
    """Refuse texts longer than what position embeddings there are; some architectures have none, or no limit."""
    places = getattr(network.config, "max_position_embeddings", None)
    if isinstance(places, int) and max_length > places:
        raise ConfigError(
            f"max_length is {max_length}, the model has places for {places} tokens; set max_length to at most {places}"
        )


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the names, shapes, types and bytes of all parameters and buffers, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}\n".encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tokenizer_fingerprint(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError("the tokenizer has no serialised form to fingerprint; use a model with a tokenizer.json")
    # Truncation and padding are set by each call and are not part of what a tokenizer is.
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
