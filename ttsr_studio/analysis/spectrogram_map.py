"""A spectrogram of a whole file, gathered while it streams by."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ttsr_studio.analysis.spectra import N_FFT, pool_edges
from ttsr_studio.errors import OptionError


class SpectrogramMap:
    """A spectrogram of bounded size for a file of any length, fed block by block.

    Frames are about 43 ms at any rate; the hop shrinks for short files. Power is averaged over channels, scaled so that
    a full-scale sine is 1, and max-pooled to cells, so a click of one frame stays visible in an hour of audio.

    Attributes:
        rate: Hz.
        frames: length of the file, samples per channel.
        power: [rows, columns], float32; row 0 is the lowest frequency, DC left out; columns span the whole file.
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
        """The map in dB relative to a full-scale sine, [rows, columns], not below `floor`."""
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
    """`count` samples that lead into [channels, samples]: its start turned about its first sample.

    That keeps value and slope; what lies before it is zeros.
    """
    turned = 2 * audio[:, :1] - audio[:, 1 : count + 1].flip(-1)
    return pad(turned, (count - turned.shape[-1], 0))
