"""Spectra, bands, masks and features that training and rendering share.

Two grids: *fast* cells are 64 bands of 375 Hz every 5.3 ms (STFT 512/256), fine enough in time to draw a hit;
*slow* frames come every 10.7 ms (hop 512), and what is read or drawn of partials comes from an STFT of 2048.
A window of K * 512 samples has T = K + 1 slow frames and 2T fast ones (one of them past its end).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.audio import fourier
from ttsr_studio.audio.fourier import frame_window

RATE = 48000
HOP = 512
FAST_FFT, FAST_HOP = 512, 256
FINE_FFT = 2048

BANDS = 64
BAND_HZ = RATE / 2 / BANDS
BAND_BINS = FAST_FFT // 2 // BANDS
FINE_BINS = FINE_FFT // 2 // BANDS

TONAL_BANDS = 16
"""Groups of four bands in which tonality is drawn."""

EARS = 160
"""Bands of the input, narrow at the bottom (ERB-like), in which pitch, formants and noise floors are read."""

POWER_FLOOR = 1e-9
"""Power below which a cell is not told from silence; 70 dB under white noise at the engine's input RMS."""

AUDIBLE_POWER = 3e-7
"""Cells above this count in full when training: 45 dB under white noise at the engine's input RMS."""

NOISE_TONALITY = 0.56
"""Log of the mean less the mean of the log over 16 bins of white noise, natural-log units."""


