"""A made-up run specification for the tests of messages."""

from __future__ import annotations

import hashlib

import numpy as np

from idbounds.codes import encode_message, step_grid
from idbounds.codes.quantizers import e8
from idbounds.codes.registry import CODE_WEIGHTS
from idbounds.codes.viterbi import trellis
from idbounds.core.values import Menu, ModelSpec, RunSpec, Split, Task, TrainingSpec


def make_spec(
    *, dims: tuple[int, ...] = (3, 10, 200, 1000), seeds: tuple[int, ...] = (0, 1, 2), name: str = "example"
) -> RunSpec:
    def split(n: int) -> Split:
        return Split(n=n, sha256_of_examples="a" * 64, majority_errors=n // 2)

    return RunSpec(
        task=Task(
            name=name,
            source="made up for tests",
            licence="CC0",
            label_names=("no", "yes"),
            train=split(100),
            validation=split(20),
            test=split(40),
            duplicates_removed=0,
        ),
        model=ModelSpec(
            name="tiny",
            source="made up for tests",
            num_weights=5000,
            num_labels=2,
            theta0_sha256="b" * 64,
            tokenizer_sha256="c" * 64,
            head_seed=0,
            max_length=16,
            eval_batch_size=8,
        ),
        parametrization="full",
        projection="fastfood",
        allocation="global",
        menu=Menu(dims=dims, seeds=seeds),
        training=TrainingSpec(learning_rates=(0.1,), full_learning_rates=(0.01,), batch_size=8, steps=10, quantization_steps=5),
        delta=0.05,
        idbounds_version="0.1.0",
    )


SPEC = make_spec()
HEADER = 44


def vector(d: int, *, seed: int = 0) -> np.ndarray:
    return np.rint(1.5 * np.random.default_rng(seed).standard_normal(d)).astype(np.int64)


def example(d: int = 200) -> bytes:
    return encode_message(quantized=vector(d), step_index=21, d=d, seed=2, spec=SPEC)


def forged(stream: bytes, *, spec: RunSpec = SPEC) -> bytes:
    """A file whose checksum is right, as someone who wants to fool the decoder would write it."""
    head = b"IDB" + bytes([spec.message_format]) + bytes.fromhex(spec.sha256)
    return head + hashlib.sha256(head + stream).digest()[:8] + stream


def format_2(**menu: object) -> RunSpec:
    return SPEC.model_copy(update={"message_format": 2, "menu": SPEC.menu.model_copy(update=menu)})


#: The masses of format 2, and one for the code that has none by default.
EVERY_CODE = CODE_WEIGHTS | {"trellis": 3}
SPEC_2 = format_2(code_weights=EVERY_CODE)


def example_2(d: int = 200, *, code: str | None = None, spec: RunSpec = SPEC_2) -> bytes:
    integers, grid = vector(d), step_grid(spec)
    words = {
        "ternary": np.sign,
        "e8": lambda values: e8(values, step_index=64, grid=grid).symbols,
        "trellis": lambda values: trellis(values, step_index=64, max_rms_error=0.0, grid=grid).symbols,
    }
    quantized = words[code](integers) if code in words else integers
    return encode_message(quantized=quantized, step_index=85, d=d, seed=2, spec=spec, code=code)
