"""Codec holes: cells of time and frequency that an encoder emptied, with sound before, after and beside them.

mp3 and AAC spend no bits on a band in a frame where its level lies under a step of the quantiser; decoded, it is empty
there. A cell is 375 Hz wide and one frame long (an STFT of 1024, a frame every 256 samples, 5.3 ms at 48 kHz). It
counts as emptied where its level lies by `DEPTH_DB` under the lowest of three: the loudest cells of its band within
`REACH` frames before and after it, and the loudest of the `BESIDE` bands on either side in its own frame. So neither
the end of a note, nor a pause, nor the gap between steady partials is a hole, and neither is a band that is empty for
longer, which is the edge of a bandwidth. Emptied cells come in blocks, of two bands by two frames at least, and a codec
that empties any empties many: in a file with fewer than `LEAST_SHARE` of them they are its own.

Levels are in dB re white noise of RMS 1.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.crossover import MapCrossover, transition_hz
from ttsr_studio.audio.disk_buffer import Scratch

SIZE, HOP = 1024, 256
BANDS, BINS = 64, 8
REACH, BESIDE = 20, 6
DEPTH_DB = 30.0
LOWEST_BAND = 5
LEAST_SHARE = 0.004
"""Of 20 clips of music and speech (`extra`) 14 have more as mp3 at 128 kbit/s, 15 at 160, none as Opus at 96 or AAC
at 128, and 2 uncoded.
"""
COARSE = 4
"""Bands in steps of which an edge is lowered: every distinct edge costs a filter."""
ENGINE_SHARE, UNDER_DB, MOST_DB = 0.6, 6.0, 12.0
"""A cell is filled at a level, in dB, of this share of the engine's and the rest of 6 dB under the sound around it.

