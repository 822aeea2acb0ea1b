"""How loud every band of a recording is over half a second: a small network of its own beside the conditioner.

The conditioner knows where energy is from cell to cell, and least of all how bright a recording is as a whole. For that
one number a band, few parameters and very many different recordings count, so this network sees nothing but mean
energies every 107 ms, which can be mixed, tilted and shifted in pitch while training without any audio
(`ttsr_studio.training.levels`). Its levels and the conditioner's are averaged: two estimates that err differently are
nearer to the truth than either.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.engines.builtin.spectral import (
    BAND_BINS,
    BAND_HZ,
    BANDS,
    FAST_FFT,
    FAST_HOP,
    POWER_FLOOR,
    RATE,
    by_frame,
    power,
    stft,
)
from ttsr_studio.weights.layers import dense, dense_gelu, product

LEVEL_FRAMES = 20
"""Fast frames of a level frame, 107 ms. Windows begin at whole level frames, so that all of them see the same ones."""

LEVEL_BINS = FAST_FFT // 2
"""Bins of the fast STFT without 0 Hz."""

REACH = 15
"""Level frames that are heard on either side, 1.6 s; what lies further has next to no part in a frame."""

SMOOTH_REACH = 2
"""Level frames on either side over which levels are compared, .5 s in all."""

QUIETEST = 1e-10
"""Power under which a bin is not told from silence."""

EDGE_TERMS = 5
"""Sines and cosines of the cutoff that a frame is told."""

TOLD = 3 * (LEVEL_BINS + BANDS) + LEVEL_BINS + 2 * EDGE_TERMS
"""What a frame is told: powers and gaps of itself and its neighbours, which bins are known, the cutoff."""

AROUND_CHANNELS = 128


class BandLevels(NamedTuple):
    """What is measured of audio for `LevelNetwork`, by level frame.

    Attributes:
        power: natural log of the mean power of every bin, [B, 256, N].
        gap: mean of the log of a band's cells less the log of their mean, [B, 64, N]; 0 for a steady tone, -.2 for
            noise, far less where hits stand out of silence.
    """

    power: Tensor
    gap: Tensor

    def energy(self) -> Tensor:
        """Mean log energy of every band's cells, [B, 64, N]: what is predicted."""
        return (band_means(self.power.exp()) + POWER_FLOOR).log() + self.gap


def band_means(bins: Tensor) -> Tensor:
    """By bin [B, 256, N] -> mean by band [B, 64, N]."""
    mean: Tensor = bins.unflatten(1, (BANDS, BAND_BINS)).mean(2)
    return mean


def heard_levels(audio: Tensor) -> BandLevels:
    """audio [B, samples] -> its levels; what is left over at the end belongs to the last level frame."""
    fast = power(stft(audio, FAST_FFT, FAST_HOP))[:, 1:]
    short = -fast.shape[-1] % LEVEL_FRAMES
    fast = F.pad(fast, (0, short), mode="replicate").unflatten(-1, (-1, LEVEL_FRAMES))
    cells = fast.unflatten(1, (BANDS, BAND_BINS)).mean(2) + POWER_FLOOR
    return BandLevels((fast.mean(-1) + QUIETEST).log(), cells.log().mean(-1) - cells.mean(-1).log())


def level_cutoffs(cutoff_hz: Tensor, frames: int) -> Tensor:
    """Cutoffs [B] or [B, T] (by slow frame), Hz -> the lowest of every level frame, [B, N]."""
    slow = LEVEL_FRAMES // 2
    by_slow = by_frame(cutoff_hz, frames * slow)
    short = max(frames * slow - by_slow.shape[-1], 0)
    whole = F.pad(by_slow, (0, short), mode="replicate")[:, 0, : frames * slow]
    lowest: Tensor = whole.unflatten(-1, (frames, slow)).amin(-1)
    return lowest


class FrameMixing(nn.Module):
    """Two dense layers, residual, [B, N, C] -> the same; it begins as no change."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + dense(self.down, dense_gelu(self.up, self.norm(x)))


class LevelsAround(nn.Module):
    """Gated means and deviations of the frames within `REACH`, given to each, [B, N, C] -> the same."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 2 * channels), nn.Linear(2 * channels, width)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        value, gate = dense(self.enter, self.norm(x)).float().chunk(2, dim=-1)
        share = gate.sigmoid()
        sums = product(torch.cat([share, value * share, value.square() * share], dim=-1).transpose(1, 2), near)
        total, first, second = sums.float().transpose(1, 2).chunk(3, dim=-1)
        mean = first / (total + 0.05)
        spread = (second / (total + 0.05) - mean.square()).clamp(min=1e-4).sqrt()
        return x + dense(self.leave, torch.cat([mean, spread], dim=-1))


