"""The alarm for verifier hacking, and the N where drawing more stops being worth it.

- transfer: a held-out column's gain over the guide's (the mean of its members'), both in standard deviations. Constant
    is healthy; it falls when the search games its verifiers: the alarm is an interval below 0 of the difference between
    the largest N and N = 8, over the same clips.
- knee: the smallest N above 1 for which twice the draws add less than a fifth to the gain so far; measured on the
    oracle `lsd` where it is there, on the mean over held-out columns otherwise. 1 where the gain there is not clear
    of 0; none where every doubling was worth it. (The best of N of a normal distribution bends at 16.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.evaluation.replay.estimate import ORACLE
from ttsr_studio.evaluation.replay.scaling import Curve, Group, estimates, weights
from ttsr_studio.evaluation.replay.score_file import Array
from ttsr_studio.evaluation.reporting.bootstrap import Estimate

WORTH = 0.2
"""Of the gain so far, that twice the draws have to add."""

EARLY = 8
"""N that the transfer at the largest N is compared with."""

LEAST_CLIPS = 12
"""An interval from fewer clips raises no alarm: the bootstrap makes it too narrow.

On scores made up so that the ratio is constant (3 windows a clip, 32 draws, 120 to 200 trials) alarms were raised in
10 % of the comparisons with 8 clips, 5 % with 12 and 6 % with 30, where 2.5 % would be right.
"""


def ratio(held_out: Array, searched: Array) -> Array:
    """Gains over gains; NaN where nothing was gained by the search."""
    return np.where(searched > 0, held_out / np.where(searched > 0, searched, 1.0), np.nan)


@dataclass(frozen=True)
class TransferCheck:
    """Whether a held-out column follows a guide: its transfer at N = 8 and at the largest N, and the difference."""

    group: Group
    guide: str
    column: str
    sizes: tuple[int, int]
    early: Estimate
    late: Estimate
    change: Estimate

    @property
    def alarm(self) -> bool:
        """The ratio falls: the interval of the difference is below 0."""
        return self.change.n >= LEAST_CLIPS and self.change.high < 0

    @property
    def words(self) -> str:
        if self.alarm:
            return "ALARM: falls"
        if self.change.n < LEAST_CLIPS:
            return "too few clips to tell"
        if self.late.high < 0:
            return "loses by it"
        return "holds" if self.late.low > 0 else "no gain clear of 0"


def check_transfer(curve: Curve, group: Group, seed: int) -> list[TransferCheck]:
    """Of every held-out column. Without N above 8 there is nothing to compare: NaN, and no alarm."""
    searched, found = group.by_clip(curve.searched), []
    early = curve.sizes.index(EARLY) if EARLY in curve.sizes else len(curve.sizes) - 1
    for column in curve.held_out:
        parts = [group.by_clip(curve.gains[column]), searched]
        by_size = estimates(parts, ratio, seed)
        change = estimates(parts, lambda h, s: ratio(h, s)[..., -1:] - ratio(h, s)[..., early : early + 1], seed)[0]
        if early == len(curve.sizes) - 1:
            change = Estimate(np.nan, np.nan, np.nan, change.n)
        sizes = (curve.sizes[early], curve.sizes[-1])
        found.append(TransferCheck(group, curve.policy.name, column, sizes, by_size[early], by_size[-1], change))
    return found


@dataclass(frozen=True)
class Knee:
    """Where a curve bends.

    Attributes:
        size: N; None where every doubling was worth it.
        low, high: 95 % interval of it, the largest N standing for None; NaN for fewer than two clips, or for no gain.
        gain: at that N, or at the largest, standard deviations.
    """

    size: int | None
    low: float
    high: float
    gain: Estimate
    largest: int

    @property
    def words(self) -> str:
        if self.size is None:
            return f"{self.largest} or more"
        return "1 (no gain clear of 0)" if self.size == 1 else str(self.size)

    @property
    def span(self) -> str:
        return "–" if np.isnan(self.low) else f"{self.low:g} to {self.high:g}"


def knee_gains(curve: Curve) -> tuple[str, Array]:
    """What the knee is measured on, in words, and its gains, [recordings, sizes]."""
    if ORACLE in curve.held_out:
        return "the oracle lsd", curve.gains[ORACLE]
    if curve.held_out:
        return f"held-out {', '.join(curve.held_out)}", np.mean([curve.gains[c] for c in curve.held_out], axis=0)
    return "the guide itself", curve.searched


def find_knee(curve: Curve, group: Group, seed: int) -> Knee:
    """Where a guide's curve bends, and how sure that is."""
    gains = group.by_clip(knee_gains(curve)[1])
    gains = gains[np.isfinite(gains).all(axis=1)]
    by_size = estimates([gains], lambda mean: mean, seed)
    place = int(bends(gains.mean(axis=0)[None])[0]) if len(gains) else 0
    low = high = np.nan
    if len(gains) > 1 and not by_size[min(place, len(by_size) - 1)].low > 0:
        place = 0
    elif len(gains) > 1:
        every = np.array([*curve.sizes, curve.sizes[-1]])[bends(weights(len(gains), seed) @ gains)]
        low, high = map(float, np.quantile(every, (0.025, 0.975), method="nearest"))
    size = curve.sizes[place] if place < len(curve.sizes) else None
    return Knee(size, low, high, by_size[min(place, len(by_size) - 1)], curve.sizes[-1])


def bends(gains: Array) -> NDArray[np.int64]:
    """Index of the knee of mean gains [rows, sizes]: the number of sizes for none, 0 where nothing is gained there."""
    bent = np.full(gains.shape, True)
    bent[:, :1] = False
    bent[:, 1:-1] = np.diff(gains, axis=1)[:, 1:] < WORTH * gains[:, 1:-1]
    place = bent.argmax(axis=1)
    last = place == gains.shape[1] - 1
    gained = gains[np.arange(len(gains)), place] > 0
    return np.where(gained, np.where(last, gains.shape[1], place), 0)
