"""Loudness by ITU-R BS.1770-4, measured as the audio streams by, and the gain that matches a render to it.

Units: LUFS; peaks and rms are linear, full scale 1.0. Silence and files below 0.4 s have no loudness.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import soxr
from pyloudnorm.iirfilter import IIRfilter
from scipy import signal

from ttsr_studio.errors import OptionError

_SILENCE = 1e-7  # below the last bit of 24
_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)  # pyloudnorm's: left, right, centre, the two surrounds
_HOP = 0.1
_EXACT_LU = 0.05
MOST_MOVED_DB = 0.5
"""By how much "keep" moves what was there at most, to come nearer to the loudness of the source."""
_DITHER, _ROUNDING = 2.5, 5e-7
"""What dither and the positive end of a scale take of full scale: steps; and what float32 rounds, linear."""


def decibels(value: float) -> float:
    """Return a linear level in dB; minus infinity for zero."""
    return 20.0 * math.log10(value) if value > 0.0 else -math.inf


def _k_weighting(rate: int) -> tuple[IIRfilter, IIRfilter]:
    """The shelf and the high-pass of BS.1770-4 at any rate, with pyloudnorm's figures."""
    shelf = IIRfilter(4.0, 1 / np.sqrt(2), 1500.0, rate, "high_shelf")
    return shelf, IIRfilter(0.0, 0.5, 38.0, rate, "high_pass")


@dataclass(frozen=True)
class Loudness:
    """``lufs`` is None where BS.1770 gives none: below 0.4 s, or when every block is gated out."""

    lufs: float | None
    sample_peak: float
    true_peak: float
    rms: float
    silent: bool

    def louder(self, db: float) -> "Loudness":
        """The same with a gain."""
        factor = 10 ** (db / 20)
        lufs = None if self.lufs is None else self.lufs + db
        return replace(
            self,
            lufs=lufs,
            sample_peak=self.sample_peak * factor,
            true_peak=self.true_peak * factor,
            rms=self.rms * factor,
        )


@dataclass(frozen=True)
class Gain:
    """One gain for the whole file, dB, and why it is what it is.

    Attributes:
        lowered_db: by how much peaks have lowered it.
        held_db: by how much louder than the source a render stays, so that what was there keeps its level; below 0:
            softer.
    """

    db: float
    reason: str
    lowered_db: float = 0.0
    held_db: float = 0.0


