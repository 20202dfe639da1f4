"""What a rounded coefficient costs, as a function that training can follow: the chain's code lengths from present counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from idbounds.codes.chain import NUM_LEVELS


def magnitude_bits(magnitudes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bits that `Chain` takes for a further integer of magnitude 0 ... `NUM_LEVELS` - 1, sign included, after (d,) others.

    Formula: b(m) = -log2 P_m(stop) - sum_{j<m} log2 P_j(larger) + [m > 0], where P_j(stop) = (n_j + 1/2) / (N_j + 1), n_j of
    the magnitudes are j and N_j are j or more. Source: as of `idbounds.codes.chain`.
    """
    stopped = np.bincount(np.minimum(magnitudes, NUM_LEVELS), minlength=NUM_LEVELS + 1)
    asked = np.cumsum(stopped[::-1])[::-1]
    stop = ((stopped + 0.5) / (asked + 1.0))[:NUM_LEVELS]
    before = np.concatenate(([0.0], np.cumsum(-np.log2(1.0 - stop))[:-1]))
    return before - np.log2(stop) + (np.arange(NUM_LEVELS) > 0)


def adaptive_bits(magnitudes: NDArray[np.int64]) -> float:
    """Bits of (d,) integers in the code `adaptive`: those of `magnitude_bits` and what learning the counts costs.

    Formula: sum over j of -log2 B(n_j + 1/2, N_j - n_j + 1/2) / B(1/2, 1/2), and a bit for each sign. The order of the
    integers does not matter. Excesses over the chain's last level in Elias gamma.
    """
    stopped = np.bincount(np.minimum(magnitudes, NUM_LEVELS), minlength=NUM_LEVELS + 1)
    asked = np.cumsum(stopped[::-1])[::-1]
    counts = zip(stopped[:NUM_LEVELS].tolist(), asked[1:].tolist(), strict=True)
    excess = magnitudes[magnitudes >= NUM_LEVELS] - NUM_LEVELS + 1
    gamma = 2 * np.floor(np.log2(excess)) + 1
    return float(sum(_krichevsky_trofimov(*pair) for pair in counts) + np.count_nonzero(magnitudes) + gamma.sum())


def _krichevsky_trofimov(stop: int, larger: int) -> float:
    """-log2 of the probability of so many answers of each kind: Beta(n + 1/2, m + 1/2) / pi."""
    nats = math.log(math.pi) + math.lgamma(stop + larger + 1) - math.lgamma(stop + 0.5) - math.lgamma(larger + 0.5)
    return nats / math.log(2)
