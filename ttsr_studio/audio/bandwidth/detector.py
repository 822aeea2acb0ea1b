"""Up to which frequency a file holds real audio: a streaming meter, and what it finds.

A limit needs evidence (`evidence`), not only a spectrum that falls: a piano without upper partials is not band-limited.
Where there is none, the file is left as it is. A file of one bandwidth has one edge; where the band differs between
channels, or changes for a second or more (a splice, a codec of variable rate, a gate), the map follows.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.audio.bandwidth.edge import FULL_BAND_HZ, LOWEST_HZ, Edge, find_edge
from ttsr_studio.audio.bandwidth.evidence import LAST_HZ, LEAST_DB, Bands, Levels, Moment, partials_end, valley_fall
from ttsr_studio.audio.bandwidth.hiss import TOP_SHARE, edge_under_hiss, hiss_at_the_top
from ttsr_studio.audio.bandwidth.map import BandwidthMap, follow
from ttsr_studio.audio.bandwidth.parts import SAME_OCTAVES

_FRAME_SECONDS = 0.085
_MOMENT_SECONDS = 0.25
_SHORTEST_SECONDS = 0.05
_LEVELS = (-200, 20)  # of the histogram, in steps of 1 dB
_SILENCE = 1e-7  # below the last bit of 24
_NYQUIST_SHARE = 0.96  # what the anti-alias filter of a low rate leaves
_ACTIVE_DB = 50.0  # below the loudest frame
_SURE_DB, _HOLE_DB = 40.0, 30.0
_BARELY = 1.05
_NEAR_DB, _FAR_DB, _COMES_AND_GOES_DB, _NOTHING_DB = 45.0, 80.0, 6.0, 125.0
_DC_SHARE, _NEXT_TO_NOTHING = 1e-3, 3e-5
"""RMS of all but a constant level, of that and linear, below which there is nothing to judge."""

_OF_A_WALL_DB = 30.0
"""What valleys fall by at an edge that is only where little is left: a wall has more, a dark sound less."""

_HISS = "what reaches the top is a steady hiss, or clicks, which may hide where the band ends"


class Verdict(StrEnum):
    """What came of listening to a file."""

    LIMITED = "limited"
    FULL = "full band"
    UNSURE = "no sign of a limit"
    SILENT = "silence"


@dataclass(frozen=True)
class Bandwidth:
    """What a file holds.

    Attributes:
        cutoff_hz: from 1 kHz to half the rate: where the band ends, or half the rate where no limit was found.
        reason: how that is known, in a few words.
        evidence_db: by how much what lies between partials falls at the edge; None where nothing falls.
        map: where the band ends, by time and channel.
        silent_channels: numbers of channels, from 0 on, that hold nothing.
        bottom_hz: where what falls at the edge has fallen; None where nothing falls.
        holes: share of cells below the edge that are empty though their neighbours are not.
    """

    verdict: Verdict
    cutoff_hz: float
    reason: str
    evidence_db: float | None
    map: BandwidthMap
    silent_channels: tuple[int, ...] = ()
    bottom_hz: float | None = None
    holes: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is anything to add."""
        return self.verdict is Verdict.LIMITED

    @property
    def nothing_to_add(self) -> bool:
        """Whether a render would leave it alone."""
        return self.verdict in (Verdict.FULL, Verdict.UNSURE)

    @property
    def silent(self) -> bool:
        return self.verdict is Verdict.SILENT

    @property
    def sure(self) -> bool:
        """Whether the evidence leaves no doubt."""
        return self.evidence_db is None or self.evidence_db >= _SURE_DB


