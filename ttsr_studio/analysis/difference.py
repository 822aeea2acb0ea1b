"""In what renders of one input differ above its cutoff: how far they are apart, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.analysis.spectra import N_FFT, bins_between, power_spectrogram

FLOOR = 1e-7
"""Power of a bin under which nothing is heard; cells are compared above it."""

FRAMES = 9
"""In which an onset is told from what is around it, 96 ms at 48 kHz."""

LEVEL_DB, TONAL, ONSET = 0.3, 0.01, 0.01
"""The least that is put into words: dB, and log10 power of contrasts."""


@dataclass(frozen=True)
class Character:
    """What a render is like above the cutoff.

    Attributes:
        level_db: mean over its bands of the level of their mean power, so that the loud moments count, as for an ear.
        tonal: standard deviation of log10 power over the bins of a frame, less its slope: partials have more of it.
        onset: standard deviation of a band's log10 power over 96 ms: hits have more of it.
    """

    level_db: float
    tonal: float
    onset: float

    def beside(self, other: "Character") -> str:
        """How this one differs from another, in words."""
        pairs = (
            (self.level_db - other.level_db, LEVEL_DB, "brighter", "darker"),
            (self.tonal - other.tonal, TONAL, "more tone", "more breath"),
            (self.onset - other.onset, ONSET, "harder hits", "softer hits"),
        )
        words = [more if off > 0 else less for off, least, more, less in pairs if abs(off) >= least]
        return ", ".join(words) or "hardly different"


def character(audio: Tensor, cutoff_hz: float, rate: int) -> Character:
    """That of audio [channels, samples]."""
    logs = heard_cells(power_spectrogram(audio)[..., bins_between(min(cutoff_hz, rate / 2 - 100), None, rate), :])
    levels = logs @ smoothing(logs.shape[-1], logs.device)
    tonal = (logs - levels).std(-1, correction=0).mean()
    across = levels.unfold(1, min(FRAMES, levels.shape[1]), 1)
    loud = 10 * float((10**levels).mean(1).log10().mean())
    return Character(loud, float(tonal), float(across.std(-1, correction=0).mean()))


def band_description(power: Tensor, cutoff_hz: float, rate: int) -> NDArray[np.float64]:
    """What a power spectrogram [channels, bins, frames] is like above the cutoff, [F].

    By bands as wide as the ear's: their mean levels in dB; then how much the bins of a band differ at a time (partials
    have more of it), and how much a band changes within 96 ms (hits have more), both of log10 power, means over bands.
    """
    bins = bins_between(min(cutoff_hz, rate / 2 - 100), None, rate)
    logs = heard_cells(power[..., bins, :])
    means = erb_bands(bins.start, bins.stop, rate).to(logs).T
    levels = logs @ means
    tonal = (logs.square() @ means - levels.square()).clamp_min(0).sqrt().mean()
    onset = levels.unfold(1, min(FRAMES, levels.shape[1]), 1).std(-1, correction=0).mean()
    return np.array([*(10 * levels.mean(dim=(0, 1))).tolist(), float(tonal), float(onset)], np.float64)


def band_distances(cores: Tensor, cutoff_hz: float, rate: int) -> NDArray[np.float64]:
    """How far candidates [N, channels, samples] are apart, [N, N], dB: over cells as wide as the ear's bands, 11 ms."""
    # One by one: a spectrogram takes twice the memory of its audio.
    return cell_distances(torch.stack([band_cells(core, cutoff_hz, rate) for core in cores]))


def band_cells(core: Tensor, cutoff_hz: float, rate: int) -> Tensor:
    """Levels of a candidate [channels, samples] in those cells, [cells], dB."""
    bins = bins_between(min(cutoff_hz, rate / 2 - 100), None, rate)
    power = power_spectrogram(core)[..., bins, :]
    bands = erb_bands(bins.start, bins.stop, rate).to(power)
    return 10 * (torch.einsum("eb,cbt->cet", bands, power) + FLOOR).log10().flatten()


def cell_distances(cells: Tensor) -> NDArray[np.float64]:
    """Root mean square differences of [N, cells], [N, N]."""
    return np.asarray((torch.cdist(cells, cells) / cells.shape[1] ** 0.5).double().cpu().numpy(), np.float64)


def spread_out(quality: NDArray[np.float64], distance: NDArray[np.float64], first: int, count: int) -> list[int]:
    """Choose `count` of N that are good and differ: quality and pairwise distance together.

    Group inference (Parmar et al. 2025, "Scaling group inference for diverse and high-quality generation", arXiv
    2508.15773) maximises the sum of single qualities and of pairwise distances; here greedily, from a first one on,
    both in standard deviations. What has no quality (-inf) comes last.

    Args:
        quality: [N], higher is better. distance: [N, N], 0 on the diagonal.
    """
    known = np.isfinite(quality)
    spread = float(quality[known].std()) if known.any() else 0.0
    z = np.where(known, (quality - quality[known].mean()) / spread if spread > 1e-12 else 0.0, -1e9)
    others = distance[~np.eye(len(distance), dtype=bool)]
    unit = float(others.std()) if len(others) else 0.0
    chosen = [first]
    while len(chosen) < min(count, len(quality)):
        gain = z + (distance[:, chosen].mean(axis=1) / unit if unit > 1e-12 else 0.0)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def heard_cells(power: Tensor) -> Tensor:
    """Power [channels, bins, frames] -> log10 above the floor, [channels, frames, bins]."""
    return power.clamp_min(FLOOR).log10().transpose(1, 2)


@lru_cache(maxsize=8)
def smoothing(bins: int, device: torch.device, width: int = 43) -> Tensor:
    """What takes bins to their mean over 1 kHz around, [bins, bins]."""
    place = torch.arange(bins, device=device)
    near = ((place[:, None] - place[None]).abs() <= width // 2).float()
    return near / near.sum(0, keepdim=True)


@lru_cache(maxsize=8)
def erb_bands(start: int, stop: int, rate: int) -> Tensor:
    """Means of bins from start to stop over bands as wide as the ear's (Glasberg and Moore 1990), [bands, bins]."""
    hz = torch.arange(start, stop) * (rate / N_FFT)
    number = (21.4 * torch.log10(1 + 0.00437 * hz)).floor()
    number = (number - number[0]).long()
    member = torch.nn.functional.one_hot(number).T.float()
    member = member[member.sum(1) > 0]
    return member / member.sum(1, keepdim=True)


def character_words(renders: Sequence[Tensor], cutoff_hz: float, rate: int) -> list[str]:
    """What every render [channels, samples] but the first is beside the first, in words; nothing for the first."""
    every = [character(render, cutoff_hz, rate) for render in renders]
    return ["", *(each.beside(every[0]) for each in every[1:])]
