"""Evidence that a file's band is limited, as against a sound that has no more to give.

A low-pass takes all there is above its edge: partials, and the noise and decay between them, at every moment. A note
without upper partials leaves what lies between its partials as it is. So what is compared is the *valley*, the level
between partials, below and above a fall, in the frame of every quarter of a second that reaches over most of the band.
Where the valleys do not fall, nothing was cut off there, however far the partials fall.

Bands are 1/24 octave wide, from 250 Hz to half the rate, or to 24 kHz: what converters and DSD leave above that is no
evidence. Levels are in dB per Hz.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float32]

LEAST_DB = 22.0
"""What valleys fall by at a limit: 98 % of low-passed recordings have more, 99 % of tonal synthesis less."""

FIRST_HZ, LAST_HZ = 250.0, 24000.0
BANDS_AN_OCTAVE = 24
_VALLEY_QUANTILE = 0.2
_PARTIALS, _REGULAR = 12, 0.12
_TREND_DB_AN_OCTAVE, _FAINTEST_DB, _STOP_DB = -9.0, 45.0, 30.0


def centres_hz(rate: int) -> NDArray[np.float64]:
    """Centres [bands] of the bands at a rate."""
    count = int(BANDS_AN_OCTAVE * np.log2(min(rate / 2, LAST_HZ) / FIRST_HZ)) + 1
    return np.asarray(FIRST_HZ * 2.0 ** (np.arange(count) / BANDS_AN_OCTAVE), np.float64)


class Bands:
    """Peaks and valleys by band of frames' spectra, for one rate and frame size."""

    def __init__(self, rate: int, size: int) -> None:
        self.hertz = centres_hz(rate)
        width, bins = rate / size, size // 2 + 1
        self._own = np.array(self._edges(width, bins, 0.5, 3))
        self._around = _by_width(self._edges(width, bins, 2.5, 3))

    def _edges(self, width: float, bins: int, reach: float, least: int) -> list[tuple[int, int]]:
        step = 2.0 ** (reach / BANDS_AN_OCTAVE)
        low = np.round(self.hertz / step / width).astype(int)
        high = np.minimum(np.maximum(np.round(self.hertz * step / width).astype(int) + 1, low + least), bins)
        return [(int(min(a, b - least)), int(b)) for a, b in zip(low, high, strict=True)]

    def peaks(self, density: Levels) -> Levels:
        """Loudest bin of every band: [frames, bins] -> [frames, bands]."""
        # The last band's end is left out of the pairs: reduceat goes on to the end there by itself.
        pairs = self._own.ravel()[:-1]
        return np.maximum.reduceat(density[:, : self._own[-1, 1]], pairs, axis=1)[:, ::2]

    def valleys(self, density: Levels) -> Levels:
        """Level between partials around every band: [frames, bins] -> [frames, bands]."""
        padded = np.pad(density, ((0, 0), (0, 1)), constant_values=np.inf)
        found = []
        for bins, counts in self._around:
            ordered = np.sort(padded[:, bins], axis=-1)
            place = _VALLEY_QUANTILE * (counts - 1)
            rank, rows = place.astype(int), np.arange(len(counts))
            low, high = ordered[:, rows, rank], ordered[:, rows, np.minimum(rank + 1, counts - 1)]
            found.append(low + (high - low) * (place - rank))
        return np.concatenate(found, axis=1).astype(np.float32)


def _by_width(edges: list[tuple[int, int]]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Bands of like width together: their bins [bands, widest], -1 past a band's own, and their counts [bands]."""
    groups = []
    for _, group in groupby(edges, key=lambda pair: (pair[1] - pair[0]).bit_length()):
        low, high = np.array(list(group)).T
        counts = high - low
        places = np.arange(counts.max())
        groups.append((np.where(places < counts[:, None], low[:, None] + places, -1), counts))
    return groups


@dataclass(frozen=True)
class Moment:
    """A quarter of a second of a channel: peaks and valleys [bands] of its broadest frame, the highest peaks of all.

    `usual` [bands] are valleys of what most of its frames have at least, past clicks and crackle.
    """

    peaks: Levels
    valleys: Levels
    held: Levels
    usual: Levels


def valley_fall(moments: list[Moment], hertz: NDArray[np.float64], top_hz: float, bottom_hz: float) -> float:
    """By how much the valleys fall between two frequencies, dB: the median of the moments that are loud below."""
    below = (hertz > top_hz / 1.6) & (hertz < 0.98 * top_hz)
    above = (hertz > 1.05 * bottom_hz) & (hertz < max(1.6 * bottom_hz, bottom_hz + 1500.0))
    if above.sum() < 2:
        above = hertz >= hertz[-2]
    if not below.any():
        return 0.0
    loudest = np.array([moment.peaks for moment in moments])[:, below].max(axis=1)
    loud = np.argsort(-loudest, kind="stable")[: (len(moments) + 2) // 3]
    valleys = np.array([moments[k].valleys for k in loud])
    return float(np.median(np.median(valleys[:, below], axis=1) - np.median(valleys[:, above], axis=1)))


def partials_end(density: NDArray[np.float64], rate: int) -> tuple[float, float] | None:
    """Where a long row of partials stops that was not fading: (Hz, dB by which the next one is missing), else None.

    For sounds without anything between their partials. An organ has nine pipes a key, so a row has at least twelve.
    """
    width = rate / 2 / (len(density) - 1)
    inner = density[3:-3]
    around = np.lib.stride_tricks.sliding_window_view(density, 7).max(axis=1)
    peak = np.flatnonzero((inner >= around) & (inner > density.max() - 70.0)) + 3
    peak = peak[np.diff(peak, prepend=-9) > 3]
    peak = np.array([p for p in peak if density[p] > np.median(density[max(0, p - 40) : p + 41]) + 12.0])
    if len(peak) < _PARTIALS:
        return None
    row = peak[-_PARTIALS:]
    gaps = np.diff(row)
    gap = float(np.median(gaps))
    levels = density[row]
    if np.abs(gaps - gap).max() > max(2.0, _REGULAR * gap) or levels[-1] < density.max() - _FAINTEST_DB:
        return None
    octaves = np.log2(row / row[-1])
    slope, last = np.polyfit(octaves, levels, 1)
    after = density[int(row[-1] + 0.5 * gap) : int(row[-1] + 2.5 * gap) + 1]
    if slope < _TREND_DB_AN_OCTAVE or not len(after) or row[-1] + gap >= len(density) - 1:
        return None
    missing = float(last + slope * np.log2(1 + gap / row[-1]) - after.max())
    return (float((row[-1] + 0.5 * gap) * width), missing) if missing >= _STOP_DB else None
