"""Names of the files in a run's folder."""

from __future__ import annotations

SPEC_FILE, CONFIG_FILE, TRIALS_FILE = "spec.json", "config.json", "trials.sqlite"
MESSAGE_FILE, CERTIFICATE_FILE, UNCOMPRESSED_FILE = "message.idb", "certificate.json", "uncompressed.json"
FRONTIER_FILE = "frontier.json"
STOCHASTIC_FILE, POSTERIOR_FILE = "stochastic.json", "posterior.safetensors"
PREFIX_FILE = "prefix.safetensors"


def d90_file(rule: str) -> str:
    """Where a run keeps d90 under a rule."""
    return f"d90.{rule}.json"
