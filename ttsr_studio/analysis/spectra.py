"""Spectra shared by verifiers, analysis and report: power, log-spectral distance, and a map for long
files."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ttsr_studio.errors import OptionError

N_FFT = 2048
HOP = 512
POWER_FLOOR = 1e-8


def power_spectrogram(x: Tensor, *, n_fft: int = N_FFT, hop: int = HOP) -> Tensor:
    """Return the power of the centred Hann STFT.

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
    window = torch.hann_window(n_fft, dtype=flat.dtype, device=flat.device)
    stft = torch.stft(flat, n_fft, hop, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = torch.view_as_real(stft).square().sum(-1)
    return power.reshape(*x.shape[:-1], *power.shape[-2:])


def bins_between(lo_hz: float, hi_hz: float | None, sample_rate: int, n_fft: int = N_FFT) -> slice:
    """Return the bins with lo_hz <= centre <= hi_hz (None: up to half the rate).

    Raises OptionError when no bin lies between them.
    """
    first = math.ceil(lo_hz * n_fft / sample_rate - 1e-9)
    top_hz = sample_rate / 2 if hi_hz is None else min(hi_hz, sample_rate / 2)
    stop = math.floor(top_hz * n_fft / sample_rate + 1e-9) + 1
    if not 0 <= first < stop:
        raise OptionError(f"no spectrum between {lo_hz:g} and {top_hz:g} Hz at {sample_rate} Hz; widen the band")
    return slice(first, stop)


def log_distance(power_x: Tensor, power_y: Tensor) -> Tensor:
    """Log-spectral distance of two power spectrograms, [..., bins, frames] -> [...], float64.

    Root of the mean over bins of the squared difference of log10 powers (clamped at 1e-8), mean over frames.
    """
    difference = power_x.clamp_min(POWER_FLOOR).log10() - power_y.clamp_min(POWER_FLOOR).log10()
    return difference.double().square().mean(-2).sqrt().mean(-1)


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
    """Return the first index of each of `parts` nearly equal groups of `size` items."""
    return np.arange(parts, dtype=np.int64) * size // parts


class SpectrogramMap:
    """A spectrogram of bounded size for a file of any length, fed block by block.

    Frames are about 43 ms at any rate; the hop shrinks for short files. Power is averaged over channels,
    scaled so that a full-scale sine is 1, and max-pooled to cells, so a click of one frame stays visible in
    an hour of audio.

    Attributes:
        rate: Hz.
        frames: length of the file, samples per channel.
        power: [rows, columns], float32; row 0 is the lowest frequency, DC left out; columns span the whole
            file.
    """

    def __init__(self, rate: int, frames: int, *, columns: int = 1600, rows: int = 512) -> None:
        if rate < 1 or frames < 1:
            raise OptionError(f"a spectrogram needs a rate and audio, not {rate} Hz and {frames} frames")
        self.rate, self.frames = rate, frames
        self._n_fft = max(256, 2 ** round(math.log2(rate * N_FFT / 48000)))
        self._hop = min(self._n_fft // 4, max(64, frames // columns))
        rows, columns = min(rows, self._n_fft // 2), min(columns, math.ceil(frames / self._hop))
        self.power = np.zeros((rows, columns), np.float32)
        self._window = torch.hann_window(self._n_fft)
        self._pending: Tensor | None = None
        self._received = 0
        self._analysed = 0

    def update(self, position: int, block: Tensor | NDArray[np.floating]) -> None:
        """Add the next block, [channels, samples], which starts at sample `position` of the file.

        Raises OptionError for a block that is not the next one or that runs past the end.
        """
        audio = torch.as_tensor(block).float()
        if position != self._received or position + audio.shape[-1] > self.frames:
            raise OptionError(
                f"spectrogram blocks come in order: expected sample {self._received} of {self.frames}, "
                f"got {position} to {position + audio.shape[-1]}"
            )
        self._received += audio.shape[-1]
        half = self._n_fft // 2
        # Mirrored ends: a cut to silence in mid-sound would splatter over the whole band.
        before = _mirror(audio, half) if self._pending is None else self._pending
        audio = torch.cat([before, audio], dim=-1)
        if self._received == self.frames:
            audio = torch.cat([audio, _mirror(audio.flip(-1), half + self._n_fft).flip(-1)], dim=-1)
        self._pending = self._analyse(audio)

    def decibels(self, floor: float = -160.0) -> NDArray[np.float32]:
        """Return the map in dB relative to a full-scale sine, [rows, columns], not below `floor`."""
        levels: NDArray[np.float32] = 10 * np.log10(np.maximum(self.power, np.float32(10 ** (floor / 10))))
        return levels

    def _analyse(self, audio: Tensor) -> Tensor:
        """Pool every complete frame of [channels, samples] and return the samples that later frames need."""
        count = (audio.shape[-1] - self._n_fft) // self._hop + 1
        count = min(count, math.ceil(self.frames / self._hop) - self._analysed)
        if count <= 0:
            return audio
        for first in range(0, count, 1024):  # bounds memory whatever the block length
            stop = min(count, first + 1024)
            span = audio[:, first * self._hop : (stop - 1) * self._hop + self._n_fft]
            self._pool(span.unfold(-1, self._n_fft, self._hop))
        return audio[:, count * self._hop :]

    def _pool(self, framed: Tensor) -> None:
        """Max-pool frames [channels, count, n_fft] that follow those analysed so far."""
        spectrum = torch.fft.rfft(framed * self._window)[..., 1:]
        power = (spectrum.abs() * (2 / float(self._window.sum()))).square().mean(0).numpy()
        rows, columns = self.power.shape
        pooled = np.maximum.reduceat(power, pool_edges(power.shape[1], rows), axis=1)
        centres = (self._analysed + np.arange(len(pooled))) * self._hop
        np.maximum.at(self.power.T, centres * columns // self.frames, pooled)
        self._analysed += len(pooled)


def _mirror(audio: Tensor, count: int) -> Tensor:
    """Return `count` samples that lead into [channels, samples]: its start turned about its first sample.

    That keeps value and slope; what lies before it is zeros.
    """
    turned = 2 * audio[:, :1] - audio[:, 1 : count + 1].flip(-1)
    return pad(turned, (count - turned.shape[-1], 0))
