"""Inter-channel correlation by band, as parametric stereo codes it: does an image stay as wide as it was?

Conventions: audio is float32 [channels, samples] at 48 kHz. The correlation of two channels in a band of 1 kHz is that
of the whole clip at lag zero: the real part of their cross-spectrum over the root of their energies (n_fft 2048, hop
512, Hann), from -1 (opposite phase) through 0 (independent) to 1 (alike). Breebaart et al., "Parametric Coding of
Stereo Audio", EURASIP J. Appl. Signal Process. 2005:9, have it with a search over lags, which is left out here.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.analysis.spectra import HOP, N_FFT
from ttsr_studio.evaluation.benchmark.dataset import Audio
from ttsr_studio.evaluation.benchmark.energies import FLOOR_DB, POWER_OF_ENERGY

SILENT_BELOW = 1e-6
"""An output's channel that is 60 dB or more below the truth's is as good as silent, and has no correlation: 0."""


def correlation_error(truth: Audio, output: Audio, bands: Sequence[slice]) -> float:
    """Mean |difference| of the inter-channel correlation, output to truth, over bands and pairs of channels.

    Bands count where both channels of the truth are over -90 dB. NaN for mono, and where no band counts.
    """
    if truth.shape[0] < 2 or not bands:
        return math.nan
    true, made = stereo_spectrum(truth), stereo_spectrum(output)
    floor = 10 ** (FLOOR_DB / 10) * POWER_OF_ENERGY
    differences = []
    for band in bands:
        expected, energies = channel_correlations(true[:, band])
        found, levels = channel_correlations(made[:, band])
        counts, sounds = energies > floor, levels > (energies * SILENT_BELOW).clamp_min(floor)
        for i, j in combinations(range(len(truth)), 2):
            if counts[i] and counts[j]:
                differences.append(abs(float(found[i, j]) * bool(sounds[i] and sounds[j]) - float(expected[i, j])))
    return sum(differences) / len(differences) if differences else math.nan


def stereo_spectrum(audio: Audio) -> Tensor:
    """Complex STFT [channels, bins, frames], zeros outside."""
    window = torch.hann_window(N_FFT)
    samples = torch.from_numpy(np.ascontiguousarray(audio))
    return torch.stft(samples, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)


def channel_correlations(band: Tensor) -> tuple[Tensor, Tensor]:
    """Of a band's spectrum [channels, bins, frames]: channel_correlations [channels, channels], and powers [channels].

    Powers are means over frames of the sum over bins; a silent channel has no correlation (0).
    """
    flat = torch.view_as_real(band).flatten(1).double()
    cross = flat @ flat.mT
    energy = cross.diagonal()
    scale = (energy[:, None] * energy[None]).sqrt()
    return torch.where(scale > 0, cross / scale.clamp_min(1e-300), 0.0), energy / band.shape[2]
