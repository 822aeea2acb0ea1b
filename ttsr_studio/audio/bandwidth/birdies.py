"""Codec birdies: short tones above the end of a band, where a lossy encoder let a few bins through for a moment.

A birdie is a narrow spot of a spectrogram: it stands out of what lies beside it, by frequency, and is there for less
than half a second. A hit, a hi-hat or a consonant is wide; a partial or a whine lasts. Below the end of the band a
short tone may as well be music, so nothing is looked for there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.disk_buffer import Scratch

Audio = NDArray[np.float32]

_SIZE, _HOP = 2048, 512
_STRETCH = 1024
"""Frames that are heard at once, some 11 s."""

_ABOVE_DB, _FAINTEST_DB = 15.0, -90.0
_ASIDE, _AROUND = 6, 24
"""Bins to either side that a spot may reach over, and that it is compared with behind them."""

_LONGEST_SECONDS, _WIDEST_HZ, _MARGIN = 0.5, 350.0, 1.03
_REACH = 4
"""Frames and bins around a spot that belong to it: what a window smears."""


@dataclass(frozen=True)
class Birdie:
    """A short tone of one channel: Hz, RMS of its loudest frame in dBFS, and from when to when, seconds."""

    channel: int
    hz: float
    level_db: float
    start_s: float
    stop_s: float


class Birdies:
    """Those of an input at the engine's rate."""

    def __init__(self, source: Scratch, bandwidth: BandwidthMap, rate: int) -> None:
        self.source, self.bandwidth, self.rate = source, bandwidth, rate
        self._window = np.hanning(_SIZE + 1)[:-1]
        self._hertz = np.arange(_SIZE // 2 + 1) * rate / _SIZE

    def find(self) -> list[Birdie]:
        """All of them, the loudest first."""
        found = [each for first in self._stretches() for each in self._heard(first)[1]]
        return sorted(found, key=lambda each: -each.level_db)

    def without(self) -> Iterator[Audio]:
        """The input [channels, samples], in blocks, as long as it is, without them."""
        frames = self.source.frames
        for first in self._stretches():
            start, stop = first * _HOP, min((first + _STRETCH) * _HOP, frames)
            spots, _ = self._heard(first)
            audio = self.source.read(start, stop)
            if spots.any():
                audio = audio - self._synthesis(self._spectra(first) * spots)[:, : stop - start]
            yield np.asarray(audio, np.float32)

    def _stretches(self) -> range:
        return range(0, -(-self.source.frames // _HOP), _STRETCH)

    def _spectra(self, first: int) -> NDArray[np.complex128]:
        """[channels, bins, frames] of a stretch and of some frames to either side of it; frame k is around k hops."""
        start = (first - self._aside) * _HOP - _SIZE // 2
        count = _STRETCH + 2 * self._aside
        audio = self.source.read(start, start + (count - 1) * _HOP + _SIZE)
        frames = np.lib.stride_tricks.sliding_window_view(audio, _SIZE, axis=1)[:, ::_HOP]
        return np.fft.rfft(frames * self._window, axis=2).transpose(0, 2, 1)

    @property
    def _aside(self) -> int:
        """Frames to either side of a stretch in which a spot that begins or ends there is whole."""
        return int(1.2 * _LONGEST_SECONDS * self.rate / _HOP) + _REACH

    def _heard(self, first: int) -> tuple[NDArray[np.float64], list[Birdie]]:
        """By what share every cell of `_spectra` goes, and those that begin in the stretch."""
        spectra = self._spectra(first)
        shares, found = np.zeros(spectra.shape), []
        seconds = (first - self._aside + np.arange(spectra.shape[2])) * _HOP / self.rate
        edges = np.array([self.bandwidth.at(max(0.0, second)) for second in seconds]).T
        for channel, spectrum in enumerate(spectra):
            level = 20 * np.log10(np.abs(spectrum) * (2 / self._window.sum()) / np.sqrt(2) + 1e-9)
            around = _beside(level)
            open_to = edges[channel if channel < len(edges) else 0]
            spot = (level > around + _ABOVE_DB) & (level > _FAINTEST_DB)
            spot &= self._hertz[:, None] > _MARGIN * open_to
            for where, cells in self._short(spot):
                own = np.where(cells, level[where], -200.0)
                loudest, _ = np.unravel_index(int(own.argmax()), own.shape)
                begins, ends = seconds[where[1].start], seconds[where[1].stop - 1]
                if self._aside <= where[1].start < self._aside + _STRETCH:
                    hz = float(self._hertz[where[0].start + loudest])
                    found.append(Birdie(channel, hz, float(own.max()), max(0.0, float(begins)), float(ends)))
                grown = tuple(slice(max(0, each.start - _REACH), each.stop + _REACH) for each in where)
                excess = np.clip(level[grown] - around[grown], 0.0, None)
                shares[channel][grown] = np.maximum(shares[channel][grown], 1 - 10 ** (-excess / 20))
        return shares, found

    def _short(self, spot: NDArray[np.bool_]) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
        """Spots [bins, frames] that are narrow and short: where, and which cells there."""
        labels, _ = ndimage.label(spot, np.ones((3, 3)))
        for number, where in enumerate(ndimage.find_objects(labels), 1):
            wide, long = (each.stop - each.start for each in where)
            if long * _HOP <= _LONGEST_SECONDS * self.rate and wide * self.rate / _SIZE <= _WIDEST_HZ:
                yield where, labels[where] == number

    def _synthesis(self, spectra: NDArray[np.complex128]) -> NDArray[np.float64]:
        """[channels, samples] of a stretch, from its frames and those beside it."""
        frames = np.fft.irfft(spectra, _SIZE, axis=1) * self._window[:, None]
        count = frames.shape[2]
        total = np.zeros((len(frames), (count - 1) * _HOP + _SIZE))
        for number in range(count):
            total[:, number * _HOP : number * _HOP + _SIZE] += frames[..., number]
        start = self._aside * _HOP + _SIZE // 2
        gain = float((self._window**2).reshape(-1, _HOP).sum(axis=0).mean())
        return total[:, start : start + _STRETCH * _HOP] / gain


def _beside(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean level to either side of every bin, behind the nearest ones, of the two sides the higher one."""
    padded = np.pad(level, ((_ASIDE + _AROUND, _ASIDE + _AROUND), (0, 0)), mode="edge")
    total = np.concatenate((np.zeros((1, level.shape[1])), np.cumsum(padded, axis=0)))
    mean = (total[_AROUND:] - total[:-_AROUND]) / _AROUND
    bins = len(level)
    return np.maximum(mean[:bins], mean[2 * _ASIDE + _AROUND + 1 :][:bins])


def loudest_of_all_channels(found: Sequence[Birdie]) -> list[Birdie]:
    """Those that sound in several channels at once, once: each as in the channel where it is loudest."""
    kept: list[Birdie] = []
    for each in found:
        twins = (other for other in kept if abs(other.hz - each.hz) < _WIDEST_HZ and other.channel != each.channel)
        if not any(other.start_s < each.stop_s and each.start_s < other.stop_s for other in twins):
            kept.append(each)
    return kept
