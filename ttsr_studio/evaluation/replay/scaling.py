"""Does what a search gains by its verifiers last, as it draws more? The paper's Figure 3, by replay.

For each guide (a verifier, or a sum a+b of z-scores) and N = 1, 2, 4 ...: the best of N draws by the guide, window by
window, and its score in every column: expected over which N are drawn (see `selection`), mean over the windows of a
clip, then over clips.

- relative: change of the mean score against N = 1, per cent of its size; positive is better. NaN where the mean score
    at N = 1 is not clear of 0.
- gain: change against N = 1 in standard deviations over a window's draws.
- members, held out: columns of the guide's verifiers, and all others; the oracle `lsd` always is held out.

Intervals are percentile bootstraps over clips (2.5 to 97.5 %), numerators and denominators drawn together. Where
cutoffs are pooled, a clip is the mean over its cutoffs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ttsr_studio.evaluation.replay.estimate import gained
from ttsr_studio.evaluation.replay.policy import Policy
from ttsr_studio.evaluation.replay.score_file import Array, Draws, ScoreFile
from ttsr_studio.evaluation.replay.selection import choices
from ttsr_studio.evaluation.reporting.bootstrap import RESAMPLES, Estimate, mean_known
from ttsr_studio.evaluation.reporting.tables import ALL

ORDERS = 200
"""Subsets of the draws that every N is tried on."""


@dataclass(frozen=True)
class Curve:
    """A policy as it draws more.

    Attributes:
        sizes: N.
        values: expected score by column, [recordings, sizes].
        gains: the same above N = 1 in standard deviations of a window's draws.
    """

    policy: Policy
    sizes: tuple[int, ...]
    values: dict[str, Array]
    gains: dict[str, Array]

    @property
    def members(self) -> list[str]:
        """Columns of the verifiers that choose."""
        return [c for c in self.gains if any(name in (c, c.split("/")[0]) for name in self.policy.verifiers)]

    @property
    def held_out(self) -> list[str]:
        return [column for column in self.gains if column not in self.members]

    @property
    def searched(self) -> Array:
        """Mean gain of the members, a verifier of several scales counting once, [recordings, sizes]."""
        every = [[c for c in self.members if c.split("/")[0] == name.split("/")[0]] for name in self.policy.verifiers]
        means = [np.mean([self.gains[column] for column in columns], axis=0) for columns in every]
        return np.asarray(np.mean(means, axis=0))


def sizes_up_to(most: int) -> tuple[int, ...]:
    """1, 2, 4 ... up to the most."""
    return tuple(2**power for power in range(most.bit_length()))


def trace(policy: Policy, file: ScoreFile, seed: int, orders: int = ORDERS) -> Curve:
    """Replay a policy with N = 1, 2, 4 ... draws up to what every window has."""
    sizes = sizes_up_to(min(recording.count for recording in file.recordings))
    columns = file.segments if policy.choice == "segment" and file.segments else file.columns
    shape = (len(file.recordings), len(sizes))
    values, gains = ({column: np.full(shape, np.nan) for column in columns} for _ in range(2))
    for i, recording in enumerate(file.recordings):
        levels = {column: np.array([level(window, column) for window in recording.windows]).T for column in columns}
        for j, size in enumerate(sizes):
            made = choices(replace(policy, n=size), recording, file.plan, orders, seed)
            for column, (means, spreads) in levels.items():
                pairs = zip(recording.windows, made, strict=True)
                above = np.array([gained(window, choice, column) for window, choice in pairs])
                values[column][i, j] = mean_known(means + above)
                gains[column][i, j] = mean_known(above / spreads)
    return Curve(policy, sizes, values, gains)


def level(window: Draws, column: str) -> tuple[float, float]:
    """Mean and standard deviation of a column over a window's draws; NaN for a deviation of nothing."""
    values = window.scores[column]
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan, np.nan
    mean, spread = float(known.mean()), float(known.std())
    return mean, spread if spread > 1e-12 * max(1.0, abs(mean)) else np.nan


@dataclass(frozen=True)
class Group:
    """Clips whose figures are averaged: recordings by number, [clips][cutoffs]. The cutoff is None for all of them."""

    kind: str
    cutoff_hz: float | None
    clips: tuple[tuple[int, ...], ...]

    def by_clip(self, values: Array) -> Array:
        """[recordings, ...] -> means over a clip's cutoffs, [clips, ...]."""
        return np.stack([values[list(numbers)].mean(axis=0) for numbers in self.clips])


def clip_groups(file: ScoreFile) -> list[Group]:
    """By kind and cutoff; with all cutoffs and all kinds together where there are several."""
    every = file.recordings
    kinds, cutoffs = list(dict.fromkeys(r.kind for r in every)), sorted({r.cutoff_hz for r in every})
    found = []
    for kind in [*kinds, *([ALL] if len(kinds) > 1 else [])]:
        for cutoff in [*cutoffs, *([None] if len(cutoffs) > 1 else [])]:
            mine: dict[tuple[str, str], list[int]] = {}
            for number, one in enumerate(every):
                if kind in (ALL, one.kind) and cutoff in (None, one.cutoff_hz):
                    mine.setdefault((one.kind, one.clip), []).append(number)
            if mine:
                found.append(Group(kind, cutoff, tuple(map(tuple, mine.values()))))
    return found


def kinds_alone(parts: Sequence[Group]) -> list[Group]:
    """By kind alone: the last group of a kind has all its cutoffs."""
    return list({part.kind: part for part in parts}.values())


@lru_cache(maxsize=16)
def weights(clips: int, seed: int) -> Array:
    """How often every clip is drawn in every resample, over their number, [resamples, clips]."""
    drawn = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES)
    return np.asarray(drawn / clips)


def estimates(parts: Sequence[Array], figure: Callable[..., Array], seed: int) -> list[Estimate]:
    """A figure of means over clips by N, with intervals. A clip counts if all parts, [clips, sizes], know it."""
    known = np.logical_and.reduce([np.isfinite(part).all(axis=1) for part in parts])
    parts = [part[known] for part in parts]
    count = len(parts[0])
    if not count:
        return [Estimate(np.nan, np.nan, np.nan, 0)] * parts[0].shape[1]
    means = np.atleast_1d(figure(*(part.mean(axis=0) for part in parts)))
    bounds = np.full((2, *means.shape), np.nan)
    if count > 1:
        bounds = np.quantile(figure(*(weights(count, seed) @ part for part in parts)), (0.025, 0.975), axis=0)
    return [
        Estimate(float(mean), float(low), float(high), count) for mean, low, high in zip(means, *bounds, strict=True)
    ]


def relative_change(values: Array, seed: int) -> list[Estimate]:
    """Change against N = 1, per cent, by N; values [clips, sizes]."""
    first = estimates([values[:, :1]], lambda mean: mean, seed)[0]
    if not first.low > 0 and not first.high < 0 and first.n > 1:
        return [Estimate(np.nan, np.nan, np.nan, first.n)] * values.shape[1]

    def change(mean: Array) -> Array:
        return 100 * (mean - mean[..., :1]) / np.abs(mean[..., :1])

    return estimates([values], change, seed)
