"""Spectra shared by verifiers, analysis and report: power and log-spectral distance."""

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ttsr_studio.errors import OptionError

N_FFT = 2048
HOP = 512
POWER_FLOOR = 1e-8


@lru_cache(maxsize=32)
def hann(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The periodic Hann window, made once a device."""
    return torch.hann_window(size, dtype=dtype, device=device)


def squared(spectrum: Tensor) -> Tensor:
    """|spectrum|², complex to real."""
    return spectrum.real.square() + spectrum.imag.square()


def square_root(x: Tensor) -> Tensor:
    """The square root, with a slope of 0 where x is 0: a gradient through it stays finite."""
    zero = x <= 0
    return torch.where(zero, 1.0, x).sqrt().masked_fill(zero, 0.0)


def precise(x: Tensor) -> Tensor:
    """In float64, or in float32 on devices that have no more (Apple's)."""
    return x.float() if x.device.type == "mps" else x.double()


def power_spectrogram(x: Tensor, *, n_fft: int = N_FFT, hop: int = HOP) -> Tensor:
    """The power of the centred Hann STFT.

    Args:
        x: audio, [..., samples], at least one sample; shorter than half a frame is padded with zeros.
        n_fft: frame length, samples.
        hop: samples between frames.

    Returns:
        [..., n_fft // 2 + 1, samples // hop + 1], not normalised.
    """
    flat = x.reshape(-1, x.shape[-1])
    # Reflection needs more samples than it mirrors.
    flat = pad(flat, (0, max(0, n_fft // 2 + 1 - flat.shape[-1])))
    window = hann(n_fft, flat.dtype, flat.device)
    stft = torch.stft(flat, n_fft, hop, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = squared(stft)
    return power.reshape(*x.shape[:-1], *power.shape[-2:])


def bins_between(lo_hz: float, hi_hz: float | None, sample_rate: int, n_fft: int = N_FFT) -> slice:
    """The bins with lo_hz <= centre <= hi_hz (None: up to half the rate).

    Raises OptionError when no bin lies between them.
    """
    first = math.ceil(lo_hz * n_fft / sample_rate - 1e-9)
    top_hz = sample_rate / 2 if hi_hz is None else min(hi_hz, sample_rate / 2)
    stop = math.floor(top_hz * n_fft / sample_rate + 1e-9) + 1
    if not 0 <= first < stop:
        raise OptionError(f"no spectrum between {lo_hz:g} and {top_hz:g} Hz at {sample_rate} Hz; widen the band")
    return slice(first, stop)


def log_distance(power_x: Tensor, power_y: Tensor) -> Tensor:
    """Log-spectral distance of two power spectrograms, [..., bins, frames] -> [...], float64 (see `precise`).

    Root of the mean over bins of the squared difference of log10 powers (clamped at 1e-8), mean over frames.
    """
    return distance_of_logs(log_power(power_x), log_power(power_y))


def log_power(power: Tensor) -> Tensor:
    """log10 of powers, clamped at 1e-8."""
    return power.clamp_min(POWER_FLOOR).log10()


def distance_of_logs(log_x: Tensor, log_y: Tensor) -> Tensor:
    """`log_distance` of what `log_power` gave, for a spectrogram that many are compared with."""
    difference = log_x - log_y
    # Squares in float32, summed in float64 where the device has it: 9 digits, and no copy of the whole in float64.
    wide = torch.float32 if difference.device.type == "mps" else torch.float64
    return square_root(difference.square().mean(-2, dtype=wide)).mean(-1)


def lsd(x: Tensor, y: Tensor, *, sample_rate: int = 48000, lo_hz: float = 0.0, hi_hz: float | None = None) -> Tensor:
    """Log-spectral distance as the field reports it: n_fft 2048, hop 512, Hann, log10 of power, clamp 1e-8.

    Args:
        x, y: audio at the same rate and of the same length, [..., samples]; leading axes broadcast.
        sample_rate: Hz; only the band limits use it.
        lo_hz, hi_hz: measure only between these, e.g. above the cutoff and below the band edge of the source.

    Returns:
        [...], float64, in units of log10 power (1.0 is 10 dB); 0 for equal spectra, lower is better.

    Raises:
        OptionError: lengths differ, or no bin lies between the limits.
    """
    if x.shape[-1] != y.shape[-1]:
        raise OptionError(f"LSD compares equal lengths, not {x.shape[-1]} and {y.shape[-1]} samples")
    bins = bins_between(lo_hz, hi_hz, sample_rate)
    return log_distance(power_spectrogram(x)[..., bins, :], power_spectrogram(y)[..., bins, :])


def pool_edges(size: int, parts: int) -> NDArray[np.int64]:
    """The first index of each of `parts` nearly equal groups of `size` items."""
    return np.arange(parts, dtype=np.int64) * size // parts
