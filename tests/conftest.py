"""Deterministic hypothesis profiles: ci (default), nightly (many examples), smoke (few)."""

import os

# Before torch is imported anywhere: see idbounds/cli.py for the reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import HealthCheck, settings

_COMMON = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.differing_executors],
}
settings.register_profile("ci", max_examples=40, **_COMMON)
settings.register_profile("nightly", max_examples=1000, **_COMMON)
settings.register_profile("smoke", max_examples=3, **_COMMON)
settings.load_profile(os.environ.get("IDBOUNDS_HYPOTHESIS", "ci"))
