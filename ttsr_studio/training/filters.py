"""What takes the top from training audio: analogue low-passes of many families, and a codec's spectral holes."""

from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from torch import Tensor
from torch.nn import functional as F

KERNEL_GRID = 512
GRID_FROM, GRID_TO = 1e-2, 64.0

ZeroPoleGain = tuple[np.ndarray, np.ndarray, float]

DESIGNS: dict[str, Callable[[int, float], ZeroPoleGain]] = {
    "butter": lambda order, _ripple: scipy.signal.butter(order, 1.0, analog=True, output="zpk"),
    "cheby1": lambda order, ripple: scipy.signal.cheby1(order, ripple, 1.0, analog=True, output="zpk"),
    "ellip": lambda order, ripple: scipy.signal.ellip(order, ripple, 70, 1.0, analog=True, output="zpk"),
    "bessel": lambda order, _ripple: scipy.signal.bessel(order, 1.0, analog=True, output="zpk", norm="mag"),
}
"""Analogue low-passes of an order and a ripple (dB), cutting off at 1."""


def filter_bank(count: int = 240) -> Tensor:
    """Random analogue low-passes, level in dB [count, 512] over frequency / design frequency from .01 to 64 (log).

    Families and orders follow AudioSR and NU-Wave 2.
    """
    rng = np.random.default_rng(0)
    grid = np.geomspace(GRID_FROM, GRID_TO, KERNEL_GRID)
    bank = []
    for _ in range(count):
        order, ripple = int(rng.integers(4, 11)), float(rng.uniform(0.05, 1.0))
        family = str(rng.choice(list(DESIGNS), p=[0.34, 0.25, 0.25, 0.16]))
        _, response = scipy.signal.freqs_zpk(*DESIGNS[family](order, ripple), worN=grid)
        bank.append(20 * np.log10(np.abs(response) + 1e-9))
    return torch.from_numpy(np.stack(bank)).float()


def with_holes(lr: Tensor, depth_db: float) -> Tensor:
    """Input [samples] with cells emptied as a codec does: those well below their neighbours, above 2 kHz."""
    window = torch.hann_window(1024, device=lr.device)
    spectrum = torch.stft(lr, 1024, 512, window=window, return_complex=True)
    cells = torch.view_as_real(spectrum[1:]).square().sum(-1).unflatten(0, (64, 8)).mean(1)
    around = F.max_pool2d(cells[None], (9, 3), stride=1, padding=(4, 1))[0]
    kept = (cells >= around * 10 ** (-depth_db / 10)) | (torch.arange(64, device=lr.device)[:, None] < 5)
    mask = F.pad(kept.float().repeat_interleave(8, dim=0), (0, 0, 1, 0), value=1.0)
    return torch.istft(spectrum * mask, 1024, 512, window=window, length=lr.numel())
