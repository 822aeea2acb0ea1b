"""The ceiling of every engine that draws noise: the truth's own envelope under noise.

White noise takes the energy of the truth in cells of 375 Hz by 5.3 ms above the cutoff. Whoever predicts that envelope
without a fault, and no phase, partial or coherence between channels, sounds like this; what is left to the truth is
what an envelope cannot say. Channels draw noise of their own, so it is no bound for the inter-channel correlation.
"""

import numpy as np
import torch
from torch import Tensor

from ttsr_studio.audio.crossover import Crossover
from ttsr_studio.evaluation.benchmark.dataset import RATE, Audio

CELL_FFT = 512
CELL_HOP = 256
BINS = 4
"""Of a band: 375 Hz; DC belongs to none and stays silent."""

SEED = 375
"""Any, but not one that a synthetic clip is likely to be drawn with: its noise must not be the truth's."""

SILENT_ENERGY = 1e-20


def ceiling(lr: Audio, truth: Audio, edge_hz: float) -> Audio:
    """Fill the band above `edge_hz` with noise under the truth's envelope.

    Args:
        lr: [channels, samples] at 48 kHz, band-limited.
        truth: the same shape, full-band.
        edge_hz: up to where `lr` holds the original; above, it is replaced.

    Returns:
        The same shape; below the crossover at the edge it is `lr` itself. Alike for the same arguments.
    """
    draw = np.random.default_rng(SEED).standard_normal(truth.shape).astype(np.float32)
    window = torch.hann_window(CELL_FFT)
    target, noise = (
        torch.stft(torch.from_numpy(x), CELL_FFT, CELL_HOP, window=window, pad_mode="constant", return_complex=True)
        for x in (np.ascontiguousarray(truth), draw)
    )
    gain = (cells(target) / cells(noise).clamp_min(SILENT_ENERGY)).sqrt()
    shaped = torch.zeros_like(noise)
    shaped[:, 1:] = noise[:, 1:] * gain.repeat_interleave(BINS, dim=1)
    generated = torch.istft(shaped, CELL_FFT, CELL_HOP, window=window, length=truth.shape[1])
    merged: Audio = Crossover(edge_hz, RATE).merge(lr, generated.numpy())
    return merged


def cells(stft: Tensor) -> Tensor:
    """Energy of bands of `BINS` bins: [channels, bins, frames] -> [channels, bands, frames], without DC."""
    channels, bins, frames = stft.shape
    return stft[:, 1:].abs().square().reshape(channels, (bins - 1) // BINS, BINS, frames).sum(2)
