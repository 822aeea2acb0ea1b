"""Steady tones that are not the programme's: the line of a cathode ray tube, a pilot, a switching supply.

A tone is a narrow peak that stays at one frequency and one level for most of a second or more, and stands out of what
lies beside it. `ToneMeter` finds tones as audio streams by; `without` takes them out of it with linear phase.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from ttsr_studio.audio.bandwidth.map import BandwidthMap

Audio = NDArray[np.float32]

_FRAME_SECONDS = 0.34
_AROUND_HZ = 120.0
_ABOVE_DB, _SWAY_DB, _SHARE = 15.0, 4.0, 0.6
_LEAST_FRAMES, _LONG_FRAMES = 4, 18
_FAINTEST_DB = -90.0
_DRIFT = 0.0015
_NEVER_MUSIC_HZ = 14000.0
"""From here on a tone that sounds throughout is taken for a whine within the band, too."""

_HALF_WIDTH_HZ, _TRANSITION_HZ, _STOPBAND_DB = 40.0, 80.0, 60.0
_MOST = 16


@dataclass(frozen=True)
class Tone:
    """A steady tone: Hz, RMS in dBFS, and from when to when it sounds, seconds."""

    hz: float
    level_db: float
    start_s: float
    stop_s: float


class ToneMeter:
    """Feed blocks with `update`, then take `result`; memory does not grow."""

    def __init__(self, rate: int) -> None:
        self._rate, self._size = rate, 2 ** round(np.log2(rate * _FRAME_SECONDS))
        self._window = signal.windows.blackmanharris(self._size, sym=False)
        bins = self._size // 2 + 1
        self._count, self._first, self._last = (np.zeros(bins, np.int64) for _ in range(3))
        self._power, self._sum, self._squares, self._place = (np.zeros(bins) for _ in range(4))
        self._frames = 0
        self._rest: Audio | None = None

    def update(self, block: Audio) -> None:
        """Hear float32 ``[channels, samples]``, which continues the block before."""
        data = block if self._rest is None else np.concatenate((self._rest, block), axis=1)
        start = 0
        while start + self._size <= data.shape[1]:
            self._add(data[:, start : start + self._size])
            start += self._size // 2
        self._rest = data[:, start:].copy()

    def _add(self, frame: Audio) -> None:
        spectrum = np.fft.rfft(frame * self._window)
        power = (spectrum.real**2 + spectrum.imag**2).max(axis=0) * (2.0 / self._window.sum() ** 2)
        level = 10.0 * np.log10(power + 1e-20)
        reach = 2 * round(_AROUND_HZ * self._size / self._rate) + 1
        # Of means over what lies above and below a bin the higher one, so that the corner of a low-pass is no peak.
        mean = ndimage.uniform_filter1d(level, reach)
        around = np.maximum(np.roll(mean, reach // 2 + 5), np.roll(mean, -(reach // 2 + 5)))
        tone = (level > around + _ABOVE_DB) & (level > _FAINTEST_DB)
        before, after = np.roll(level, 1), np.roll(level, -1)
        tone &= (level >= before) & (level >= after)
        offset = np.clip(0.5 * (before - after) / np.minimum(before - 2.0 * level + after, -1e-6), -0.5, 0.5)
        power = np.where(tone, power * 10.0 ** (-0.025 * (before - after) * offset), 0.0)
        self._first[tone & (self._count == 0)] = self._frames
        self._last[tone] = self._frames
        self._count += tone
        self._power += power
        self._place += power * (np.arange(len(power)) + offset)
        self._sum += np.where(tone, level, 0.0)
        self._squares += np.where(tone, level**2, 0.0)
        self._frames += 1

    def result(self) -> list[Tone]:
        """The tones, the loudest first."""
        found: list[Tone] = []
        taken = np.zeros(len(self._count), bool)
        width = self._rate / self._size
        for place in np.argsort(-self._power * (self._count > 0), kind="stable"):
            if not self._count[place] or len(found) == _MOST:
                break
            reach = max(2, round(_DRIFT * place))
            near = np.arange(max(1, place - reach), min(len(taken), place + reach + 1))
            near = near[(self._count[near] > 0) & ~taken[near]]
            if taken[place] or not len(near):
                continue
            taken[near] = True
            tone = self._tone(near, width)
            if tone:
                found.append(tone)
        return found

    def _tone(self, near: NDArray[np.int64], width: float) -> Tone | None:
        """What these bins, neighbours, hold; None where it does not stay, or sways."""
        count, hop = int(self._count[near].sum()), self._size / 2 / self._rate
        first, last = int(self._first[near].min()), int(self._last[near].max())
        mean = self._sum[near].sum() / count
        sway = np.sqrt(max(0.0, self._squares[near].sum() / count - mean**2))
        long_enough = count >= max(_LEAST_FRAMES, min(_LONG_FRAMES, 0.5 * self._frames))
        if not long_enough or count < _SHARE * (last - first + 1) or sway > _SWAY_DB:
            return None
        power = self._power[near].sum()
        hz = float(self._place[near].sum() / power * width)
        return Tone(hz, float(10.0 * np.log10(power / count)), first * hop, (last + 2) * hop)


def unwanted(tones: Iterable[Tone], bandwidth: BandwidthMap) -> tuple[Tone, ...]:
    """Tones that are none of the programme's: above where the band ends, or very high and there throughout."""
    end = max((tone.stop_s for tone in tones), default=0.0)
    return tuple(
        tone
        for tone in tones
        if tone.hz > 1.02 * bandwidth.highest(tone.start_s, tone.stop_s)
        or (tone.hz > _NEVER_MUSIC_HZ and tone.stop_s - tone.start_s > 0.9 * end)
    )


