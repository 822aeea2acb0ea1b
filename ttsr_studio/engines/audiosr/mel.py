"""The log-mel picture that AudioSR takes and draws: 256 bands from 20 Hz to 24 kHz, 100 frames a second."""

from functools import lru_cache

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

RATE = 48000
FFT = 2048
HOP = 480
EDGE = (FFT - HOP) // 2
"""Samples that are needed before the first frame's hop and after the last one's."""

LOW_HZ, HIGH_HZ = 20.0, 24000.0
FLOOR = 1e-5
ORDER = 8


@lru_cache
def bank(mels: int) -> Tensor:
    """Slaney's mel filters, float32 [bins, mels]."""
    return torch.from_numpy(
        mel_filter_bank(FFT // 2 + 1, mels, LOW_HZ, HIGH_HZ, RATE, norm="slaney", mel_scale="slaney")
    ).float()


@lru_cache
def upper_hz(mels: int) -> Tensor:
    """The upper edge of every band's filter, Hz [mels]."""
    hz = torch.arange(FFT // 2 + 1) * RATE / FFT
    return torch.stack([hz[column > 0].max() for column in bank(mels).T])


def log_mel(audio: Tensor, mels: int) -> Tensor:
    """audio [N, EDGE + samples + EDGE], samples a multiple of 480 -> log magnitudes [N, samples / 480, mels].

    As the audiosr package computes it, which mirrors the audio at its ends where here the caller says what is there.
    """
    window = torch.hann_window(FFT, device=audio.device)
    magnitude = torch.stft(audio, FFT, HOP, FFT, window, center=False, return_complex=True).abs()
    return (magnitude.transpose(1, 2) @ bank(mels).to(audio.device)).clamp(min=FLOOR).log()


def low_pass(audio: Tensor, cutoff_hz: Tensor) -> Tensor:
    """Butterworth of order 8 run forward and backward: audio [N, samples], cutoff_hz [N] -> [N, samples], no delay.

    The model was trained on inputs from Butterworth, Chebyshev, elliptic and Bessel filters and the package picks one
    at random for every render; here it is always this one, whose gain is 1 / (1 + (f / cutoff)^16): -6 dB at the
    cutoff. Applied to a spectrum, so the ends mix with each other: give some context and drop it.
    """
    samples = audio.shape[-1]
    hz = torch.fft.rfftfreq(samples, 1 / RATE, device=audio.device)
    gain = 1 / (1 + (hz / cutoff_hz.to(audio.device)[:, None]) ** (2 * ORDER))
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(audio) * gain, samples)
    return filtered