class LoudnessMeter:
    """Feed blocks with `update`, then take `result` once."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._filters = [(stage.b, stage.a) for stage in _k_weighting(rate)]
        self._states = [np.zeros((channels, 2)) for _ in self._filters]
        self._gains = np.array([*_WEIGHTS, *[1.0] * channels][:channels])
        self._factor = 4 if rate < 96000 else 2 if rate < 192000 else 1
        self._stream = soxr.ResampleStream(rate, self._factor * rate, channels, dtype="float32")
        self._segments: list[float] = []
        self._power = 0.0
        self._squares = 0.0
        self._frames = 0
        self._channels = channels
        self._peak = self._true_peak = 0.0

    def update(self, block: np.ndarray) -> None:
        """Measure float32 ``[channels, samples]``, which continues the block before."""
        if block.shape[1] == 0:
            return
        self._peak = max(self._peak, float(np.abs(block).max()))
        self._squares += float(np.square(block, dtype=np.float64).sum())
        self._measure_between(block, last=False)
        data = block.astype(np.float64)
        for index, (b, a) in enumerate(self._filters):
            data, self._states[index] = signal.lfilter(b, a, data, axis=1, zi=self._states[index])
        self._add_power(self._gains @ np.square(data))

    def result(self) -> Loudness:
        """Return what was measured; the meter is finished then."""
        self._measure_between(np.zeros((self._channels, 0), np.float32), last=True)
        count = self._frames * self._channels
        return Loudness(
            lufs=self._integrated(),
            sample_peak=self._peak,
            true_peak=max(self._peak, self._true_peak),
            rms=math.sqrt(self._squares / count) if count else 0.0,
            silent=self._peak <= _SILENCE,
        )

    def _measure_between(self, block: np.ndarray, last: bool) -> None:
        if self._factor > 1:
            over = self._stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32), last=last)
            self._true_peak = max(self._true_peak, float(np.abs(over).max(initial=0.0)))

    def _add_power(self, power: np.ndarray) -> None:
        """Add weighted squares ``[samples]`` to segments of 0.1 s; a gating block is four of them."""
        done = 0
        while done < len(power):
            end = int(_HOP * (len(self._segments) + 1) * self._rate)
            count = min(end - self._frames, len(power) - done)
            self._power += float(power[done : done + count].sum())
            done += count
            self._frames += count
            if self._frames == end:
                self._segments.append(self._power)
                self._power = 0.0

    def _integrated(self) -> float | None:
        seconds = self._frames / self._rate
        if seconds < 4 * _HOP:
            return None
        segments = np.array([*self._segments, self._power, 0.0, 0.0, 0.0])
        count = int(np.round((seconds - 4 * _HOP) / _HOP)) + 1
        power = np.convolve(segments, np.ones(4), "valid")[:count] / (4 * _HOP * self._rate)
        loud = power[_lufs(power) >= -70.0]
        if not len(loud):
            return None
        loud = loud[_lufs(loud) > float(_lufs(loud.mean())) - 10.0]
        return float(_lufs(loud.mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    lufs: np.ndarray = -0.691 + 10.0 * np.log10(np.maximum(power, 1e-30))
    return lufs


def match_gain(
    source: Loudness,
    render: Loudness,
    target: str | float,
    ceiling_dbtp: float = 0.0,
    bits: int | None = None,
    level_db: float = 0.0,
) -> Gain:
    """Return the gain for ``render``: "match" the source, "keep" what was there, "off", or a target in LUFS.

    "keep" comes as near to the source as it can with a gain that is `MOST_MOVED_DB` from ``level_db`` at most, which
    is the one at which what was there has the level that it had. Where loudness cannot be measured RMS stands in. The
    gain is lowered so that the true peak keeps to ``ceiling_dbtp``, or to the source's own true peak where that is
    higher and the samples of both fit the file: integers of so many ``bits`` hold nothing above full scale; None
    stands for floating point. Silence gets 0 dB.
    """
    if isinstance(target, str) and target not in ("keep", "match", "off"):
        raise OptionError(f"unknown loudness {target!r}; known: keep, match, off, or a number in LUFS")
    if source.silent or render.silent:
        return Gain(0.0, "silence: no gain")
    wanted = _wanted(source, render, target, level_db)
    held = bits is None or source.sample_peak <= 1.0
    own = max(ceiling_dbtp, decibels(source.true_peak)) if held else ceiling_dbtp
    why = f", since {bits} bits hold nothing above full scale"
    gain = _lowered(wanted, render, own, "" if held else why)
    if bits is None:
        return gain
    peak = decibels(render.sample_peak)
    if peak + gain.db > 1e-6:
        gain = _lowered(wanted, render, ceiling_dbtp, why)
    return replace(gain, db=gain.db + fitting(render.louder(gain.db), bits))


def fitting(loudness: Loudness, bits: int | None) -> float:
    """What is to be taken of audio so that its samples fit integers of so many bits, dB, 0 or less; None: float."""
    if bits is None:
        return 0.0
    most = 1.0 - max(_DITHER / 2.0 ** (bits - 1), _ROUNDING)
    return min(0.0, decibels(most) - decibels(loudness.sample_peak)) if loudness.sample_peak else 0.0


def _lowered(gain: Gain, render: Loudness, limit: float, why: str) -> Gain:
    """A gain that keeps the true peak to a limit in dBTP."""
    over = decibels(render.true_peak) + gain.db - limit
    if over <= 1e-6:
        return gain
    reason = f"{gain.reason}, lowered by {over:.2f} dB to peak at {limit:.2f} dBTP{why}"
    held = max(0.0, gain.held_db - over) if gain.held_db > 0 else gain.held_db
    return Gain(gain.db - over, reason, over, held)


def gain_to_match(source: Loudness, render: Loudness) -> tuple[float, str]:
    """The gain in dB that makes a render as loud as its source, and by which measure: loudness or RMS."""
    if source.lufs is None or render.lufs is None:
        return decibels(source.rms) - decibels(render.rms), "RMS"
    return source.lufs - render.lufs, "loudness"


def _wanted(source: Loudness, render: Loudness, target: str | float, level_db: float) -> Gain:
    if target == "off":
        return Gain(0.0, "loudness left as rendered")
    if not isinstance(target, str):
        if render.lufs is None:
            return Gain(target - decibels(render.rms), f"RMS to {target:g} dBFS: too short or quiet for LUFS")
        return Gain(target - render.lufs, f"loudness to {target:g} LUFS")
    db, unit = gain_to_match(source, render)
    if abs(db) <= _EXACT_LU:  # no gain at all lets the low band null sample for sample
        return Gain(0.0, f"{unit} matches the source within {_EXACT_LU} dB")
    if target == "keep" and abs(db - level_db) > MOST_MOVED_DB:
        near = level_db + math.copysign(MOST_MOVED_DB, db - level_db)
        reason = f"{unit} matched by {near:.2f} of {db:.2f} dB, since what was there keeps its level"
        return Gain(near, reason, held_db=near - db)
    return Gain(db, f"{unit} matched to the source")
