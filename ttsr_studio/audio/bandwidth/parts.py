"""Parts of a channel whose bands end differently: where sound sets in or stops at once above some frequency.

A change of bandwidth is a step of the level between partials that all bands above a frequency take in one moment, and
the bands below do not. Moments between two such steps are heard together, which tells an edge from a fall better than
any one of them does. Levels are in dB per Hz. The thresholds were chosen on recordings spliced from two low-passed
copies and from two other full-band recordings.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.edge import FULL_BAND_HZ, Edge, of_coarse_bands
from ttsr_studio.audio.bandwidth.evidence import BANDS_AN_OCTAVE, LEAST_DB, Moment, valley_fall

SAME_OCTAVES = 0.25
_REACH, _LEAST = 4, 2
"""Moments that are compared to either side of a step, and that a part has at least."""

_STEP_DB, _RANGE_DB = 6.0, 90.0
_LOUD_SHARE = 0.2
_EVIDENCE_DB, _STEEPEST, _GENTLEST = 34.0, 1.25, 2.6
_OPEN_DB, _GOES_ON_DB, _LACKS_DB = 40.0, 25.0, 40.0
_SMOOTH = BANDS_AN_OCTAVE // 4


class Passage:
    """Moments that are heard together: their loud spectrum, its edge, and by how much that falls between partials."""

    def __init__(self, moments: Sequence[Moment], hertz: NDArray[np.float64]) -> None:
        self.moments, self._hertz = list(moments), hertz
        held = np.sort(np.stack([moment.held for moment in moments]), axis=0)[::-1]
        self._loud = np.asarray(held[min(len(held) - 1, max(1, round(_LOUD_SHARE * len(held))))], np.float64)
        self._valleys = np.median(np.stack([moment.valleys for moment in moments]), axis=0)
        self.edge: Edge | None = of_coarse_bands(hertz, self._loud)
        self._evidence_db = 0.0
        if self.edge:
            self._evidence_db = valley_fall(self.moments, hertz, self._top_hz, self.edge.bottom_hz)
        self._by_floor = False
        if self._evidence_db < LEAST_DB and (floor := self._end_of_floor()):
            self.edge, self._evidence_db = floor
            self._by_floor = True

    @property
    def ends_hz(self) -> float | None:
        """Where it ends below what counts as full band, Hz; else None."""
        return self.edge.hz if self.edge and self.edge.hz < FULL_BAND_HZ else None

    @property
    def steep(self) -> bool:
        """Whether it ends as programme does not, however quiet or dark: soon, and deep between partials."""
        return self._evidence_db >= _EVIDENCE_DB and self._width <= _STEEPEST and not self._by_floor

    @property
    def lasts(self) -> bool:
        """Whether it ends alike early and late: a note that decays ends lower and lower."""
        half = len(self.moments) // 2
        if half < _LEAST or self.ends_hz is None:
            return self.ends_hz is not None
        halves = (Passage(self.moments[:half], self._hertz), Passage(self.moments[half:], self._hertz))
        return all(part.edge and abs(np.log2(part.edge.hz / self.ends_hz)) < SAME_OCTAVES for part in halves)

    @property
    def reaches_the_top(self) -> bool:
        """Whether most of its moments hold something up to half the rate: a burst of less is none of the band."""
        first = int(np.searchsorted(self._hertz, 900.0))
        below = [np.median(moment.valleys[first : first + 2 * BANDS_AN_OCTAVE]) for moment in self.moments]
        tops = [np.median(moment.valleys[-BANDS_AN_OCTAVE // 2 :]) for moment in self.moments]
        return bool(np.quantile(np.subtract(tops, below), 0.25, method="lower") > -_OPEN_DB)

    def less_than(self, other: "Passage") -> bool:
        """Whether another part goes on above this one's edge, as this one would by what both hold below it.

        A part that lacks what this one holds, as of a sweep, says nothing.
        """
        if self.edge is None or self.ends_hz is None or self._width > _GENTLEST or self._evidence_db < LEAST_DB:
            return False
        below = (self._hertz > 0.5 * self._top_hz) & (self._hertz < 0.85 * self._top_hz)
        above = (self._hertz > self._top_hz) & (self._hertz < 1.5 * self.edge.bottom_hz)
        if not below.any() or not above.any():
            return False
        for more in (other._valleys - self._valleys, other._loud - self._loud):
            smooth = np.convolve(more, np.full(_SMOOTH, 1 / _SMOOTH), "same")
            least = np.median(more[below])
            if least < -_LACKS_DB or smooth[above].max() - least < _GOES_ON_DB:
                return False
        return True

    @property
    def _top_hz(self) -> float:
        return min(self.edge.hz, self.edge.bottom_hz) if self.edge else 0.0

    @property
    def _width(self) -> float:
        return self.edge.bottom_hz / self._top_hz if self.edge else 1.0

    def _end_of_floor(self) -> tuple[Edge, float] | None:
        """Where all that lies between partials ends at once, above the highest of them: (edge, dB that it falls by)."""
        first, half = int(np.searchsorted(self._hertz, 900.0)), BANDS_AN_OCTAVE // 2
        ends = np.arange(first, len(self._hertz) - half)
        if not len(ends):
            return None
        below = np.median(np.lib.stride_tricks.sliding_window_view(self._valleys, half)[ends - half], axis=1)
        places = np.arange(len(self._hertz))
        beyond = np.sort(np.where(places >= ends[:, None] + 2, self._loud, np.inf), axis=1)
        rank = 0.9 * (len(places) - ends - 3)
        lower, upper = (beyond[np.arange(len(ends)), round_(rank).astype(int)] for round_ in (np.floor, np.ceil))
        falls = below - (lower + (upper - lower) * (rank % 1.0))
        best = int(np.argmax(falls))
        if falls[best] < _EVIDENCE_DB:
            return None
        hz = float(self._hertz[ends[best]])
        return Edge(hz, hz, "what lies between partials ends there"), float(falls[best])


def edges_by_part(
    moments: Sequence[Moment], hertz: NDArray[np.float64], edge_hz: float, top_hz: float
) -> list[float | None]:
    """The edge of every moment, by the part it is in; None where that cannot be told.

    Args:
        edge_hz: of the channel as a whole, which holds for a part that reaches over where a neighbour ends, if that is
            elsewhere.
        top_hz: stands for an open band.
    """
    parts = _joined([Passage(moments[where], hertz) for where in _between_steps(moments, hertz)])
    found: list[float | None] = []
    for number, part in enumerate(parts):
        beside = parts[max(0, number - 1) : number] + parts[number + 1 : number + 2]
        value: float | None = None
        if part.ends_hz is not None:
            less = any(part.less_than(other) for other in beside)
            sure = part.lasts and (less or (part.steep and len(part.moments) >= 2 * _LEAST))
            value = part.ends_hz if sure else None
        elif part.reaches_the_top:
            value = top_hz
        between = len(beside) == 2 and len(part.moments) < 2 * _LEAST
        ends = [other.ends_hz for other in beside if other.less_than(part)]
        if value is None and not between and ends:
            beyond = all(hz is not None and abs(np.log2(hz / edge_hz)) >= SAME_OCTAVES for hz in ends)
            value = edge_hz if beyond else top_hz
        found += [value] * len(part.moments)
    return found


def _between_steps(moments: Sequence[Moment], hertz: NDArray[np.float64]) -> list[slice]:
    """Moments between steps of bandwidth, all of them, in order."""
    count = len(moments)
    if count < 2 * _LEAST:
        return [slice(0, count)] if count else []
    levels = np.array([moment.valleys[hertz > 700.0] for moment in moments], np.float64)
    levels = np.maximum(levels, levels.max() - _RANGE_DB)
    total = np.concatenate((np.zeros((1, levels.shape[1])), np.cumsum(levels, axis=0)))
    places = np.arange(_LEAST, count - _LEAST + 1)
    first, last = np.maximum(places - _REACH, 0), np.minimum(places + _REACH, count)
    after = (total[last] - total[places]) / (last - places)[:, None]
    before = (total[places] - total[first]) / (places - first)[:, None]
    steps, weighed = np.zeros(count + 1), np.zeros(count + 1)
    steps[places] = _uneven(after - before)
    weighed[places] = steps[places] * np.sqrt((places - first) * (last - places) / (last - first))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(weighed, _LEAST), 2 * _LEAST + 1).max(axis=1)
    cuts = np.flatnonzero((steps >= _STEP_DB) & (weighed >= around))
    cuts = cuts[np.diff(cuts, prepend=-_LEAST) >= _LEAST]
    return [slice(int(a), int(b)) for a, b in zip([0, *cuts], [*cuts, count], strict=True)]


def _uneven(change: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much changes [places, bands] differ between the bands below and above some frequency, the most, dB."""
    bands = change.shape[1]
    below = np.arange(BANDS_AN_OCTAVE // 2, bands - _SMOOTH)
    total = np.cumsum(change, axis=1)
    low = total[:, below - 1] / below
    high = (total[:, -1:] - total[:, below - 1]) / (bands - below)
    balance = 2 * np.sqrt(below * (bands - below)) / bands
    return np.asarray(np.abs((high - low) * balance).max(axis=1))


def _joined(parts: Sequence[Passage]) -> list[Passage]:
    """Neighbours that end alike as one."""
    found: list[Passage] = []
    for part in parts:
        last = found[-1] if found else None
        if last and last.edge and part.edge and abs(np.log2(last.edge.hz / part.edge.hz)) < SAME_OCTAVES:
            found[-1] = Passage(last.moments + part.moments, part._hertz)
        else:
            found.append(part)
    return found