class _Channel:
    """Statistics of one channel: a histogram of levels by bin, and a moment for every moment."""

    def __init__(self, bins: int) -> None:
        self.counts = np.zeros((_LEVELS[1] - _LEVELS[0], bins), np.int32)
        self.moments: list[Moment] = []
        self.waiting: Levels = np.zeros((0, bins), np.float32)

    def take(self, levels: Levels) -> None:
        """Add frames, [frames, bins] dB, to the histogram and to those that wait for the end of their moment."""
        bins = np.arange(levels.shape[1])
        for row in np.clip(levels - _LEVELS[0], 0, len(self.counts) - 1).astype(np.int64):
            self.counts[row, bins] += 1
        self.waiting = np.concatenate((self.waiting, levels))

    def close(self, bands: Bands, each: int) -> None:
        """End moments of so many frames, as many as wait."""
        count = len(self.waiting) // each
        if not count:
            return
        frames = self.waiting[: count * each].reshape(count, each, -1)
        peaks = bands.peaks(self.waiting[: count * each]).reshape(count, each, -1)
        self.waiting = self.waiting[count * each :]
        moments = np.arange(count)
        broadest = peaks[..., bands.hertz > 700.0].mean(axis=-1).argmax(axis=1)
        of_broadest, usual = (
            bands.valleys(levels) for levels in (frames[moments, broadest], _past_crackle(frames))
        )  # fmt: skip
        rows = zip(peaks[moments, broadest], of_broadest, peaks.max(axis=1), usual, strict=True)
        self.moments += [Moment(*row) for row in rows]

    def loud(self, active: int) -> NDArray[np.float64]:
        """Level [bins] of each bin's own loudest frames, past a click or two."""
        frames = int(self.counts[:, 0].sum())
        rank = max(min(4, 1 + active // 3), int(np.sqrt(frames) / 3))
        from_top = np.cumsum(self.counts[::-1], axis=0)
        row = len(self.counts) - 1 - np.argmax(from_top >= min(rank, frames), axis=0)
        return np.asarray(row + _LEVELS[0] + 0.5, np.float64)


class BandwidthMeter:
    """Feed blocks with `update`, then take `result`. An hour of a channel takes about 14 MB."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = 2 ** round(np.log2(rate * _FRAME_SECONDS))
        self._window = signal.windows.blackmanharris(self._size, sym=False)
        self._bands = Bands(rate, self._size)
        self._each = max(1, int(_MOMENT_SECONDS * rate / (self._size // 2)))
        self._channels: list[_Channel] = []
        self._rest: np.ndarray | None = None
        self._energies: list[float] = []
        self._heard = 0
        self._peaks, self._sums, self._squares = np.zeros(0), np.zeros(0), np.zeros(0)

    def update(self, block: np.ndarray) -> None:
        """Take float32 ``[channels, samples]``, which continues the block before."""
        if not self._channels:
            self._peaks, self._sums, self._squares = (np.zeros(block.shape[0]) for _ in range(3))
            self._channels = [_Channel(self._size // 2 + 1) for _ in range(block.shape[0] + (block.shape[0] > 1))]
        self._heard += block.shape[1]
        self._peaks = np.maximum(self._peaks, np.abs(block).max(axis=1, initial=0.0))
        self._sums += block.sum(axis=1, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=1)
        data = block if self._rest is None else np.concatenate((self._rest, block), axis=1)
        hop = self._size // 2
        count = max(0, data.shape[1] // hop - 1)
        if count:
            frames = np.lib.stride_tricks.sliding_window_view(data, self._size, axis=1)[:, ::hop]
            self._count(frames, self._window)
            for channel in self._channels:
                channel.close(self._bands, self._each)
        self._rest = data[:, count * hop :].copy()

    def result(self) -> Bandwidth:
        """What was found so far."""
        nyquist = self._rate / 2
        if self._peaks.max(initial=0.0) <= _SILENCE:
            return self._all(Verdict.SILENT, min(nyquist, FULL_BAND_HZ), "silence")
        if self._heard < _SHORTEST_SECONDS * self._rate:
            if self._rate < 2 * FULL_BAND_HZ:
                return self._all(Verdict.LIMITED, _NYQUIST_SHARE * nyquist, f"all that {self._rate} Hz can hold")
            return self._all(Verdict.UNSURE, nyquist, f"too short to be sure: {1000 * self._heard / self._rate:.3g} ms")
        if self._constant():
            return self._all(
                Verdict.UNSURE, nyquist, "nothing to judge: a constant level (DC), and next to nothing else"
            )
        if not self._energies and self._rest is not None:
            window = signal.windows.blackmanharris(self._rest.shape[1], sym=False)
            self._count(self._rest[:, None], window)
        for channel in self._channels:
            channel.close(self._bands, max(1, len(channel.waiting)))
        active = int((np.array(self._energies) > max(self._energies) - _ACTIVE_DB).sum())
        # The last one holds the loudest channel of every bin, where there are several.
        edges = [self._edge(channel, active) for channel in self._channels]
        whole, found = edges[-1][0], self._judged(edges)
        if whole is None or not found.limited:
            return found
        return replace(found, bottom_hz=whole.bottom_hz, holes=self._holes(found.cutoff_hz))

    def fall_hz(self) -> float | None:
        """Where the loud spectrum falls, limit or not; after `result`."""
        edge = self._fall(self._channels[-1].loud(len(self._energies))) if self._energies else None
        return edge.hz if edge else None

    def _judged(self, edges: list[tuple[Edge | None, float | None]]) -> Bandwidth:
        whole, fall = edges[-1]
        nyquist, low_rate = self._rate / 2, self._rate < 2 * FULL_BAND_HZ
        top = _NYQUIST_SHARE * nyquist
        own = edges[:-1] or edges
        found = follow(
            [channel.moments for channel in self._channels[: len(own)]],
            self._bands.hertz,
            [edge.hz if edge else nyquist for edge, _ in own],
            self._each * (self._size // 2) / self._rate,
            top if low_rate else nyquist,
        )
        cutoff = min(whole.hz if whole else nyquist, found.lowest())
        if low_rate and (whole is None or cutoff > top):
            return self._all(Verdict.LIMITED, min(cutoff, top), f"all that {self._rate} Hz can hold", fall, found)
        if cutoff < _BARELY * LOWEST_HZ:
            return self._all(
                Verdict.UNSURE, nyquist, f"too little to go by: next to nothing above {cutoff:.0f} Hz", fall
            )
        if cutoff < min(FULL_BAND_HZ, 0.98 * nyquist):
            of_whole = whole is not None and whole.hz < 1.2 * cutoff
            ending = [n for n, (edge, _) in enumerate(edges[:-1], 1) if edge and edge.hz < 1.2 * cutoff]
            where = f"channel {', '.join(map(str, ending))}" if ending else "a part of the file"
            part = f"in {where} the band ends at {cutoff / 1000:.1f} kHz"
            reason = whole.reason if whole and of_whole else part
            return self._all(Verdict.LIMITED, cutoff, reason, fall, found)
        if hiss_at_the_top(self._channels[-1].moments, self._bands.hertz, nyquist):
            return self._all(
                Verdict.UNSURE,
                nyquist,
                "what reaches the top is a steady hiss, or clicks, which may hide where the band ends",
                fall,
            )
        if self._reaches_the_top():
            return self._all(Verdict.FULL, nyquist, "what sounds reaches the top of the band")
        return self._all(Verdict.UNSURE, nyquist, "it fades without an edge, as sounds do by themselves", fall)

    def _constant(self) -> bool:
        """Whether every channel holds a constant level and next to nothing else."""
        mean = self._sums / self._heard
        rest = np.sqrt(np.maximum(self._squares / self._heard - mean**2, 0.0))
        return bool((rest <= np.minimum(_DC_SHARE * np.abs(mean), _NEXT_TO_NOTHING)).all())

    def _holes(self, edge: float) -> float:
        """See `Bandwidth`; of the channel with most. What is empty most of the time is a gap between partials."""
        near = (self._bands.hertz > 0.5 * edge) & (self._bands.hertz < 0.93 * edge)
        shares = [0.0]
        for channel in self._channels[: max(1, len(self._channels) - 1)]:
            levels = np.array([moment.peaks[near] for moment in channel.moments])
            if not levels.size:
                continue
            beside = np.minimum(np.roll(levels, 3, axis=1), np.roll(levels, -3, axis=1))[:, 3:-3]
            loud = beside > levels.max() - _ACTIVE_DB
            empty = (levels[:, 3:-3] < beside - _HOLE_DB) & loud
            gap = empty.sum(axis=0) > 0.5 * loud.sum(axis=0)
            if loud.any():
                shares.append(float(empty[:, ~gap].sum() / loud.sum()))
        return max(shares)

    def _all(
        self,
        verdict: Verdict,
        cutoff: float,
        reason: str,
        fall: float | None = None,
        found: BandwidthMap | None = None,
    ) -> Bandwidth:
        count = max(1, len(self._channels) - (len(self._channels) > 1))
        constant = BandwidthMap.constant(cutoff, count)
        silent = tuple(np.flatnonzero(self._peaks <= _SILENCE).tolist()) if len(self._peaks) > 1 else ()
        found = constant if found is None or found.flat else found
        return Bandwidth(verdict, float(cutoff), reason, fall, found, silent)

    def _edge(self, channel: _Channel, active: int) -> tuple[Edge | None, float | None]:
        """The edge of a channel and its evidence in dB; no edge where there is no evidence for it."""
        loud = channel.loud(active)
        edge = self._fall(loud)
        fall = None
        if edge is not None:
            fall = valley_fall(channel.moments, self._bands.hertz, min(edge.hz, edge.bottom_hz), edge.bottom_hz)
            if fall >= (LEAST_DB if edge.bottom_hz > edge.hz else _OF_A_WALL_DB):
                return edge, fall
        ended = partials_end(loud, self._rate)
        if ended is not None:
            return Edge(ended[0], ended[0], f"a row of partials ends, {ended[1]:.0f} dB above what follows"), ended[1]
        hiss = edge_under_hiss(channel.moments, self._bands.hertz)
        if hiss is not None:
            near = edge is not None and abs(np.log2(edge.hz / hiss[0])) < SAME_OCTAVES
            place = edge.hz if edge and near else hiss[0]
            return Edge(place, place, f"falls by {hiss[1]:.0f} dB at once, to a steady hiss"), hiss[1]
        return None, fall

    def _fall(self, loud: NDArray[np.float64]) -> Edge | None:
        """Where a spectrum [bins] falls, of what lies up to 24 kHz."""
        kept = min(len(loud) - 1, round(LAST_HZ * self._size / self._rate))
        return find_edge(loud[: kept + 1], round(2 * kept * self._rate / self._size))

    def _reaches_the_top(self) -> bool:
        """Whether something in the highest octave is near to what is below in level, or comes and goes with it."""
        hertz, moments = self._bands.hertz, self._channels[-1].moments
        top = (hertz > TOP_SHARE * min(self._rate / 2, 24000.0)) & (hertz < min(self._rate / 2, FULL_BAND_HZ))
        middle = (hertz > 1000.0) & (hertz < 4000.0)
        levels = np.array([np.median(moment.held[top]) for moment in moments])
        # Of a note most bands hold the floor; what it is measured by is the note.
        below = max(float(np.quantile(moment.held[middle], 0.9)) for moment in moments)
        highest, whole = float(levels.max()), 10.0 * np.log10(self._squares.max() / self._heard + 1e-20)
        if highest < whole - _NOTHING_DB:
            return False
        return highest > below - _NEAR_DB or (highest > below - _FAR_DB and float(np.ptp(levels)) > _COMES_AND_GOES_DB)

    def _count(self, frames: np.ndarray, window: NDArray[np.float64]) -> None:
        """Add frames ``[channels, frames, <= size]``."""
        spectrum = np.fft.rfft(frames * window, self._size)
        power = spectrum.real**2 + spectrum.imag**2
        if len(power) > 1:
            power = np.concatenate((power, power.max(axis=0, keepdims=True)))
        self._energies += (10.0 * np.log10(power[-1].sum(axis=-1) + 1e-20)).tolist()
        density = 10.0 * np.log10(power * (2.0 / (self._rate * np.sum(window**2) + 1e-30)) + 1e-20)
        for channel, levels in zip(self._channels, density.astype(np.float32), strict=True):
            channel.take(levels)


def _past_crackle(frames: Levels) -> Levels:
    """The levels [moments, bins] that most frames [moments, frames, bins] of a moment have at least."""
    return np.asarray(np.sort(frames, axis=1)[:, frames.shape[1] // 4])
