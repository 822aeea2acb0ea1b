"""Crossover: the input's own band below, the generated one above, summing to the whole without delay.

The low-pass is linear-phase and the high-pass is its complement (a delta minus it), so the pair sums to a
pure delay, which is removed. Below the transition the output nulls against the input.
"""

from typing import TypeVar

import numpy as np
import torch
from scipy import fft, signal

from ttsr_studio.errors import OptionError

_STOPBAND_DB = 112.0  # some margin over the -96 dB of 16 bits and the -110 dB asked of the merge

Audio = TypeVar("Audio", np.ndarray, torch.Tensor)


def transition_hz(cutoff_hz: float) -> float:
    """Return the width of the transition, which ends at the cutoff: 1 kHz, less for cutoffs below 4 kHz."""
    return min(1000.0, 0.25 * cutoff_hz)


class Crossover:
    """A complementary pair at ``[cutoff - transition, cutoff]`` Hz; ``.taps`` is odd, ``.pad`` its half."""

    def __init__(self, cutoff_hz: float, rate: int) -> None:
        """Raises OptionError unless ``0 < cutoff_hz <= rate / 2``."""
        if not 0.0 < cutoff_hz <= rate / 2:
            raise OptionError(f"crossover at {cutoff_hz:g} Hz does not fit {rate} Hz; half is the limit")
        width = transition_hz(cutoff_hz)
        taps, beta = signal.kaiserord(_STOPBAND_DB, width / (rate / 2))
        self.cutoff_hz = cutoff_hz
        self.rate = rate
        self.taps = taps | 1
        self.pad = self.taps // 2
        self.low = signal.firwin(self.taps, cutoff_hz - width / 2, window=("kaiser", beta), fs=rate)

    def merge(self, lr: Audio, generated: Audio) -> Audio:
        """Return ``lr`` below and ``generated`` above the crossover; all are float32 ``[..., samples]``.

        The first and last ``pad`` samples mix with the zeros outside: give that much context and drop it.
        """
        if isinstance(lr, np.ndarray):
            return self.merge(torch.from_numpy(lr), torch.from_numpy(generated)).numpy()
        samples = lr.shape[-1]
        size = fft.next_fast_len(samples + self.taps - 1, real=True)
        low = torch.from_numpy(self.low).to(lr.device, lr.dtype)
        # by FFT, since a GPU's convolutions round to TF32 (-60 dB) unless told otherwise
        spectrum = torch.fft.rfft(lr - generated, size) * torch.fft.rfft(low, size)
        whole: torch.Tensor = generated + torch.fft.irfft(spectrum, size)[..., self.pad : self.pad + samples]
        return whole
