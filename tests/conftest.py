"""Deterministic hypothesis profiles: ci (default), nightly (many examples), smoke (few); the command as tests call it."""

import os
import sys

# Before torch is imported anywhere: see idbounds/cli.py for the reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
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


@pytest.fixture
def idbounds(monkeypatch, capfd, tmp_path):
    """Runs the command in this process, in an empty folder: (exit code, stdout, stderr)."""
    from idbounds import cli  # here, because some tests run where the command's libraries are not

    monkeypatch.setenv("IDBOUNDS_DEBUG", "")
    for name in cli._ENVIRONMENT:  # so that what the command sets is undone
        monkeypatch.setenv(name, cli._ENVIRONMENT[name])
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["idbounds", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capfd.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return call