By log-spectral distance in emptied cells (12 stereo mixes of `extra`, mp3 at 128 and 96 kbit/s, by an earlier
detector): 11.2 and 12.1 dB, for 12.0 and 12.6 at the engine's own level, 11.8 and 13.6 with noise at the level
around, 29 and 38 left empty.
"""
MARGIN = 32 * HOP
"""Samples of context on both sides of a stretch, so that it does not matter how a file is cut into stretches."""

STRETCH = 1 << 19
MOMENT_S = 0.5

_SILENT_DB = -120.0

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Cells:
    """Cells of a stretch.

    Attributes:
        emptied: bool [channels, 64, frames].
        around_db: by how loud the band is before and after a cell, the lower of the two: [channels, 64, frames].
    """

    emptied: Tensor
    around_db: Tensor


def band_hz(rate: int) -> float:
    """Width of a band, Hz."""
    return rate / SIZE * BINS


def spectrum(audio: Audio) -> Tensor:
    """[channels, samples] -> complex [channels, 513, samples / 256 + 1]; frame t is centred on sample 256 t."""
    window = torch.hann_window(SIZE)
    made: Tensor = torch.stft(
        torch.from_numpy(audio), SIZE, HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return made


def levels(made: Tensor) -> Tensor:
    """Spectrum -> level of every cell in dB, [channels, 64, frames]."""
    power = torch.view_as_real(made[:, 1:]).square().sum(-1) / (0.375 * SIZE)
    return 10 * torch.log10(power.unflatten(1, (BANDS, BINS)).mean(2) + 10 ** (_SILENT_DB / 10))


def find_cells(level: Tensor, tops: Tensor) -> Cells:
    """The emptied cells among levels [channels, 64, frames].

    Args:
        tops: number of bands that lie wholly below the edge, [channels, frames]; what is above is no hole.
    """
    frames = level.shape[-1]
    before = F.max_pool1d(F.pad(level, (REACH, 0), value=_SILENT_DB), REACH + 1, 1)[..., :frames]
    after = F.max_pool1d(F.pad(level, (0, REACH), value=_SILENT_DB), REACH + 1, 1)[..., -frames:]
    rows = F.pad(level.transpose(1, 2), (BESIDE, BESIDE), value=_SILENT_DB)
    sides = F.max_pool1d(rows, BESIDE + 1, 1).transpose(1, 2)
    beside = torch.maximum(sides[:, :BANDS], sides[:, BESIDE:])
    around = torch.minimum(before, after)
    band = torch.arange(BANDS)[None, :, None]
    inside = (band >= LOWEST_BAND) & (band < tops[:, None])
    deep = (level < torch.minimum(around, beside) - DEPTH_DB) & inside
    corners = F.avg_pool2d(deep.float()[:, None], 2, 1) == 1
    return Cells(deep & (F.max_pool2d(F.pad(corners.float(), (1, 1, 1, 1)), 2, 1)[:, 0] > 0), around)


@dataclass(frozen=True)
class FoundHoles:
    """Emptied cells of a file, counted.

    Attributes:
        by_band: [64]. possible: cells below the edge in which one might have been, [64].
        edges: where the lowest emptied cell of every moment begins, by channel; the file's own edge where none is.
    """

    by_band: NDArray[np.int64]
    possible: NDArray[np.int64]
    edges: BandwidthMap

    @property
    def cells(self) -> int:
        return int(self.by_band.sum())


class HoleFinder:
    """Finds the emptied cells of a file, stretch by stretch; the same however it is cut."""

    def __init__(self, lr: Scratch, bandwidth: BandwidthMap, rate: int) -> None:
        self.lr, self.bandwidth, self.rate = lr, bandwidth, rate
        self._crossover = MapCrossover(bandwidth, rate)

    def starts(self) -> range:
        """First samples of the stretches."""
        return range(0, self.lr.frames, STRETCH)

    def reach(self, start: int) -> tuple[int, int]:
        """(first, last) sample of a stretch with its margins, a multiple of 256 apart."""
        length = min(STRETCH, self.lr.frames - start)
        return start - MARGIN, start + -(-length // HOP) * HOP + MARGIN

    def cells(self, start: int) -> tuple[Cells, Tensor]:
        """Emptied cells of a stretch with its margins, and how many bands lie below the edge, [channels, frames]."""
        first, last = self.reach(start)
        own = self._crossover.edges(first, last - first, HOP).contiguous()
        edges = own.unique()
        below = torch.tensor([e - transition_hz(e) if e < self.rate / 2 else e for e in edges.tolist()])
        tops = (below[torch.bucketize(own, edges)] / band_hz(self.rate)).floor().expand(self.lr.channels, -1)
        return find_cells(levels(spectrum(self.lr.read(first, last))), tops), tops

    def find(self) -> FoundHoles:
        """Count the emptied cells, and find the lowest of every moment."""
        by_band, possible = np.zeros(BANDS, np.int64), np.zeros(BANDS, np.int64)
        moment = round(MOMENT_S * self.rate)
        count = max(1, -(-self.lr.frames // moment))
        lowest = np.full((self.lr.channels, count), BANDS)
        for start in self.starts():
            cells, tops = self.cells(start)
            inner = slice(MARGIN // HOP, (MARGIN + min(STRETCH, self.lr.frames - start) - 1) // HOP + 1)
            emptied = cells.emptied[..., inner].numpy()
            by_band += emptied.sum(axis=(0, 2))
            band = np.arange(BANDS)[:, None]
            inside = (band >= LOWEST_BAND) & (band < tops[:, None, inner].numpy())
            possible += inside.sum(axis=(0, 2))
            channel, number, frame = np.nonzero(emptied)
            for side in (-SIZE // 2, SIZE // 2):  # to where a frame reaches
                place = np.clip((start + frame * HOP + side) // moment, 0, count - 1)
                np.minimum.at(lowest, (channel, place), number)
        if by_band.sum() < LEAST_SHARE * possible.sum():
            by_band, lowest = np.zeros_like(by_band), np.full_like(lowest, BANDS)
        starts = tuple(MOMENT_S * n for n in range(count))
        own = np.array([(row * self.lr.channels)[: self.lr.channels] for row in map(self.bandwidth.at, starts)]).T
        edges = np.where(lowest < BANDS, np.maximum(lowest // COARSE * COARSE, LOWEST_BAND) * band_hz(self.rate), own)
        rows = tuple(tuple(map(float, row)) for row in edges)
        return FoundHoles(by_band, possible, replace(self.bandwidth, starts_s=starts, edges_hz=rows, heard_to_hz=0.0))


def per_bin(cells: Tensor) -> Tensor:
    """By cell [channels, 64, frames] -> by bin of its spectrum [channels, 513, frames]; 0 at 0 Hz."""
    return F.pad(cells.repeat_interleave(BINS, dim=1), (0, 0, 1, 0))


def fill(generated: Audio, cells: Cells) -> Audio:
    """What of generated audio [channels, samples] goes into emptied cells, the same shape; samples, a multiple of 256.

    The generated spectrum is taken in emptied cells alone, so nothing is added in frames that have none: there the
    result is exactly 0.
    """
    made = spectrum(generated)
    off = (1 - ENGINE_SHARE) * (cells.around_db - UNDER_DB - levels(made))
    gain = cells.emptied * 10 ** (off.clamp(max=MOST_DB) / 20)
    window = torch.hann_window(SIZE)
    back = torch.istft(made * per_bin(gain), SIZE, HOP, window=window, center=True, length=generated.shape[1])
    filled: Audio = back.numpy()
    return filled
