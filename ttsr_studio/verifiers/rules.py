"""How scores become votes, rule by rule: arrays [..., n] of finite scores, compared along their last axis.

Every rule is a line of `RULES`. `--choice segment` takes deviations whatever the rule is, less what pessimism takes.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

Array = NDArray[np.float64]
Rule = Literal["rank", "zsum", "minrank", "shrunk", "pessimism"]

TYPICAL = "typical"
"""The verifier by which pessimism tells what is untypical."""

SHRINKAGE = 8
"""Candidates at which a shrunk vote goes as much by a score's rank as by its size."""

MAD = 1.4826
"""Of a median absolute deviation, the standard deviation of a normal distribution."""


def ranks(values: Array) -> Array:
    """Average ranks, 0 to 1; 1 for a single candidate."""
    count = values.shape[-1]
    return np.asarray((rankdata(values, axis=-1) - 1) / (count - 1)) if count > 1 else np.ones(values.shape)


def deviations(values: Array) -> Array:
    """z-scores; 0 where all are alike, whose rounding noise would be amplified."""
    apart, spread = values - values.mean(axis=-1, keepdims=True), values.std(axis=-1, keepdims=True)
    flat = spread <= 1e-12 * np.maximum(1.0, np.abs(values).max(axis=-1, keepdims=True))
    return np.asarray(np.where(flat, 0.0, apart / np.where(flat, 1.0, spread)))


def shrunk(values: Array) -> Array:
    """z-scores drawn towards what ranks alone would make of them, the more the fewer candidates there are.

    Of few candidates the standard deviation is hardly known and one outlier makes it, so that a sum of z-scores goes
    by whose outlier is larger. The ranks' own scores are a normal distribution's (Blom 1958), scaled to size 1.
    """
    count = values.shape[-1]
    z, share = deviations(values), count / (count + SHRINKAGE)
    normal = deviations(ndtri((rankdata(values, axis=-1) - 3 / 8) / (count + 1 / 4)))
    return np.asarray(share * z + (1 - share) * np.where(z.any(axis=-1, keepdims=True), normal, 0.0))


def untypical(values: Array) -> Array:
    """How much less typical than the middle candidate each is, in robust standard deviations; 0 if it is more.

    Caution in best-of-N (arXiv 2604.04648): a score's error grows with the distance from what the engine usually draws,
    so the extremes that a search finds are believed less.
    """
    below = np.median(values, axis=-1, keepdims=True) - values
    spread = MAD * np.median(np.abs(below), axis=-1, keepdims=True)
    return np.where(spread > 1e-9, np.maximum(0.0, below) / np.where(spread > 1e-9, spread, 1.0), 0.0)


RULES: dict[str, Callable[[Array], Array]] = {
    "rank": ranks,
    "zsum": deviations,
    "minrank": ranks,
    "shrunk": shrunk,
    "pessimism": deviations,
}
"""Rule -> what makes votes of a verifier's scores."""


def tally(votes: Array, weight: Array, rule: str) -> Array:
    """Votes [V, ..., n] of verifiers with weights [V] -> [..., n]: the lowest of minrank, rank's mean, else the sum."""
    if rule == "minrank":
        return np.asarray(votes.min(axis=0))
    total = np.tensordot(weight, votes, axes=1)
    return np.asarray(total / weight.sum() if rule == "rank" else total)