def triangle(frames: int, device: torch.device) -> Tensor:
    """Weights of frames around each, a triangle of `REACH`, [N, N]."""
    place = torch.arange(frames, device=device)
    return (1 - (place[:, None] - place).abs() / (REACH + 1)).clamp(min=0)


class LevelNetwork(nn.Module):
    """Levels of the input under its cutoff -> mean log energy of all bands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(TOLD, width)
        self.before = nn.Sequential(FrameMixing(width), FrameMixing(width))
        self.after = nn.Sequential(FrameMixing(width), FrameMixing(width))
        self.around = LevelsAround(width, AROUND_CHANNELS)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, BANDS)
        nn.init.zeros_(self.leave.weight)

    def forward(self, heard: BandLevels, cutoff_hz: Tensor, kept: Tensor | None = None) -> Tensor:
        """Levels of the input and its cutoffs [B, N], Hz -> mean log energy, [B, 64, N], in the input's own gain.

        Args:
            kept: of what a frame is told, 0 where it is withheld, [B, 1, C]; for training.
        """
        hz = (torch.arange(LEVEL_BINS, device=cutoff_hz.device) + 1) * (RATE / FAST_FFT)
        tops = (torch.arange(BANDS, device=cutoff_hz.device) + 1) * BAND_HZ
        known = (hz[:, None] <= cutoff_hz[:, None]).float()
        known_bands = (tops[:, None] <= cutoff_hz[:, None]).float()
        near = triangle(cutoff_hz.shape[-1], cutoff_hz.device)
        low = (heard.power.exp() * known).mean(1)
        own = (product(low, near) / near.sum(0) + POWER_FLOOR).log()[:, None]
        bins = (0.2 * (heard.power - own).clamp(-18, 8) + 1.2) * known
        now = torch.cat([bins, (heard.gap + 0.5) * known_bands], dim=1).transpose(1, 2)
        before, after = now[:, :1], now[:, -1:]
        turn = (cutoff_hz * (2 / RATE)).log()[..., None] * torch.arange(1, EDGE_TERMS + 1, device=cutoff_hz.device)
        told = [now, torch.cat([before, now[:, :-1]], dim=1), torch.cat([now[:, 1:], after], dim=1)]
        x = torch.cat([*told, known.transpose(1, 2), turn.sin(), turn.cos()], dim=-1)
        frames = dense(self.enter, x if kept is None else x * kept)
        frames = self.after(self.around(self.before(frames), near))
        found: Tensor = 4 * dense(self.leave, self.norm(frames)).transpose(1, 2).float() - 6 + own
        return found


def slow_course(levels: Tensor) -> Tensor:
    """Mean over `SMOOTH_REACH` on either side, [B, 64, N] -> the same."""
    size = 2 * SMOOTH_REACH + 1
    return F.avg_pool1d(levels, size, 1, SMOOTH_REACH, count_include_pad=False)


def corrected(location: Tensor, levels: Tensor, share: float, lead: int = 0) -> Tensor:
    """What is added to log energies, [B, 64, 2T], so that over half a second they are a share nearer to levels.

    Args:
        location: predicted log energy of fast cells, [B, 64, 2T].
        levels: predicted by `LevelNetwork`, [B, 64, N].
        lead: fast frames by which the levels begin before the location.
    """
    before, fast = lead % LEVEL_FRAMES, location.shape[-1]
    levels = levels[..., lead // LEVEL_FRAMES :]
    frames = levels.shape[-1]
    short = max(frames * LEVEL_FRAMES - fast - before, 0)
    whole = F.pad(location, (before, short), mode="replicate")[..., : frames * LEVEL_FRAMES]
    off = share * slow_course(levels - whole.unflatten(-1, (frames, LEVEL_FRAMES)).mean(-1))
    place = (torch.arange(fast, device=location.device) + before + 0.5) / LEVEL_FRAMES - 0.5
    low = place.floor().clamp(0, max(frames - 2, 0)).long()
    course: Tensor = torch.lerp(off[..., low], off[..., (low + 1).clamp(max=frames - 1)], (place - low).clamp(0, 1))
    return course
