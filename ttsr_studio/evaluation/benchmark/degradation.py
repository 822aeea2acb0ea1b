"""Low-resolution inputs from full-band clips, by one fixed low-pass.

brick: linear-phase Kaiser FIR at 48 kHz, flat within 0.001 dB to 100 Hz below the cutoff, at least 100 dB down from
    the cutoff on, delay removed; the file stays at 48 kHz, as an upsampled or mp3-limited file would.
resample: soxr VHQ to twice the cutoff, which is flat to 0.91 of it; the file is stored at that low rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.errors import OptionError, TtsrError
from ttsr_studio.evaluation.benchmark.dataset import (
    RATE,
    Audio,
    Clip,
    fit,
    read_clip,
    resample,
    write_float_wav,
)
from ttsr_studio.evaluation.benchmark.names import LowPass

TRANSITION_HZ = 100.0
STOPBAND_DB = 100.0
RESAMPLED_BAND = 0.91
"""Share of half the rate that soxr VHQ keeps flat."""

LOWEST_HZ, HIGHEST_HZ = 1000.0, 20000.0


def check_cutoff(cutoff_hz: float, low_pass: LowPass) -> None:
    """Raise OptionError for a cutoff that cannot be simulated."""
    lowest = 4000.0 if low_pass == "resample" else LOWEST_HZ
    if not lowest <= cutoff_hz <= HIGHEST_HZ:
        raise OptionError(f"--cutoff {cutoff_hz:g}: {low_pass} takes {lowest:g} to {HIGHEST_HZ:g} Hz")
    if low_pass == "resample" and 2 * cutoff_hz % 1 != 0:
        raise OptionError(f"--cutoff {cutoff_hz:g}: twice the cutoff is a rate, in whole Hz")


@dataclass(frozen=True)
class Conditions:
    """What holds for all that is compared: cutoffs in Hz, the low-pass, seconds of each clip that count (None: all).

    Raises OptionError for a cutoff that cannot be simulated.
    """

    cutoffs: tuple[float, ...]
    low_pass: LowPass
    seconds: float | None

    def __post_init__(self) -> None:
        for cutoff in self.cutoffs:
            check_cutoff(cutoff, self.low_pass)


def kept_hz(cutoff_hz: float, low_pass: LowPass) -> float:
    """Up to where the input holds the clip unchanged, Hz."""
    return cutoff_hz - TRANSITION_HZ if low_pass == "brick" else RESAMPLED_BAND * cutoff_hz


@lru_cache(maxsize=16)
def brick(cutoff_hz: float) -> NDArray[np.float64]:
    """Taps of the brick-wall low-pass at 48 kHz; odd in number, unit gain at 0 Hz."""
    taps, beta = signal.kaiserord(STOPBAND_DB + 1, TRANSITION_HZ / (RATE / 2))
    window = ("kaiser", beta)
    response: NDArray[np.float64] = signal.firwin(taps | 1, cutoff_hz - TRANSITION_HZ / 2, window=window, fs=RATE)
    return response


def filtered(audio: Audio, taps: NDArray[np.float64]) -> Audio:
    """Linear-phase FIR of odd length on [channels, samples], its delay removed, zeros outside."""
    full = signal.oaconvolve(audio.astype(np.float64), taps[None], mode="full", axes=-1)
    delay = len(taps) // 2
    return np.asarray(full[:, delay : delay + audio.shape[1]], np.float32)


def simulate(truth: Audio, cutoff_hz: float, low_pass: LowPass) -> tuple[Audio, int]:
    """Return the input made from a truth [channels, samples] at 48 kHz, and its rate, Hz."""
    check_cutoff(cutoff_hz, low_pass)
    if low_pass == "brick":
        return filtered(truth, brick(cutoff_hz)), RATE
    rate = int(2 * cutoff_hz)
    return resample(truth, RATE, rate), rate


@dataclass(frozen=True)
class Item:
    """One clip at one cutoff.

    Attributes:
        truth: [channels, samples] at 48 kHz.
        lr: the input made from it, at `lr_rate`.
        folder: for files that live as long as the item.
    """

    clip: Clip
    cutoff_hz: float
    low_pass: LowPass
    truth: Audio
    lr: Audio
    lr_rate: int
    folder: Path

    @classmethod
    def make(cls, clip: Clip, cutoff_hz: float, low_pass: LowPass, seconds: float | None, folder: Path) -> "Item":
        """Read a clip and simulate its input. Raises InputError when it cannot be read."""
        truth = read_clip(clip.path, seconds)
        return cls(clip, cutoff_hz, low_pass, truth, *simulate(truth, cutoff_hz, low_pass), folder)

    @property
    def kept_hz(self) -> float:
        """Up to where the input holds the clip unchanged, Hz."""
        return kept_hz(self.cutoff_hz, self.low_pass)

    def fitted(self, audio: Audio, what: str) -> Audio:
        """Audio at 48 kHz in the truth's shape; see `dataset.fit`."""
        return fit(audio, self.truth.shape[0], self.truth.shape[1], what)

    def lr_wide(self) -> Audio:
        """The input at 48 kHz, in the truth's shape."""
        return self.fitted(resample(self.lr, self.lr_rate, RATE), self.clip.name)


def write_inputs(folder: Path, clips: Sequence[Clip], conditions: Conditions) -> Iterator[str]:
    """Write the simulated inputs for other systems, as FOLDER/CUTOFF/CLIP.wav; yields what failed, one line a clip."""
    for clip in clips:
        try:
            for cutoff in conditions.cutoffs:
                item = Item.make(clip, cutoff, conditions.low_pass, conditions.seconds, folder)
                write_float_wav((folder / f"{cutoff:g}" / clip.name).with_suffix(".wav"), item.lr, item.lr_rate)
        except (TtsrError, OSError) as error:
            yield f"{clip.name}: {error}"
