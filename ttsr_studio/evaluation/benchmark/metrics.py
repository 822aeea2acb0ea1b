"""What is measured of an output against its truth. Both are float32 [channels, samples] at 48 kHz, of one shape.

Levels are in dB of mean square: 0 dB is a square wave at full scale. Channels are measured alone and averaged where
not said otherwise. No gain is matched. ESTOI and PESQ are left out: PESQ's reference code has a licence of its own, it
covers at most 16 kHz (wideband), ESTOI at most 5 kHz, so neither sees most of what is added here. ViSQOL and
Zimtohrli are in `perceptual`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.spectra import N_FFT, bins_between, log_distance, power_spectrogram
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio
from ttsr_studio.evaluation.benchmark.energies import FLOOR_DB, band_energy, bands_between, level_db
from ttsr_studio.evaluation.benchmark.onsets import onset_errors
from ttsr_studio.evaluation.benchmark.stereo import correlation_error
from ttsr_studio.evaluation.benchmark.texture import textures

ENERGY_FLOOR_DB = -120.0
"""Level that stands for none in the energy bias."""

PAUSE_DB = 40.0

Better = Literal["higher", "lower", "zero", "truth", ""]
ARROWS: dict[Better, str] = {"higher": " ↑", "lower": " ↓", "zero": " →0", "truth": "", "": ""}
"""Follow a column's title. "truth": the nearer to the column of the truth; "": says nothing of quality."""


@dataclass(frozen=True)
class Metric:
    """How a column is shown.

    Attributes:
        key: in the results.
        better: which way is better.
        group: columns of one group share a table.
        digits: after the point.
        ratio: zero means none, so a difference may be given in per cent.
        curve: drawn against N and steps.
    """

    key: str
    title: str
    better: Better
    group: Literal["fidelity", "texture", "cost"]
    digits: int = 2
    ratio: bool = True
    curve: bool = True

    @property
    def heading(self) -> str:
        """The title, and which way is better."""
        return self.title + ARROWS[self.better]


METRICS = (
    Metric("visqol", "ViSQOL", "higher", "fidelity", ratio=False),
    Metric("zimtohrli", "Zimtohrli", "higher", "fidelity", ratio=False),
    Metric("lsd", "LSD", "lower", "fidelity", 3),
    Metric("lsd_edge", "LSD to the clip's edge", "lower", "fidelity", 3),
    Metric("lsd_low", "LSD below the cutoff", "lower", "fidelity", 3),
    Metric("lsd_hf", "LSD above the cutoff", "lower", "fidelity", 3),
    Metric("held_out", "held-out verifier", "higher", "fidelity", 3, ratio=False),
    Metric("hf_bias_db", "HF energy bias, dB", "zero", "texture", ratio=False),
    Metric("pause_hiss_db", "pause hiss, dB", "zero", "texture", ratio=False),
    Metric("onset_error_db", "onset error, dB", "lower", "texture"),
    Metric("pre_onset_db", "before onsets, dB", "zero", "texture", ratio=False),
    Metric("tonal_contrast_truth", "truth's tonal contrast", "", "texture", 3, curve=False),
    Metric("tonal_contrast", "tonal contrast", "truth", "texture", 3),
    Metric("tonal_off", "tonal contrast off by", "lower", "texture", 3),
    Metric("onset_contrast_truth", "truth's onset contrast", "", "texture", 3, curve=False),
    Metric("onset_contrast", "onset contrast", "truth", "texture", 3),
    Metric("onset_off", "onset contrast off by", "lower", "texture", 3),
    Metric("icc_off", "inter-channel correlation off by", "lower", "texture", 3),
    Metric("nfe", "NFE", "", "cost", 0, curve=False),
    Metric("x_real_time", "x real time", "higher", "cost", 1, curve=False),
    Metric("peak_rss_mb", "peak RSS, MB", "lower", "cost", 0, curve=False),
)

