"""Saying what to change when memory is short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from idbounds.core.errors import TrainingError


def is_short_of_memory(error: BaseException) -> bool:
    """Whether memory is short; torch says so on a CPU by a RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextmanager
def memory_errors(setting: str, size: int) -> Iterator[None]:
    """Say what to change when memory is short."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        raise TrainingError(
            f"memory is short with {size} examples at a time ({str(error).splitlines()[0]}); set a smaller {setting}, "
            "a smaller max_length, or precision = 'bfloat16'"
        ) from error
