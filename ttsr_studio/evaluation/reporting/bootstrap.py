"""Means with bootstrap confidence intervals, over clips. NaN means that a clip has no value, and is left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` clips and its 95 % interval; all NaN for none, the interval NaN for fewer than two."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean paired difference to a baseline, and the same in per cent of the baseline's mean over the pairs."""

    estimate: Estimate
    percent: float


def bootstrap(values: NDArray[np.float64], seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Mean and percentile bootstrap interval (2.5 to 97.5 %), clips drawn with replacement (Efron, 1979)."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Estimate(float(values[0]) if len(values) else math.nan, math.nan, math.nan, len(values))
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = np.concatenate(
        [
            values[rng.integers(len(values), size=(min(rows, resamples - start), len(values)))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def paired(
    values: NDArray[np.float64], baseline: NDArray[np.float64], seed: int, resamples: int = RESAMPLES
) -> Difference:
    """Difference of values to a baseline's on the same clips, both [clips]; a pair needs both."""
    both = np.isfinite(values) & np.isfinite(baseline)
    estimate = bootstrap((values - baseline)[both], seed, resamples)
    scale = abs(float(baseline[both].mean())) if both.any() else math.nan
    return Difference(estimate, 100 * estimate.mean / scale if scale else math.nan)


def mean_known(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of what is finite; NaN for nothing."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
