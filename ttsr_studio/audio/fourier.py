"""Fourier transforms that are quick on a CPU, and come out the same, to the last bit, on however many threads."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=32)
def frame_window(size: int, device: torch.device) -> Tensor:
    """The periodic Hann window, made once a device."""
    return torch.hann_window(size, device=device)


def rfft(x: Tensor, size: int) -> Tensor:
    """`torch.fft.rfft` over the last axis. A row alone is taken twice: MKL shares one out between threads."""
    if x.device.type == "cpu" and x.numel() == x.shape[-1]:
        row: Tensor = torch.fft.rfft(x.reshape(1, -1).expand(2, -1), size)[0]
        return row.reshape(*x.shape[:-1], -1)
    rows: Tensor = torch.fft.rfft(x, size)
    return rows


def irfft(x: Tensor, size: int) -> Tensor:
    """`torch.fft.irfft` over the last axis; see `rfft`."""
    if x.device.type == "cpu" and x.numel() == x.shape[-1]:
        row: Tensor = torch.fft.irfft(x.reshape(1, -1).expand(2, -1), size)[0]
        return row.reshape(*x.shape[:-1], -1)
    rows: Tensor = torch.fft.irfft(x, size)
    return rows


@lru_cache(maxsize=32)
def taps_spectrum(taps: bytes, size: int, device: torch.device) -> Tensor:
    """The transform of float64 taps, complex64 [size // 2 + 1], made once a device."""
    return torch.from_numpy(np.fft.rfft(np.frombuffer(taps), size).astype(np.complex64)).to(device)


def resynthesised(spectrum: Tensor, size: int, hop: int, samples: int) -> Tensor:
    """Inverse of a centred Hann STFT whose frames are a whole number of hops: [R, bins, frames] -> [R, samples].

    As `torch.istft`, which folds frames by a column at a time.
    """
    window = frame_window(size, spectrum.device)
    frames = torch.fft.irfft(spectrum.transpose(1, 2), size).mul(window)
    whole = _overlapped(frames, hop)[:, size // 2 : size // 2 + samples]
    return whole.div(_envelope(size, hop, spectrum.shape[2], samples, spectrum.device))


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """Frames [R, T, size] -> their sum at steps of a hop, [R, (T + size / hop - 1) hop]."""
    rows, count, size = frames.shape
    parts = frames.unflatten(2, (size // hop, hop))
    out = frames.new_zeros(rows, count + size // hop - 1, hop)
    for part in range(size // hop):
        out[:, part : part + count] += parts[:, :, part]
    return out.flatten(1)


@lru_cache(maxsize=16)
def _envelope(size: int, hop: int, frames: int, samples: int, device: torch.device) -> Tensor:
    """What overlapping windows, twice applied, add up to, [samples]."""
    squares = frame_window(size, device).square().expand(1, frames, size)
    return _overlapped(squares, hop)[0, size // 2 : size // 2 + samples].clamp_min(1e-11)
