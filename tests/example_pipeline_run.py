"""One real run for all tests that need its folder: MiniLM on BBC News, in a minute at most."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from idbounds import pipeline
from idbounds.config import Config
from idbounds.quickstart import quickstart_config

# Kept until the process ends.
_FOLDER = tempfile.TemporaryDirectory(prefix="idbounds-tests-")


@cache
def finished_run() -> pipeline.Result:
    """The run, made on first use."""
    return pipeline.run(tiny(Path(_FOLDER.name) / "out"))


def copy_of_the_run(target: Path) -> Path:
    """A copy of the run's folder, to be damaged."""
    return shutil.copytree(next(iter(finished_run().files.values())).parent, target)


def tiny(output: Path, **data: object) -> Config:
    """The quickstart's configuration, made small."""
    config = quickstart_config(output)
    limits = {"max_train": 60, "max_validation": 20, "max_test": 40}
    sizes = {"dims": (20, 40), "seeds": (0,), "steps": 2, "quantization_steps": 2, "batch_size": 8}
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"max_length": 8}),
            "data": config.data.model_copy(update={**limits, **data}),
            "compression": config.compression.model_copy(update={"candidates": 4}),
            "measurement": config.measurement.model_copy(update=sizes),
        }
    )
