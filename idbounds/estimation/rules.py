"""When a subspace counts as having solved the task: threshold rules, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from idbounds.core.errors import ConfigError

RuleName = Literal["paper", "chance_corrected"]

#: The share of full fine-tuning that has to be reached; 0.9 defines d90 (Li et al. 2018, section 3).
SHARE = 0.9


def paper(baseline: float, majority: float) -> float:  # noqa: ARG001 - one signature for every rule
    """0.9 * baseline, as in Li et al. 2018 and Aghajanyan et al. 2020; reached by guessing on skewed tasks."""
    return SHARE * baseline


def chance_corrected(baseline: float, majority: float) -> float:
    """majority + 0.9 * (baseline - majority): nine tenths of what fine-tuning adds to always guessing one class."""
    return majority + SHARE * (baseline - majority)


RULES: dict[RuleName, Callable[[float, float], float]] = {"paper": paper, "chance_corrected": chance_corrected}


def target_accuracy(rule: RuleName, *, baseline: float, majority: float) -> float:
    """The accuracy that `rule` asks for. Raises ConfigError for an unknown rule."""
    if rule not in RULES:
        raise ConfigError(f"unknown rule {rule!r}; known rules: {', '.join(RULES)}")
    return RULES[rule](baseline, majority)
