"""Where a file's band ends, by time and channel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.edge import FULL_BAND_HZ
from ttsr_studio.audio.bandwidth.evidence import Moment
from ttsr_studio.audio.bandwidth.parts import SAME_OCTAVES, edges_by_part

_SHORTEST_RUN = 2
"""Moments; what is shorter is left as it is."""

_ACTIVE_DB = 50.0
_HIGHEST_OF_OPEN = 16500.0
_NEAR = 3
"""Moments to either side of a change in which its place is looked for."""


@dataclass(frozen=True)
class BandwidthMap:
    """Edges that hold from times on.

    Attributes:
        starts_s: [S], seconds, ascending, the first one 0.
        edges_hz: [channels][S].
        heard_to_hz: up to where something was heard, where edges were given that lie lower; else 0.
        replaced: whether what lies above the edges goes, and is not only topped up.
        lifted_hz: [channels][S], up to where a skirt was lifted, or the edge; empty where nothing was.
    """

    starts_s: tuple[float, ...]
    edges_hz: tuple[tuple[float, ...], ...]
    heard_to_hz: float = 0.0
    replaced: bool = False
    lifted_hz: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def constant(cls, cutoff_hz: float, channels: int = 1) -> "BandwidthMap":
        """One edge for all."""
        return cls((0.0,), ((float(cutoff_hz),),) * channels)

    @property
    def flat(self) -> bool:
        """Whether there is one edge for all channels at all times."""
        return len({edge for row in self.edges_hz for edge in row}) == 1

    def lowest(self, start_s: float = 0.0, stop_s: float = math.inf) -> float:
        """The lowest edge that there is between two times, Hz."""
        stops = (*self.starts_s[1:], math.inf)
        within = [k for k, start in enumerate(self.starts_s) if start < stop_s and stops[k] > start_s]
        return min(row[k] for row in self.edges_hz for k in within)

    def highest(self, start_s: float = 0.0, stop_s: float = math.inf) -> float:
        """The highest edge that there is between two times, Hz."""
        stops = (*self.starts_s[1:], math.inf)
        within = [k for k, start in enumerate(self.starts_s) if start < stop_s and stops[k] > start_s]
        return max(row[k] for row in self.edges_hz for k in within)

    @property
    def heard(self) -> "BandwidthMap":
        """The same with edges where what is heard ends, once skirts are lifted."""
        return replace(self, edges_hz=self.lifted_hz) if self.lifted_hz else self

    def rows(self) -> list[tuple[float, tuple[float, ...]]]:
        """(start in seconds, edges of all channels in Hz) of every stretch."""
        return [(start, tuple(row[k] for row in self.edges_hz)) for k, start in enumerate(self.starts_s)]

    def at(self, seconds: float) -> tuple[float, ...]:
        """Edges [channels] at a moment, Hz."""
        place = int(np.searchsorted(self.starts_s, seconds, side="right")) - 1
        return tuple(row[max(0, place)] for row in self.edges_hz)


def follow(
    channels: Sequence[Sequence[Moment]],
    hertz: NDArray[np.float64],
    edges_hz: Sequence[float],
    moment_s: float,
    top_hz: float,
) -> BandwidthMap:
    """The map of a file from its channels' moments and the edges that hold for each as a whole.

    Args:
        hertz: centres of the moments' bands.
        edges_hz: of every channel as a whole, at most `top_hz`, which stands for an open band.
        moment_s: length of a moment, seconds.
    """
    known = [edge for edge in edges_hz if edge < top_hz]
    alike = known and max(np.log2(max(known) / min(known)), 0) < SAME_OCTAVES and len(known) == len(edges_hz)
    common = [max(known)] * len(edges_hz) if alike else [min(edge, top_hz) for edge in edges_hz]
    rows = [_by_moment(moments, hertz, edge, top_hz) for moments, edge in zip(channels, common, strict=True)]
    steps = max((len(row) for row in rows), default=0)
    table = np.array([row + row[-1:] * (steps - len(row)) if row else [top_hz] * steps for row in rows])
    changes = [k for k in range(steps) if k == 0 or (table[:, k] != table[:, k - 1]).any()]
    if not changes:
        return BandwidthMap((0.0,), tuple((edge,) for edge in common))
    table[table > FULL_BAND_HZ] = top_hz
    return BandwidthMap(
        tuple(k * moment_s for k in changes), tuple(tuple(float(row[k]) for k in changes) for row in table)
    )


def _by_moment(moments: Sequence[Moment], hertz: NDArray[np.float64], edge: float, top_hz: float) -> list[float]:
    """Edges of a channel by moment: those that differ for good from the one of the whole, else that one."""
    local = edges_by_part(moments, hertz, edge, top_hz)
    loudest = max((float(moment.held.max()) for moment in moments), default=0.0)
    local = [
        value if moment.held.max() > loudest - _ACTIVE_DB else None
        for value, moment in zip(local, moments, strict=True)
    ]
    runs = [run for run in _runs(_joined(local)) if run[2] >= _SHORTEST_RUN]
    if edge >= top_hz:
        runs = [run for run in runs if run[0] < _HIGHEST_OF_OPEN or run[0] >= top_hz]
    near = {value for value, _, _ in runs if abs(np.log2(value / edge)) < 2 * SAME_OCTAVES}
    values = {value for value, _, _ in runs}
    if not values - near - {top_hz} and not (near and top_hz in values):
        return [edge] * len(moments)
    result: list[float | None] = [None] * len(moments)
    for value, where, _ in runs:
        result[where] = [edge if value in near else value] * len(range(*where.indices(len(moments))))
    return _bounded(_filled(result, edge), moments, hertz)


def _bounded(values: list[float], moments: Sequence[Moment], hertz: NDArray[np.float64]) -> list[float]:
    """Edges with every change moved to where the level between the two edges steps most, within a second of it."""
    out, changes = list(values), [k for k in range(1, len(values)) if values[k] != values[k - 1]]
    for number, change in enumerate(changes):
        first = max(changes[number - 1] + 1 if number else 1, change - _NEAR)
        last = min(changes[number + 1] - 1 if number + 1 < len(changes) else len(values) - 1, change + _NEAR)
        low, high = sorted((values[change - 1], values[change]))
        between = (hertz > 1.1 * low) & (hertz < max(0.95 * high, 1.2 * low))
        if not between.any() or first >= last:
            continue
        levels = np.array([float(np.mean(moment.held[between])) for moment in moments[first - 1 : last + 1]])
        count = len(levels)
        steps = [float(levels[k:].mean() - levels[:k].mean()) * (k * (count - k)) ** 0.5 for k in range(1, count)]
        upwards = values[change] > values[change - 1]
        best = first + int(np.argmax(steps) if upwards else np.argmin(steps))
        start, stop = sorted((best, change))
        out[start:stop] = [values[change] if best < change else values[change - 1]] * (stop - start)
    return out


def _runs(values: Sequence[float | None]) -> list[tuple[float, slice, int]]:
    """Stretches of one value, undecided moments within them or not: (value, where, how many moments said so)."""
    decided = [(value, k) for k, value in enumerate(values) if value is not None]
    found = []
    for value, group in groupby(decided, key=lambda pair: pair[0]):
        places = [k for _, k in group]
        found.append((value, slice(places[0], places[-1] + 1), len(places)))
    return found


def _joined(local: Sequence[float | None]) -> list[float | None]:
    """Edges of moments with those within a quarter of an octave of the one before made equal to it."""
    out: list[float | None] = []
    last: float | None = None
    for value in local:
        if value is not None and last is not None and abs(np.log2(value / last)) < SAME_OCTAVES:
            value = last
        out.append(value)
        last = last if value is None else value
    return out


def _filled(values: Sequence[float | None], default: float) -> list[float]:
    """Undecided moments take the lower one of their decided neighbours, and the default beside none."""
    before, after = _last_known(values), _last_known(values[::-1])[::-1]
    sides = [[side for side in pair if side is not None] for pair in zip(before, after, strict=True)]
    return [min(side, default=default) if value is None else value for value, side in zip(values, sides, strict=True)]


def _last_known(values: Sequence[float | None]) -> list[float | None]:
    """For every place the last value at or before it."""
    out: list[float | None] = []
    for value in values:
        out.append(value if value is not None or not out else out[-1])
    return out