def without(blocks: Iterable[Audio], tones: Sequence[Tone], rate: int) -> Iterator[Audio]:
    """Audio ``[channels, samples]`` in blocks, with what lies around tones taken out; as long as it was, no delay.

    Every notch is 40 Hz and .2 % of the frequency to either side, 60 dB deep in its middle.
    """
    tones = [tone for tone in tones if tone.hz + 2 * _TRANSITION_HZ < rate / 2]
    if not tones:
        yield from blocks
        return
    kernel = _notches(tones, rate)
    pad, held = len(kernel) // 2, None
    for block in blocks:
        held = _extended(block, tones, rate, pad)[:, : -pad or None] if held is None else np.hstack((held, block))
        if held.shape[1] > 2 * pad:
            yield signal.oaconvolve(held, kernel[None], "valid", axes=1).astype(np.float32)
            held = held[:, -2 * pad :]
    if held is not None:
        held = np.hstack((held, _extended(held, tones, rate, pad)[:, -pad:]))
        yield signal.oaconvolve(held, kernel[None], "valid", axes=1).astype(np.float32)


def _notches(tones: Sequence[Tone], rate: int) -> NDArray[np.float64]:
    """The kernel of all notches, of odd length; those that overlap are one."""
    bands: list[list[float]] = []
    for hz in sorted(tone.hz for tone in tones):
        low, high = hz - _HALF_WIDTH_HZ - 0.002 * hz, hz + _HALF_WIDTH_HZ + 0.002 * hz
        if bands and low < bands[-1][1] + _TRANSITION_HZ:
            bands[-1][1] = high
        else:
            bands.append([low, high])
    taps, beta = signal.kaiserord(_STOPBAND_DB, _TRANSITION_HZ / (rate / 2))
    edges = np.clip(np.ravel(bands), 1.0, rate / 2 - 1.0)
    kernel: NDArray[np.float64] = signal.firwin(taps | 1, edges, window=("kaiser", beta), pass_zero="bandstop", fs=rate)
    return kernel


def _extended(audio: Audio, tones: Sequence[Tone], rate: int, pad: int) -> Audio:
    """Audio with its tones, and nothing else, carried on beyond both ends."""
    size = min(audio.shape[1], 4096)
    places = np.arange(-pad, size)
    phases = 2 * np.pi * np.outer(places, [tone.hz for tone in tones]) / rate
    base = np.concatenate((np.cos(phases), np.sin(phases)), axis=1)
    sides = []
    for part in (audio[:, :size], audio[:, ::-1][:, :size]):
        fit = np.linalg.lstsq(base[pad:], part.T, rcond=1e-6)[0]
        sides.append((base[:pad] @ fit).T)
    return np.hstack((sides[0], audio, sides[1][:, ::-1])).astype(np.float32)