def stft(audio: Tensor, n_fft: int, hop: int) -> Tensor:
    """audio [B, samples] -> complex [B, n_fft / 2 + 1, samples / hop + 1], frame t centred on t * hop.

    Of unit-variance white noise the mean power is 1.
    """
    window = frame_window(n_fft, audio.device)
    spectrum = torch.stft(audio, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    scaled: Tensor = spectrum * (1 / (0.375 * n_fft) ** 0.5)
    return scaled


def istft(spectrum: Tensor, samples: int, n_fft: int, hop: int) -> Tensor:
    """Inverse of `stft`: complex [B, bins, frames] -> [B, samples]."""
    return fourier.resynthesised(spectrum * (0.375 * n_fft) ** 0.5, n_fft, hop, samples)


def power(spectrum: Tensor) -> Tensor:
    """|spectrum|^2."""
    return spectrum.real.square() + spectrum.imag.square()


def band_centres(device: torch.device | None = None) -> Tensor:
    """Centres of the bands, [64], Hz."""
    return (torch.arange(BANDS, device=device) + 0.5) * BAND_HZ


def band_power(fast: Tensor) -> Tensor:
    """Mean power of the bins of each band: fast spectrum [..., 257, frames] -> [..., 64, frames]; no 0 Hz."""
    mean: Tensor = power(fast[..., 1:, :]).unflatten(-2, (BANDS, BAND_BINS)).mean(-2)
    return mean


def even_frames(x: Tensor) -> Tensor:
    """Fast frames [..., 2T - 1] -> [..., 2T], the last one repeated."""
    return F.pad(x, (0, 1), mode="replicate")


def log_energy(audio: Tensor) -> Tensor:
    """audio [B, samples], a multiple of 512 -> natural log of the energy of every fast cell, [B, 64, 2T]."""
    return even_frames((band_power(stft(audio, FAST_FFT, FAST_HOP)) + POWER_FLOOR).log())


def fine_power(audio: Tensor) -> Tensor:
    """audio [B, samples] -> power of STFT 2048 at the slow frames, [B, 1025, T]."""
    return power(stft(audio, FINE_FFT, HOP))


def tonality(fine: Tensor) -> Tensor:
    """Fine power [B, 1025, T] -> log of mean less mean of log over the bins of a band, [B, 64, T]; smoothed over 3.

    White noise has .56, a band with partials 2 and more.
    """
    bins = fine[:, 1:].unflatten(1, (BANDS, FINE_BINS)) + 0.1 * POWER_FLOOR
    raw = bins.mean(2).log() - bins.log().mean(2)
    padded = F.pad(raw, (1, 1), mode="replicate")
    return (padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3


@lru_cache(maxsize=8)
def ear_matrix(device: torch.device) -> Tensor:
    """Averaging matrix [160, 1025] of ERB-wide bands (Glasberg and Moore 1990); one without a bin takes the nearest."""
    hz = torch.arange(FINE_FFT // 2 + 1) * (RATE / FINE_FFT)
    rate = torch.linspace(0, 1, EARS + 1) * math.log10(1 + 0.00437 * RATE / 2)
    edges = (10**rate - 1) / 0.00437
    inside = ((hz >= edges[:-1, None]) & (hz < edges[1:, None])).float()
    nearest = F.one_hot((hz - 0.5 * (edges[:-1, None] + edges[1:, None])).abs().argmin(1), len(hz)).float()
    inside = torch.where(inside.sum(1, keepdim=True) > 0, inside, nearest)
    return (inside / inside.sum(1, keepdim=True)).to(device)


@lru_cache(maxsize=8)
def ear_hz(device: torch.device) -> Tensor:
    """Centres of the ears, [160], Hz."""
    hz = torch.arange(FINE_FFT // 2 + 1, device=device) * (RATE / FINE_FFT)
    return ear_matrix(device) @ hz


def crossover_start(cutoff_hz: Tensor) -> Tensor:
    """Lowest frequency, Hz, at which the crossover may let generated audio through."""
    return cutoff_hz - torch.minimum(torch.full_like(cutoff_hz, 1000.0), 0.25 * cutoff_hz)


def by_frame(cutoff_hz: Tensor, frames: int) -> Tensor:
    """Cutoffs [B] or [B, T] -> [B, 1, T]."""
    return cutoff_hz[:, None, None].expand(-1, 1, frames) if cutoff_hz.dim() == 1 else cutoff_hz[:, None]


def known_bands(cutoff_hz: Tensor) -> Tensor:
    """Cutoffs [B, 1, T] -> 1 for bands that the input holds whole, [B, 64, T]."""
    return (band_centres(cutoff_hz.device)[None, :, None] + BAND_HZ / 2 <= cutoff_hz).float()


def missing_bands(cutoff_hz: Tensor) -> Tensor:
    """Cutoffs [B, 1, T] -> 1 for bands of which the crossover may let something through, [B, 64, T]."""
    return (band_centres(cutoff_hz.device)[None, :, None] + BAND_HZ / 2 > crossover_start(cutoff_hz)).float()


def twice(x: Tensor) -> Tensor:
    """Slow frames [..., T] -> fast ones [..., 2T], each repeated."""
    return x.repeat_interleave(2, dim=-1)


@dataclass(frozen=True)
class Features:
    """What the conditioner is given of a window.

    Attributes:
        cells: [B, 7, 64, 2T]: log energy, its rise over time, tonality, known or not, distance to the cutoff (log),
            position, and whether anything has to be generated.
        ears: [B, 320, T]: log power in 160 ERB bands, 0 where it is not known, and whether it is.
    """

    cells: Tensor
    ears: Tensor


CELL_FEATURES = 7


def features(lr: Tensor, cutoff_hz: Tensor) -> Features:
    """Input [B, samples] with cutoffs [B] or [B, T] (by slow frame), Hz -> its features."""
    fine = fine_power(lr)
    cutoff = by_frame(cutoff_hz.to(fine), fine.shape[-1])
    known = twice(known_bands(cutoff))
    energy = log_scaled(log_energy(lr)) * known + log_scaled(math.log(POWER_FLOOR)) * (1 - known)
    rise = F.pad(energy[..., 1:] - energy[..., :-1], (1, 0))
    tonal = (twice(tonality(fine)) - NOISE_TONALITY) * known
    centre = band_centres(lr.device)[None, :, None]
    distance = twice((centre.log() - cutoff.log()) / 2)
    place = (centre / 12000 - 1).expand_as(distance)
    cells = torch.stack([energy, 2 * rise, tonal, known, distance, place, twice(missing_bands(cutoff))], dim=1)
    level = log_scaled((ear_matrix(lr.device) @ fine + POWER_FLOOR).log())
    known = (ear_hz(lr.device)[None, :, None] <= cutoff).float()
    return Features(cells, torch.cat([level * known, known], dim=1))


def log_scaled(log_power: Tensor | float) -> Tensor:
    """Natural log of power -> about zero mean and unit spread."""
    return 0.2 * torch.as_tensor(log_power) + 2.5


def band_to_bins(values: Tensor) -> Tensor:
    """By band [..., 64, frames] -> by bin of the fast STFT [..., 257, frames], linear between band centres."""
    place = ((torch.arange(FAST_FFT // 2 + 1, device=values.device) - 0.5) / BAND_BINS - 0.5).clamp(0, BANDS - 1)
    low = place.long().clamp(max=BANDS - 2)
    share = (place - low)[:, None]
    return values[..., low, :] * (1 - share) + values[..., low + 1, :] * share


def bin_hz(device: torch.device | None = None) -> Tensor:
    """Centres of the fast STFT's bins, [257], Hz."""
    return torch.arange(FAST_FFT // 2 + 1, device=device) * (RATE / FAST_FFT)
