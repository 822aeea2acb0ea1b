"""Onsets above the cutoff: whether an output's are as sharp as the truth's, and what sounds before them.

Conventions: audio is float32 [channels, samples] at 48 kHz, of one shape; channels are added up. An onset is a rise of
the energy of 2 ms frames, looked at every 1 ms, after a high-pass at the cutoff. Levels are in dB of mean square.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio
from ttsr_studio.evaluation.benchmark.energies import FLOOR_DB, level_db

FRAME, STEP = 96, 48
"""The envelope: 2 ms of energy every 1 ms."""

COUNT, RISE_DB, RANGE_DB, GAP, REACH = 10, 10.0, 40.0, 50, 10
"""At most 10 onsets, of 10 dB or more, within 40 dB of the loudest, 50 ms apart; looked for 10 ms either side."""

BEFORE = 9
"""Frames before an onset that are looked at: from 10 ms before it to its first 2 ms frame."""

HIGHPASS_HZ = 1000.0


@dataclass(frozen=True)
class OnsetErrors:
    """How an output's onsets differ from the truth's, dB; NaN without onsets.

    Attributes:
        sharpness: mean |difference| of the rise of the level from one 2 ms frame to the next, the output's largest
            within 10 ms of the truth's.
        before: level in the 10 ms before an onset, output over truth, mean over onsets of levels that are at least
            -90 dB. Over 0 is a pre-echo, a ghost before the hit; below 0 the output lacks what the truth has there.
    """

    sharpness: float
    before: float


def onset_errors(truth: Audio, output: Audio, cutoff_hz: float) -> OnsetErrors:
    """Compare the output with the truth at the truth's strongest onsets above the cutoff."""
    true, made = (envelope(x, cutoff_hz) for x in (truth, output))
    true_db, made_db = level_db(true, FLOOR_DB), level_db(made, FLOOR_DB)
    rise, answer = (level[2:] - level[:-2] for level in (true_db, made_db))
    found = strongest(true_db, rise)
    if not found:
        return OnsetErrors(math.nan, math.nan)
    largest = [answer[max(0, p - REACH) : p + REACH + 1].max() for p in found]
    sharpness = float(np.abs(np.array(largest) - rise[found]).mean())
    means = (np.array([x[max(0, p + 1 - BEFORE) : p + 1].mean() for p in found]) for x in (true, made))
    quiet = [level_db(mean, FLOOR_DB) for mean in means]
    return OnsetErrors(sharpness, float((quiet[1] - quiet[0]).mean()))


def strongest(level: NDArray[np.float64], rise: NDArray[np.float64]) -> list[int]:
    """The frames before the largest rises of a level; `rise[p]` is from frame p to p + 2."""
    if not len(rise):
        return []
    peaks, _ = signal.find_peaks(np.pad(rise, 1), height=RISE_DB, distance=GAP)
    peaks = peaks - 1
    loud = [int(p) for p in peaks if level[p + 2 : p + 12].max() >= level.max() - RANGE_DB]
    return sorted(loud, key=lambda p: -rise[p])[:COUNT]


def envelope(audio: Audio, cutoff_hz: float) -> NDArray[np.float64]:
    """Mean square above the cutoff, 2 ms frames every 1 ms, mean over channels."""
    high = signal.sosfilt(high_pass(cutoff_hz), audio.astype(np.float64), axis=-1)
    energy = np.cumsum(np.pad(np.square(high).mean(0), (1, 0)))
    starts = np.arange(0, audio.shape[1] - FRAME + 1, STEP)
    mean: NDArray[np.float64] = (energy[starts + FRAME] - energy[starts]) / FRAME
    return mean


def high_pass(cutoff_hz: float) -> NDArray[np.float64]:
    """Elliptic high-pass at 48 kHz as sections: 80 dB down at the cutoff, flat within 1 dB from 1 kHz above it.

    Causal, so that it rings after an onset and not before, where it would blunt the rise.
    """
    passed = cutoff_hz + min(HIGHPASS_HZ, (RATE / 2 - cutoff_hz) / 2)
    order, natural = signal.ellipord(passed, cutoff_hz, gpass=1.0, gstop=80.0, fs=RATE)
    sections: NDArray[np.float64] = signal.ellip(order, 1.0, 80.0, natural, "highpass", output="sos", fs=RATE)
    return sections
