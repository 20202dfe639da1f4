"""idbounds: intrinsic dimension, measured; compression bounds, certified.

The names below are imported on first use, so that bounds, codes and tables work without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "projection": "idbounds.projections",
    "Projection": "idbounds.projections",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'idbounds' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
