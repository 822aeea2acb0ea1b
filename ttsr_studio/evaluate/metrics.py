"""What is measured of an output against its truth. Both are float32 [channels, samples] at 48 kHz, of one shape.

Levels are in dB of mean square: 0 dB is a square wave at full scale. Channels are measured alone and averaged where
not said otherwise. No gain is matched. ESTOI and PESQ are left out: PESQ's reference code has a licence of its own, it
hears at most 16 kHz (wideband), ESTOI at most 5 kHz, so both are deaf to most of what is added here.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal
from torch import Tensor

from ttsr_studio.analysis.spectra import N_FFT, bins_between, log_distance, power_spectrogram
from ttsr_studio.evaluate.corpus import RATE, Audio

FLOOR_DB = -90.0
"""Level under which hiss and onsets do not count."""

ENERGY_FLOOR_DB = -120.0
"""Level that stands for none in the energy bias."""

PAUSE_DB = 40.0
FRAME, STEP = 96, 48
"""The onsets' envelope: 2 ms of energy every 1 ms."""

ONSETS, ONSET_RISE_DB, ONSET_RANGE_DB, ONSET_GAP, ONSET_REACH = 10, 10.0, 40.0, 50, 10
"""At most 10 onsets, of 10 dB or more, within 40 dB of the loudest, 50 ms apart; looked for 10 ms either side."""

HIGHPASS_HZ = 1000.0


@dataclass(frozen=True)
class Metric:
    """How a column is shown.

    Attributes:
        key: in the results.
        digits: after the point.
        ratio: zero means none, so a difference may be given in per cent.
        curve: drawn against N and steps.
    """

    key: str
    title: str
    digits: int = 2
    ratio: bool = True
    curve: bool = True


METRICS = (
    Metric("lsd", "LSD", 3),
    Metric("lsd_edge", "LSD to the clip's edge", 3),
    Metric("lsd_hf", "LSD above the cutoff", 3),
    Metric("hf_bias_db", "HF energy bias, dB", ratio=False),
    Metric("pause_hiss_db", "pause hiss, dB", ratio=False),
    Metric("onset_error_db", "onset error, dB"),
    Metric("held_out", "held-out judge", 3, ratio=False),
    Metric("nfe", "NFE", 0, curve=False),
    Metric("x_real_time", "x real time", 1, curve=False),
    Metric("peak_rss_mb", "peak RSS, MB", 0, curve=False),
)


@torch.no_grad()
def measure(truth: Audio, output: Audio, cutoff_hz: float, edge_hz: float | None) -> dict[str, float]:
    """Measure one output; NaN where a metric does not apply.

    Args:
        cutoff_hz: where the input's band ended.
        edge_hz: above this the truth holds nothing; None for full-band.

    Returns:
        lsd: log-spectral distance over the full band (n_fft 2048, hop 512, log10 of power, clamp 1e-8).
        lsd_edge: the same up to the edge. lsd_hf: the same from the cutoff to the edge.
        hf_bias_db: total energy from cutoff to edge, output over truth, all channels together.
        pause_hiss_db: see `pause_hiss`. onset_error_db: see `onset_error`.
    """
    true, made = (power_spectrogram(torch.from_numpy(np.ascontiguousarray(x))) for x in (truth, output))
    edge = RATE / 2 if edge_hz is None else edge_hz
    to_edge = bins_between(0, edge, RATE)
    values = {"lsd": distance(true, made), "lsd_edge": distance(true[:, to_edge], made[:, to_edge])}
    if edge - cutoff_hz < 2 * RATE / N_FFT:
        return values | dict.fromkeys(("lsd_hf", "hf_bias_db", "pause_hiss_db", "onset_error_db"), math.nan)
    high = bins_between(cutoff_hz, edge, RATE)
    energies = band_energy(true[:, high]), band_energy(made[:, high])
    return values | {
        "lsd_hf": distance(true[:, high], made[:, high]),
        "hf_bias_db": energy_bias(*energies),
        "pause_hiss_db": pause_hiss(*energies),
        "onset_error_db": onset_error(truth, output, cutoff_hz),
    }


