"""Spectra, bands and masks that training and rendering share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.engines.builtin.network import NetworkConfig

FEATURE_FLOOR = 1e-7
"""Power below which the low band is not told from silence; 76 dB under white noise at the engine's input RMS."""

POWER_FLOOR = 1e-9
"""Power added to targets, so that digital silence has a finite logarithm."""

RESIDUAL_LIMIT = 6.0
"""Natural-log units; larger residuals are clamped."""


def stft(audio: Tensor, config: NetworkConfig) -> Tensor:
    """audio [B, samples], a multiple of the hop -> complex [B, bins, samples / hop + 1], frame t centred on t * hop."""
    window = torch.hann_window(config.n_fft, device=audio.device)
    return torch.stft(
        audio, config.n_fft, config.hop, window=window, center=True, pad_mode="constant", return_complex=True
    )


def istft(spectrum: Tensor, samples: int, config: NetworkConfig) -> Tensor:
    """Inverse of `stft`: complex [B, bins, T] -> [B, samples]."""
    window = torch.hann_window(config.n_fft, device=spectrum.device)
    return torch.istft(spectrum, config.n_fft, config.hop, window=window, center=True, length=samples)


def noise_power(config: NetworkConfig) -> float:
    """Expected |STFT|^2 of unit-variance white noise: the window's energy."""
    return 0.375 * config.n_fft


def bin_hz(config: NetworkConfig, device: torch.device | None = None) -> Tensor:
    """Centre frequency of every bin, [bins], Hz."""
    return torch.arange(config.bins, device=device) * (config.sample_rate / config.n_fft)


def crossover_start(cutoff_hz: Tensor) -> Tensor:
    """Lowest frequency, Hz, at which the crossover may let generated audio through."""
    return cutoff_hz - torch.minimum(torch.full_like(cutoff_hz, 1000.0), 0.25 * cutoff_hz)


def missing(cutoff_hz: Tensor, config: NetworkConfig) -> Tensor:
    """cutoff [B] -> mask [B, bins]: 1 where the engine has to generate."""
    return (bin_hz(config, cutoff_hz.device)[None] >= crossover_start(cutoff_hz)[:, None]).float()


def features(spectrum: Tensor, cutoff_hz: Tensor, config: NetworkConfig) -> Tensor:
    """Low-resolution STFT [B, bins, T] -> log power about zero mean, floored and blanked above the cutoff."""
    power = spectrum.real**2 + spectrum.imag**2
    scaled = 0.2 * (power + FEATURE_FLOOR).log() + 1.0
    heard = (bin_hz(config, power.device)[None] <= cutoff_hz[:, None]).float()[:, :, None]
    blank = 0.2 * math.log(FEATURE_FLOOR) + 1.0
    return scaled * heard + blank * (1 - heard)


def normalised_cutoff(cutoff_hz: Tensor) -> Tensor:
    """Cutoff on a log scale, 1 kHz -> 0 and 24 kHz -> 1."""
    return (cutoff_hz / 1000.0).log() / math.log(24.0)


def fine_envelope(lr: Tensor, cutoff_hz: Tensor, config: NetworkConfig) -> Tensor:
    """Envelope of the octave below the cutoff within a frame: lr [B, samples], cutoff [B] -> [B, samples].

    RMS over 1.3 ms, divided by the RMS over the STFT's own window, so that frames keep their power; limited to 12 dB.
    """
    samples = lr.shape[-1]
    hz = torch.fft.rfftfreq(samples, 1 / config.sample_rate).to(lr.device)
    octave = (hz[None] >= 0.5 * cutoff_hz[:, None]) & (hz[None] <= cutoff_hz[:, None])
    power = torch.fft.irfft(torch.fft.rfft(lr) * octave, samples) ** 2
    near = F.avg_pool1d(power[:, None], 63, stride=1, padding=31, count_include_pad=False)
    window = torch.hann_window(config.n_fft + 1, periodic=False, device=lr.device) ** 2
    padded = F.pad(near, (config.hop, config.hop), mode="replicate")
    size = padded.shape[-1] + config.n_fft
    spectrum = torch.fft.rfft(padded, size) * torch.fft.rfft(window / window.sum(), size)
    far = torch.fft.irfft(spectrum, size)[..., config.n_fft : config.n_fft + samples]
    silent = 1e-9
    return ((near + silent) / (far.clamp(min=0) + silent)).sqrt().clamp(max=4.0)[:, 0]


def band_matrix(config: NetworkConfig, device: torch.device | None = None) -> Tensor:
    """Averaging matrix [bands, bins]: linear bands of equal width above `band_start_hz`; rows sum to 1."""
    hz = bin_hz(config, device)
    top = config.sample_rate / 2
    width = (top - config.band_start_hz) / config.bands
    index = ((hz - config.band_start_hz) / width).floor().clamp(max=config.bands - 1)
    matrix = (index[None] == torch.arange(config.bands, device=device)[:, None]).float()
    return matrix / matrix.sum(dim=1, keepdim=True)


def interpolation_matrix(config: NetworkConfig, device: torch.device | None = None) -> Tensor:
    """Linear interpolation [bins, bands] from band centres to bins, constant beyond the outer centres."""
    hz = bin_hz(config, device)
    width = (config.sample_rate / 2 - config.band_start_hz) / config.bands
    place = ((hz - config.band_start_hz) / width - 0.5).clamp(0, config.bands - 1)
    centre = torch.arange(config.bands, device=device)[None]
    return (1 - (place[:, None] - centre).abs()).clamp(min=0)


def smooth_frames(x: Tensor) -> Tensor:
    """x [B, C, T] -> 5-frame Hann average over time, edges repeated."""
    kernel = torch.hann_window(7, periodic=False, device=x.device)[1:-1]
    kernel = (kernel / kernel.sum()).to(x.dtype)
    padded = F.pad(x, (2, 2), mode="replicate")
    return F.conv1d(padded.flatten(0, 1)[:, None], kernel[None, None]).view_as(x)


def residual(power: Tensor, log_variance: Tensor, config: NetworkConfig) -> Tensor:
    """Log energy of the truth over the predicted scale: power, log_variance [B, bins, T] -> [B, bands, T], clamped.

    The energy of a band is a power mean with exponent 1/2 over its bins and five frames: between the arithmetic mean,
    which single peaks rule, and the geometric one, which loses their energy. Gaussian detail has residual 0.
    """
    amplitude = ((power + POWER_FLOOR).log() - log_variance).mul(0.5).exp() / math.gamma(1.5)
    banded = smooth_frames(band_matrix(config, power.device) @ amplitude)
    return (2 * (banded + 1e-8).log()).clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
