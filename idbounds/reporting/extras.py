"""Loading the packages of the extra `report` only when they are used: importing idbounds stays fast without them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from idbounds.core.errors import ConfigError


def load(module: str) -> Any:
    """Import `module`. Raises ConfigError saying what to install."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ConfigError(f"tables, figures and reports need {package}: pip install 'idbounds[report]'") from None