def distance(true: Tensor, made: Tensor) -> float:
    """Mean LSD over channels of two power spectrograms [channels, bins, frames]."""
    return float(log_distance(true, made).mean())


def band_energy(power: Tensor) -> NDArray[np.float64]:
    """Mean square of every frame from the power of some bins, [channels, bins, frames] -> [channels, frames].

    One-sided, of a Hann window whose squares sum to 3/8 of its length: white noise over all bins gives its variance.
    """
    energy: NDArray[np.float64] = (power.double().sum(1) * 2 / (0.375 * N_FFT**2)).numpy()
    return energy


def decibels(energy: NDArray[np.float64], floor_db: float) -> NDArray[np.float64]:
    """Energy in dB, not below a floor."""
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(energy, 10 ** (floor_db / 10)))
    return level


def energy_bias(true: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """Total energy, output over truth, dB; each at least -120 dB."""
    return float(decibels(made.mean(), ENERGY_FLOOR_DB) - decibels(true.mean(), ENERGY_FLOOR_DB))


def pause_hiss(true: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """Level above the cutoff, output over truth, dB, in the truth's pauses; energies are [channels, frames].

    Pauses are frames whose truth is 40 dB or more below the loudest frame of its channel; the mean over them is of
    levels, each at least -90 dB, so that one frame at a pause's edge does not outweigh the pause. NaN without pauses.
    """
    level = decibels(true, -300.0)
    pause = level <= level.max(axis=1, keepdims=True) - PAUSE_DB
    if not pause.any():
        return math.nan
    return float((decibels(made[pause], FLOOR_DB) - decibels(true[pause], FLOOR_DB)).mean())


def onset_error(truth: Audio, output: Audio, cutoff_hz: float) -> float:
    """How far the output's onsets above the cutoff are from as sharp as the truth's: mean |difference|, dB.

    An onset's sharpness is the rise of log energy from one 2 ms frame to the next, after a high-pass. The truth's
    strongest onsets are compared with the output's largest rise within 10 ms. Channels are added up. NaN without
    onsets.
    """
    true, made = (envelope(x, cutoff_hz) for x in (truth, output))
    rise, answer = (level[2:] - level[:-2] for level in (true, made))
    if not len(rise):
        return math.nan
    peaks, _ = signal.find_peaks(np.pad(rise, 1), height=ONSET_RISE_DB, distance=ONSET_GAP)
    peaks = peaks - 1
    loud = [p for p in peaks if true[p + 2 : p + 12].max() >= true.max() - ONSET_RANGE_DB]
    strongest = sorted(loud, key=lambda p: -rise[p])[:ONSETS]
    if not strongest:
        return math.nan
    found = [answer[max(0, p - ONSET_REACH) : p + ONSET_REACH + 1].max() for p in strongest]
    return float(np.abs(np.array(found) - rise[strongest]).mean())


def envelope(audio: Audio, cutoff_hz: float) -> NDArray[np.float64]:
    """Level above the cutoff, dB, 2 ms frames every 1 ms, mean over channels of energy; at least -90 dB."""
    high = signal.sosfilt(high_pass(cutoff_hz), audio.astype(np.float64), axis=-1)
    energy = np.cumsum(np.pad(np.square(high).mean(0), (1, 0)))
    starts = np.arange(0, audio.shape[1] - FRAME + 1, STEP)
    return decibels((energy[starts + FRAME] - energy[starts]) / FRAME, FLOOR_DB)


def high_pass(cutoff_hz: float) -> NDArray[np.float64]:
    """Elliptic high-pass at 48 kHz as sections: 80 dB down at the cutoff, flat within 1 dB from 1 kHz above it.

    Causal, so that it rings after an onset and not before, where it would blunt the rise.
    """
    passed = cutoff_hz + min(HIGHPASS_HZ, (RATE / 2 - cutoff_hz) / 2)
    order, natural = signal.ellipord(passed, cutoff_hz, gpass=1.0, gstop=80.0, fs=RATE)
    sections: NDArray[np.float64] = signal.ellip(order, 1.0, 80.0, natural, "highpass", output="sos", fs=RATE)
    return sections
