"""Bandwidth: up to which frequency a file holds real audio.

The edge is the lowest frequency from which the loud spectrum falls for good, as a low-pass makes it fall
(-6 dB point), and at most the highest frequency within 60 dB of the 1-4 kHz level. A noise floor, dither or
codec debris above the fall is not audio. Frequencies are in Hz, levels in dB per Hz.
The thresholds were chosen on recordings low-passed by twelve kinds of filters, with dither and hiss added.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

FULL_BAND_HZ = 20000.0
LOWEST_HZ = 1000.0
_FRAME_SECONDS = 0.085
_SHORTEST_SECONDS = 0.01
_LEVELS = (-200, 20)  # of the histogram, in steps of 1 dB
_SILENCE = 1e-7  # below the last bit of 24
_STEPS = 48  # an octave
_RANGE_DB = 60.0
_NYQUIST_SHARE = 0.96  # what the anti-alias filter of a low rate leaves


@dataclass(frozen=True)
class Bandwidth:
    """``cutoff_hz`` is from 1 kHz to half the rate; ``full_band`` means that there is nothing to add."""

    cutoff_hz: float
    full_band: bool
    reason: str
    silent: bool


@dataclass(frozen=True)
class _Fall:
    """A fall of ``depth`` dB between two places of the spectrum, counted in steps of 1/48 octave."""

    top: int
    bottom: int
    depth: float

    @property
    def steps_per_30_db(self) -> float:
        return 30.0 * (self.bottom - self.top) / self.depth


class BandwidthMeter:
    """Feed blocks with `update`, then take `result`; memory does not grow with the file."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = 2 ** round(np.log2(rate * _FRAME_SECONDS))
        self._counts = np.zeros((_LEVELS[1] - _LEVELS[0], self._size // 2 + 1), np.int32)
        self._bins = np.arange(self._size // 2 + 1)
        self._rest: np.ndarray | None = None
        self._frames = 0
        self._peak = 0.0

    def update(self, block: np.ndarray) -> None:
        """Measure float32 ``[channels, samples]``, which continues the block before."""
        self._peak = max(self._peak, float(np.abs(block).max(initial=0.0)))
        data = block if self._rest is None else np.concatenate((self._rest, block), axis=1)
        start = 0
        while start + self._size <= data.shape[1]:
            self._count(data[:, start : start + self._size])
            start += self._size // 2
        self._rest = data[:, start:].copy()

    def result(self) -> Bandwidth:
        """Return the edge of what was measured so far."""
        nyquist = self._rate / 2
        if self._peak <= _SILENCE:
            return Bandwidth(min(nyquist, FULL_BAND_HZ), False, "silence", True)
        rest = self._rest.shape[1] if self._rest is not None else 0
        if self._frames == 0 and rest < _SHORTEST_SECONDS * self._rate:
            return Bandwidth(min(_NYQUIST_SHARE * nyquist, FULL_BAND_HZ), False, "too short to tell", False)
        if self._frames == 0 and self._rest is not None:
            self._count(self._rest)
        hertz, level = _bands(self._loud(), self._rate)
        cutoff, reason = _edge(hertz, level)
        if self._rate < 2 * FULL_BAND_HZ and cutoff > _NYQUIST_SHARE * nyquist:
            cutoff, reason = _NYQUIST_SHARE * nyquist, f"all that {self._rate} Hz can hold"
        if cutoff < LOWEST_HZ:
            cutoff, reason = LOWEST_HZ, f"{reason}; taken as {LOWEST_HZ:g} Hz, the lowest that is supported"
        full = cutoff >= min(FULL_BAND_HZ, 0.98 * nyquist) and self._rate >= 2 * FULL_BAND_HZ
        return Bandwidth(float(cutoff), bool(full), reason, False)

    def _count(self, frame: np.ndarray) -> None:
        """Add one frame ``[channels, <= size]`` to the histogram; the loudest channel of each bin counts."""
        window = signal.windows.blackmanharris(frame.shape[1], sym=False)
        spectrum = np.fft.rfft(frame * window, self._size)
        power = np.max(spectrum.real**2 + spectrum.imag**2, axis=0)
        density = 10.0 * np.log10(power * (2.0 / (self._rate * np.sum(window**2) + 1e-30)) + 1e-20)
        row = np.clip(density - _LEVELS[0], 0, len(self._counts) - 1).astype(np.int64)
        self._counts[row, self._bins] += 1
        self._frames += 1

    def _loud(self) -> np.ndarray:
        """Return the level ``[bins]`` of each bin's own loudest frames, past a click or two."""
        frames = self._frames
        rank = max(min(4, 1 + frames // 3), int(np.sqrt(frames) / 3))
        from_top = np.cumsum(self._counts[::-1], axis=0)
        row = len(self._counts) - 1 - np.argmax(from_top >= rank, axis=0)
        level_db: np.ndarray = row + _LEVELS[0] + 0.5
        return level_db


def detect_cutoff(audio: np.ndarray, rate: int) -> Bandwidth:
    """Return the bandwidth of ``audio``, float32 ``[channels, samples]``."""
    meter = BandwidthMeter(rate)
    meter.update(audio)
    return meter.result()


def _bands(density: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Average ``density`` over 1/48 octaves from 700 Hz to half the rate; return their (Hz, level)."""
    nyquist, width = rate / 2, rate / 2 / (len(density) - 1)
    hertz = nyquist * 2.0 ** (-np.arange(int(_STEPS * np.log2(nyquist / 700.0)), -1, -1) / _STEPS)
    edge = 2.0 ** (0.5 / _STEPS)
    low = np.floor(hertz / edge / width + 0.5).astype(int)
    high = np.minimum(np.maximum(np.ceil(hertz * edge / width + 0.5).astype(int), low + 3), len(density))
    low = np.minimum(low, high - 3)
    total = np.concatenate(([0.0], np.cumsum(10.0 ** (density / 10.0))))
    level = 10.0 * np.log10(np.maximum((total[high] - total[low]) / (high - low), 1e-20))
    padded = np.pad(level, 3, mode="edge")
    # a median keeps the place of a fall and drops single tones
    return hertz, np.median(np.lib.stride_tricks.sliding_window_view(padded, 7), axis=1)


def _edge(hertz: np.ndarray, level: np.ndarray) -> tuple[float, str]:
    reference = 10.0 * np.log10(np.mean(10.0 ** (level[(hertz >= 1000.0) & (hertz <= 4000.0)] / 10.0)))
    inside = np.flatnonzero(level > reference - _RANGE_DB)
    level = np.maximum(level, reference - _RANGE_DB - 15.0)
    falls = _falls(hertz, level, reference)
    cutoff, reason = float(hertz[-1]), "no edge below half the rate"
    if falls:
        fall = min(falls, key=lambda item: item.steps_per_30_db)
        cutoff = _knee(hertz, level, fall)
        reason = f"falls by {level[fall.top] - level[fall.bottom]:.0f} dB to {hertz[fall.bottom]:.0f} Hz"
    if inside[-1] < len(hertz) - 1 and hertz[inside[-1]] < cutoff:
        cutoff, reason = float(hertz[inside[-1]]), f"{_RANGE_DB:g} dB below the level at 1-4 kHz from there on"
    return cutoff, reason


def _falls(hertz: np.ndarray, level: np.ndarray, reference: float) -> list[_Fall]:
    """Return the neighbouring starts of the lowest fall: a deep one, else one to a floor, else a shelf."""
    found: list[_Fall] = []
    starts = range(int(np.searchsorted(hertz, 0.9 * LOWEST_HZ)), len(hertz) - 2)
    for top in starts:
        fall = _fall(level, top, 30.0, 48, 5.0, 0.9)
        if fall is None or np.mean(level[fall.bottom :] <= reference - 42.0) < 0.9:
            fall = _fall(level, top, 18.0, 21, 5.0, 0.95)
            if fall is not None and not _flat(level[fall.bottom + 6 :], 8.0, 1):
                fall = None
        if fall is not None:
            found.append(fall)
        elif found:
            break
    # up there gentle falls are microphones and converters, not low-passes
    found = [fall for fall in found if hertz[fall.bottom] < FULL_BAND_HZ or fall.steps_per_30_db <= 8.0]
    if not found:
        shelves = (_fall(level, top, 10.0, 4, 4.0, 0.97) for top in starts)
        found = [fall for fall in shelves if fall is not None and _flat(level[fall.bottom + 4 :], 6.0, 4)]
    return found


def _fall(level: np.ndarray, top: int, depth: float, steps: int, back: float, share: float) -> _Fall | None:
    """Return the fall by ``depth`` dB within ``steps``, unless what follows comes back by more than ``back``."""
    down = np.flatnonzero(level[top : min(top + steps + 1, len(level) - 1)] <= level[top] - depth)
    if not len(down) or np.mean(level[top + down[0] :] <= level[top] - depth + back) < share:
        return None
    return _Fall(top, top + int(down[0]), depth)


def _flat(level: np.ndarray, spread: float, least: int) -> bool:
    return len(level) >= least and float(np.ptp(level)) <= spread


def _knee(hertz: np.ndarray, level: np.ndarray, fall: _Fall) -> float:
    """Return the -6 dB point in Hz: the best fit of a straight spectrum through a low-pass onto a floor."""
    bottom = fall.bottom
    while bottom + 3 < len(level) and level[bottom] - level[bottom + 3] > 1.5:
        bottom += 1
    # a gentle fall begins far below its steepest part, a brick wall does not
    gentle = fall.steps_per_30_db > 8.0 or hertz[fall.bottom] < FULL_BAND_HZ
    early = int(min(fall.steps_per_30_db**3 / 15.0, 60.0)) if gentle else 2
    first = max(fall.top - 1 - early, 6)
    start = max(0, first - int(0.5 * _STEPS))
    floor = min(float(np.median(level[bottom:])), float(level[bottom]))
    octaves = np.arange(start, bottom + 1) / _STEPS
    places = np.arange(max(first, start + 6), bottom + 0.1, 0.5)
    errors = [_misfit(octaves - place / _STEPS, level[start : bottom + 1], floor) for place in places]
    return float(hertz[0] * 2.0 ** (places[int(np.argmin(errors))] / _STEPS))


def _misfit(octaves: np.ndarray, level: np.ndarray, floor: float) -> float:
    """Return how badly a low-pass at octave 0, of the best order, explains ``level``; both are ``[places]``."""
    orders = np.array([3, 4, 5, 6, 8, 10, 14, 20, 32, 64, 256.0])[:, None]
    loss = -20.0 * np.log10(2.0) * np.logaddexp2(0.0, 2.0 * orders * octaves)
    left = octaves < 0.02
    line = np.stack((np.ones(int(left.sum())), octaves[left]), axis=1)
    prior = np.diag([1e-9, 15.0])  # the slope leans to -10 dB an octave, music's own
    fit = np.linalg.solve(line.T @ line + prior, line.T @ (level - loss)[:, left].T + [[0.0], [-150.0]])
    straight = np.maximum(fit[0][:, None] + fit[1][:, None] * octaves + loss, -300.0)
    model = 10.0 * np.log10(10.0 ** (straight / 10.0) + 10.0 ** (floor / 10.0))
    return float(np.min(np.sum(np.minimum(np.abs(model - level), 30.0) ** 1.5, axis=1)))
