"""idbounds: intrinsic dimension, measured; compression bounds, certified.

The names below are imported on first use, so that bounds, codes and tables work without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Config": "idbounds.config",
    "load_config": "idbounds.config",
    "quickstart_config": "idbounds.quickstart",
    "run": "idbounds.pipeline",
    "prepare": "idbounds.pipeline",
    "measure": "idbounds.pipeline",
    "estimate": "idbounds.pipeline",
    "compress": "idbounds.compression",
    "certify": "idbounds.certification",
    "publish": "idbounds.pipeline",
    "verify": "idbounds.verification",
    "Subspace": "idbounds.measurement",
    "projection": "idbounds.projections",
    "Projection": "idbounds.projections",
    "intrinsic_dimension": "idbounds.estimation",
    "BOUNDS": "idbounds.bounds",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'idbounds' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
