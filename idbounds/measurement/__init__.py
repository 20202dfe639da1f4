"""Subspace fine-tuning: parametrizations, the subspace module, training, tasks and the store of trials."""

from __future__ import annotations

from idbounds.measurement.subspace import Subspace

__all__ = ["Subspace"]
