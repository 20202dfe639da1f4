"""When to stop a trial that cannot win: a rule for whoever drives the training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from idbounds.core.errors import ConfigError
from idbounds.core.values import Score
from idbounds.estimation.bootstrap import PRIOR_SD

#: Before half of the steps the order of learning rates still changes: a small rate starts slowly.
FIRST_CHECKPOINT = 0.5
#: Standard errors behind. Two equal rates are told apart by mistake once in 740 comparisons.
MARGIN = 3.0


def is_hopeless(own: Score, rivals: Sequence[Score], *, share_of_steps: float, seed_sd: float = PRIOR_SD) -> bool:
    """Whether to stop a trial whose validation score is far behind those of other learning rates at the same d.

    Formula: at half of the steps or later, and if best rival's accuracy - own > 3 sqrt(v + v_best), v = p(1 - p)/n + seed_sd²,
    p = (correct + 1/2) / (n + 1).

    Args:
        own: on the validation split, at this point of the training.
        rivals: validation scores of other rates at the same d and at the same share of the steps (or later, which
            makes the rule harsher). Without any nothing is dropped: each d keeps a trial.
        share_of_steps: done so far, in [0, 1].
        seed_sd: between seeds, as `between_seeds_sd` of an IntrinsicDimension.

    A dropped trial is recorded as dropped, with its score; it is then no candidate for the best rate.
    The rule looks at the validation split only, so what is read on the test split stays unbiased by it.
    """
    if not 0 <= share_of_steps <= 1:
        raise ConfigError(f"share_of_steps must be in [0, 1], got {share_of_steps!r}")
    if not seed_sd >= 0:
        raise ConfigError(f"seed_sd must not be negative, got {seed_sd!r}")
    if not rivals or share_of_steps < FIRST_CHECKPOINT:
        return False
    best = max(rivals, key=lambda score: score.accuracy)
    variance = sum(_variance(score) + seed_sd**2 for score in (own, best))
    return best.accuracy - own.accuracy > MARGIN * math.sqrt(variance)


def _variance(score: Score) -> float:
    p = (score.n - score.errors + 0.5) / (score.n + 1)
    return p * (1 - p) / score.n
