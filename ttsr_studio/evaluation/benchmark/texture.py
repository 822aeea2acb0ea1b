"""Texture above the cutoff: how much of it stands out as partials, and how much as hits.

Conventions: power spectrograms [channels, bins, frames] of the truth and of an output (n_fft 2048, hop 512, Hann,
48 kHz), in bands of 1 kHz, channels apart. Both contrasts are in units of log10 power (1.0 is 10 dB), no less than 0.

tonal contrast: standard deviation of log10 power over a band's bins, a frame at a time. White noise has .55 at any
    level (log10 of an exponential variable has pi / sqrt(6) / ln 10 = .557), partials with gaps between them more.
onset contrast: standard deviation of a band's log10 power over 9 frames (96 ms). Steady noise has .08, hits and
    consonants .5 and more.

What counts goes by the truth alone, for both: frames within 60 dB of the band's loudest one, and over -90 dB; for onset
contrast, 9 frames of which one counts. Nothing is quieter than that floor (bins of a frame: 20 dB below it), so that
what nobody hears, such as the rest that a filter leaves of the truth, has no contrast.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ttsr_studio.evaluation.benchmark.energies import FLOOR_DB, POWER_OF_ENERGY

ACTIVE_RANGE = 1e-6
"""Frames within 60 dB of the loudest."""

PARTIAL_GAP = 1e-2
"""Bins may be so far below the floor of frames: gaps between the partials of a frame that only just counts."""

FRAMES = 9


@dataclass(frozen=True)
class Texture:
    """Mean contrasts over bands, frames and channels; NaN where nothing counts."""

    tonal_contrast: float
    onset_contrast: float


def textures(true: Tensor, made: Tensor, bands: Sequence[slice]) -> tuple[Texture, Texture]:
    """The textures of a truth and an output of one shape, [channels, bins, frames]."""
    tonal: list[list[Tensor]] = [[], []]
    onset: list[list[Tensor]] = [[], []]
    for band in bands:
        powers = true[:, band].double(), made[:, band].double()
        level = powers[0].mean(1)
        silence = 10 ** (FLOOR_DB / 10) * POWER_OF_ENERGY / powers[0].shape[1]
        floor = (level.amax(-1, keepdim=True) * ACTIVE_RANGE).clamp_min(silence)
        active = level > floor
        for i, power in enumerate(powers):
            tonal[i].append(tonal_contrast(power, floor)[active])
            onset[i].append(onset_contrast(power, floor)[counting_windows(active)])
    return texture(tonal[0], onset[0]), texture(tonal[1], onset[1])


def tonal_contrast(power: Tensor, floor: Tensor) -> Tensor:
    """By frame: [channels, bins, frames] and [channels, 1] -> [channels, frames]."""
    return torch.maximum(power, floor[..., None] * PARTIAL_GAP).log10().std(1, correction=0)


def onset_contrast(power: Tensor, floor: Tensor) -> Tensor:
    """By 9 frames: [channels, bins, frames] and [channels, 1] -> [channels, frames - 8]; none when there are fewer."""
    level = torch.maximum(power.mean(1), floor).log10()
    return level[:, :0] if level.shape[1] < FRAMES else level.unfold(1, FRAMES, 1).std(-1, correction=0)


def counting_windows(active: Tensor) -> Tensor:
    """Which 9 frames hold one that counts."""
    return active[:, :0] if active.shape[1] < FRAMES else active.unfold(1, FRAMES, 1).any(-1)


def texture(tonal: Sequence[Tensor], onset: Sequence[Tensor]) -> Texture:
    """The means of what was collected; that of nothing is NaN."""
    empty = torch.zeros(0, dtype=torch.float64)
    return Texture(float(torch.cat([empty, *tonal]).mean()), float(torch.cat([empty, *onset]).mean()))
