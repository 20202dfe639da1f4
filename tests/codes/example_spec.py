"""A made-up run specification for the tests of messages."""

from __future__ import annotations

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