ABOVE = (
    "lsd_hf",
    "hf_bias_db",
    "pause_hiss_db",
    "onset_error_db",
    "pre_onset_db",
    "tonal_contrast_truth",
    "tonal_contrast",
    "tonal_off",
    "onset_contrast_truth",
    "onset_contrast",
    "onset_off",
    "icc_off",
)
"""Measured above the cutoff only."""


@torch.no_grad()
def measure(truth: Audio, output: Audio, cutoff_hz: float, edge_hz: float | None) -> dict[str, float]:
    """Measure one output; NaN where a metric does not apply.

    Args:
        cutoff_hz: where the input's band ended.
        edge_hz: above this the truth holds nothing; None for full-band.

    Returns:
        lsd: log-spectral distance over the full band (n_fft 2048, hop 512, log10 of power, clamp 1e-8).
        lsd_edge: the same up to the edge. lsd_low: up to the cutoff. lsd_hf: from the cutoff to the edge.
        hf_bias_db: total energy from cutoff to edge, output over truth, all channels together.
        pause_hiss_db: see `pause_hiss`. onset_error_db, pre_onset_db: see `onsets.OnsetErrors`.
        tonal_contrast, onset_contrast: of the output from cutoff to edge, see `texture`; with `_truth`, of the truth.
        tonal_off, onset_off: |output's less truth's|.
        icc_off: see `stereo.correlation_error`.
    """
    true, made = (power_spectrogram(torch.from_numpy(np.ascontiguousarray(x))) for x in (truth, output))
    edge = RATE / 2 if edge_hz is None else edge_hz
    to_edge, low = bins_between(0, edge, RATE), bins_between(0, cutoff_hz, RATE)
    values = {
        "lsd": distance(true, made),
        "lsd_edge": distance(true[:, to_edge], made[:, to_edge]),
        "lsd_low": distance(true[:, low], made[:, low]),
    }
    if edge - cutoff_hz < 2 * RATE / N_FFT:
        return values | dict.fromkeys(ABOVE, math.nan)
    high, bands = bins_between(cutoff_hz, edge, RATE), bands_between(cutoff_hz, edge)
    energies = band_energy(true[:, high]), band_energy(made[:, high])
    onsets = onset_errors(truth, output, cutoff_hz)
    expected, found = textures(true, made, bands)
    return values | {
        "lsd_hf": distance(true[:, high], made[:, high]),
        "hf_bias_db": energy_bias(*energies),
        "pause_hiss_db": pause_hiss(*energies),
        "onset_error_db": onsets.sharpness,
        "pre_onset_db": onsets.before,
        "tonal_contrast_truth": expected.tonal_contrast,
        "tonal_contrast": found.tonal_contrast,
        "tonal_off": abs(found.tonal_contrast - expected.tonal_contrast),
        "onset_contrast_truth": expected.onset_contrast,
        "onset_contrast": found.onset_contrast,
        "onset_off": abs(found.onset_contrast - expected.onset_contrast),
        "icc_off": correlation_error(truth, output, bands),
    }


def distance(true: Tensor, made: Tensor) -> float:
    """Mean LSD over channels of two power spectrograms [channels, bins, frames]."""
    return float(log_distance(true, made).mean())


def energy_bias(true: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """Total energy, output over truth, dB; each at least -120 dB."""
    return float(level_db(made.mean(), ENERGY_FLOOR_DB) - level_db(true.mean(), ENERGY_FLOOR_DB))


def pause_hiss(true: NDArray[np.float64], made: NDArray[np.float64]) -> float:
    """Level above the cutoff, output over truth, dB, in the truth's pauses; energies are [channels, frames].

    Pauses are frames whose truth is 40 dB or more below the loudest frame of its channel; the mean over them is of
    levels, each at least -90 dB, so that one frame at a pause's edge does not outweigh the pause. NaN without pauses.
    """
    level = level_db(true, -300.0)
    pause = level <= level.max(axis=1, keepdims=True) - PAUSE_DB
    if not pause.any():
        return math.nan
    return float((level_db(made[pause], FLOOR_DB) - level_db(true[pause], FLOOR_DB)).mean())
