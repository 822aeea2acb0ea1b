"""Systems without a model, to see what a model is worth: the input itself, and spectral band replication.

Replication copies the octave below the band's edge upward again and again, as SBR does in decoders (Dietz et al.,
"Spectral Band Replication, a novel approach in audio coding", AES 112, 2002), but without its side information: the
envelope above is the low band's own, carried on as a straight line in dB over octaves. It knows the true cutoff.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ttsr_studio.analysis.spectra import HOP, N_FFT
from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio

SMOOTHING = 17
"""Bins over which the source's long-term envelope is taken, about 400 Hz."""

STEEPEST_DB, FLATTEST_DB = -30.0, 0.0
"""Range of the tilt carried on, per octave: it never rises."""

LARGEST_GAIN = 10.0
SILENT_POWER = 1e-16


def replicate(lr: Audio, edge_hz: float) -> Audio:
    """Fill the band above `edge_hz` from the octave below it.

    Args:
        lr: [channels, samples] at 48 kHz, band-limited.
        edge_hz: up to where it holds the original; above, it is replaced.

    Returns:
        The same shape; below the crossover at the edge it is `lr` itself.
    """
    window = torch.hann_window(N_FFT)
    low = torch.stft(torch.from_numpy(lr), N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    power = low.abs().square().mean(-1).double().numpy()
    edge = math.floor(edge_hz * N_FFT / RATE)
    above = np.arange(edge, low.shape[1])
    source = patches(above, edge)
    gain = np.stack([envelope_gain(channel, source, above, edge) for channel in power])
    wide = low.clone()
    wide[:, edge:] = low[:, source] * torch.from_numpy(gain).float()[..., None]
    generated = torch.istft(wide, N_FFT, HOP, window=window, length=lr.shape[1])
    merged: Audio = Crossover(edge_hz, RATE).merge(lr, generated.numpy())
    return merged


def patches(above: NDArray[np.int64], edge: int) -> NDArray[np.int64]:
    """The bin below the edge that each bin above it is copied from.

    Patches are an octave (half the edge) wide, rounded so that a shift is a multiple of N_FFT / HOP bins: only then do
    the phases of shifted frames still agree.
    """
    step = N_FFT // HOP
    width = max(step, edge // 2 // step * step)
    return edge - width + (above - edge) % width


def envelope_gain(
    power: NDArray[np.float64], source: NDArray[np.int64], above: NDArray[np.int64], edge: int
) -> NDArray[np.float64]:
    """Amplitude gain of every copied bin, so that the long-term envelope goes on from the edge without a step.

    Args:
        power: long-term mean power of one channel by bin.
        source, above: bins copied from and to.
        edge: first bin above the band.
    """
    envelope = uniform_filter1d(power[:edge], SMOOTHING, mode="nearest") + SILENT_POWER
    bins = np.arange(max(1, edge // 4), edge)
    levels = 10 * np.log10(envelope[bins])
    tilt = float(np.clip(np.polyfit(np.log2(bins), levels, 1)[0], STEEPEST_DB, FLATTEST_DB))
    at_edge = 10 * math.log10(power[edge - SMOOTHING : edge].mean() + SILENT_POWER)
    target = at_edge + tilt * np.log2(above / edge)
    gain: NDArray[np.float64] = 10 ** ((target - 10 * np.log10(envelope[source])) / 20)
    return np.minimum(gain, LARGEST_GAIN)
