"""Executors: what runs trials, behind one protocol. The same bits from each but InBatches (docs/how-to/sweep.md)."""

from __future__ import annotations

from idbounds.measurement.executors.base import Executor, Listener
from idbounds.measurement.executors.in_batches import InBatches
from idbounds.measurement.executors.in_process import InProcess
from idbounds.measurement.executors.processes import Processes
from idbounds.measurement.executors.ray_tasks import RayTasks

__all__ = ["Executor", "InBatches", "InProcess", "Listener", "Processes", "RayTasks"]
