"""Gains of what was made by time and frequency: a tilt above where the band ends, and shares that follow a map.

Both lie on a short-time spectrum whose cells overlap by three quarters, so that a gain that changes leaves nothing
below the band: there the made part has nothing that could be moved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ttsr_studio.audio.bandwidth.map import BandwidthMap

SIZE, HOP = 2048, 512
"""Samples of a cell, and from one to the next, at any rate."""

Reader = Callable[[int, int], NDArray[np.float32]]
"""Audio [channels, stop - start] of a stretch; zeros outside of what there is."""


@dataclass(frozen=True)
class ShareMap:
    """Shares by band and time, linear; between centres they are interpolated, beyond the last ones they hold.

    Attributes:
        shares: [bands, columns], 0 to 1.
        hz, seconds: centres of bands and columns, ascending.
    """

    shares: NDArray[np.float64]
    hz: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def at(self, hz: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares [frequencies, times]."""
        rows, columns = _places(hz, self.hz), _places(seconds, self.seconds)
        low, part = np.floor(columns).astype(int), columns % 1
        last = self.shares.shape[1] - 1
        moments = self.shares[:, low] * (1 - part) + self.shares[:, np.minimum(low + 1, last)] * part
        low, part = np.floor(rows).astype(int), (rows % 1)[:, None]
        shares: NDArray[np.float64] = moments[low] * (1 - part) + moments[np.minimum(low + 1, len(self.hz) - 1)] * part
        return shares


def _places(values: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where values lie among centres, as fractions of an index."""
    places: NDArray[np.float64] = np.interp(values, centres, np.arange(len(centres)))
    return places


def tilt_gains(hz: NDArray[np.float64], edge_hz: float, tilt_db: float) -> NDArray[np.float64]:
    """Linear gains of a tilt in dB an octave above an edge, 1 below it."""
    octaves = np.log2(np.maximum(hz, edge_hz) / edge_hz)
    gains: NDArray[np.float64] = 10 ** (tilt_db * octaves / 20)
    return gains


@dataclass(frozen=True)
class MadeGain:
    """Gains of the made part of a file.

    Attributes:
        rate: Hz, of the audio.
        tilt_db: dB an octave above each moment's and channel's edge.
        amount: one share for all, or shares by band and time.
    """

    rate: int
    bandwidth: BandwidthMap
    tilt_db: float
    amount: float | ShareMap

    def block(self, read: Reader, start: int, stop: int) -> NDArray[np.float32]:
        """A stretch of the made part with its gains; `start` is a multiple of `HOP`."""
        if not self.tilt_db and not isinstance(self.amount, ShareMap):
            return np.float32(self.amount) * read(start, stop)
        first = start - SIZE
        audio = torch.from_numpy(read(first, stop + SIZE))
        window = torch.hann_window(SIZE)
        cells = torch.stft(audio, SIZE, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
        seconds = (first + HOP * np.arange(cells.shape[-1])) / self.rate
        gains = torch.from_numpy(self.gains(seconds, len(audio)).astype(np.float32))
        shaped = torch.istft(cells * gains, SIZE, HOP, window=window, center=True, length=audio.shape[-1])
        return shaped[:, SIZE : SIZE + stop - start].numpy()

    def gains(self, seconds: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
        """Linear gains [channels, bins, times]."""
        hertz = np.arange(SIZE // 2 + 1) * self.rate / SIZE
        shares = self.amount.at(hertz, seconds) if isinstance(self.amount, ShareMap) else np.float64(self.amount)
        starts, edges = np.array(self.bandwidth.starts_s), np.array(self.bandwidth.edges_hz)
        steps = np.maximum(np.searchsorted(starts, seconds, side="right") - 1, 0)
        table = {edge: tilt_gains(hertz, edge, self.tilt_db) for edge in np.unique(edges)}
        rows = np.array([[table[edge] for edge in edges[channel % len(edges), steps]] for channel in range(channels)])
        tilted: NDArray[np.float64] = rows.transpose(0, 2, 1) * shares
        return tilted
