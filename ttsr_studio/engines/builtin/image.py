"""How wide a recording is above its cutoff: a small network that predicts the correlation of two channels by band.

Channels are compared just below the cutoff (`carriers.correlations`), and what is missing is not always like that:
cymbals and rooms are wider than voices and guitars below them. From the correlation of all bands below the cutoff, over
.3 s and over seconds, this network says by how much every band differs from the band next to the cutoff. It is odd in
the correlations: a channel turned upside down turns what is predicted, and where nothing is alike nothing is made so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.engines.builtin.levels import LEVEL_FRAMES, level_cutoffs
from ttsr_studio.engines.builtin.spectral import (
    BAND_BINS,
    BAND_HZ,
    BANDS,
    FAST_FFT,
    FAST_HOP,
    HOP,
    RATE,
    band_centres,
    power,
    stft,
)
from ttsr_studio.weights.layers import dense, dense_gelu

GROUPS, GROUP_OCTAVES = 16, 0.3
"""Bands below the cutoff are heard in so many overlapping groups, so far apart."""

NEAR_REACH, FAR_REACH = 1, 14
"""Level frames of 107 ms on either side over which channels are compared: .3 s and 3.1 s."""

EDGE_TERMS = 4
"""Sines and cosines of the cutoff that a frame is told."""

TURNED, UNTURNED = 2 * GROUPS, 4 * GROUPS + 2 * EDGE_TERMS
"""What a frame is told: correlations, which turn with a channel, and levels and the cutoff, which do not."""

MOST_ALIKE = 0.9995
QUIETEST = 1e-9


class PairPowers(NamedTuple):
    """Two channels by band and level frame, all [P, 64, N]: mean powers, and the mean of their in-phase product."""

    first: Tensor
    second: Tensor
    cross: Tensor

    def around(self, reach: int) -> "PairPowers":
        """Means over so many frames on either side."""
        return PairPowers(*(F.avg_pool1d(x, 2 * reach + 1, 1, reach, count_include_pad=False) for x in self))

    def correlation(self) -> Tensor:
        """From -1 to 1, 0 where one of them is silent, [P, 64, N]."""
        return (self.cross / ((self.first * self.second).sqrt() + QUIETEST)).clamp(-MOST_ALIKE, MOST_ALIKE)


def pair_powers(first: Tensor, second: Tensor) -> PairPowers:
    """Audio [P, samples] of two channels -> their powers; a level frame that is not whole at the end is left out."""

    def by_cell(bins: Tensor) -> Tensor:
        bands = bins.unflatten(1, (BANDS, BAND_BINS)).mean(2)
        mean: Tensor = bands.unflatten(-1, (-1, LEVEL_FRAMES)).mean(-1)
        return mean

    frames = first.shape[-1] // FAST_HOP // LEVEL_FRAMES * LEVEL_FRAMES
    a, b = (stft(audio, FAST_FFT, FAST_HOP)[:, 1:, :frames] for audio in (first, second))
    return PairPowers(by_cell(power(a)), by_cell(power(b)), by_cell(a.real * b.real + a.imag * b.imag))


class ImageNetwork(nn.Module):
    """Two channels below their cutoff -> by how much bands differ from the one next to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(TURNED + UNTURNED, width)
        self.inner = nn.Linear(width, width)
        self.leave = nn.Linear(width, BANDS)
        nn.init.zeros_(self.leave.weight)

    def forward(self, heard: PairPowers, cutoff_hz: Tensor) -> Tensor:
        """Powers and cutoffs [P, N], Hz -> what is added to the inverse hyperbolic tangent of the correlation, [P, 64,
        N]."""
        turned, levels = told_below(heard, cutoff_hz)
        turn = (cutoff_hz * (2 / RATE)).log()[:, None] * (math.pi / 2)
        edge = [part for k in range(1, EDGE_TERMS + 1) for part in ((k * turn).sin(), (k * turn).cos())]
        told_beside = torch.cat([levels, *edge], dim=1)
        both = [self._half(torch.cat([sign * turned, told_beside], dim=1)) for sign in (1, -1)]
        return 0.5 * (both[0] - both[1])

    def _half(self, given: Tensor) -> Tensor:
        x = dense_gelu(self.enter, given.transpose(1, 2).contiguous())
        x = x + dense_gelu(self.inner, x)
        found: Tensor = dense(self.leave, x).transpose(1, 2).float()
        return found


def told_below(heard: PairPowers, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
    """What turns with a channel, [P, 32, N], and what does not, [P, 64, N]; both of groups below the cutoff."""
    device = cutoff_hz.device
    below = (cutoff_hz[:, None] / band_centres(device)[:, None]).log2()[:, None]
    tops = (torch.arange(BANDS, device=device) + 1) * BAND_HZ
    known = (tops[:, None] <= cutoff_hz[:, None])[:, None]
    centres = torch.arange(GROUPS, device=device)[:, None, None] * GROUP_OCTAVES + 0.1
    weight = (1 - (below - centres).abs() / GROUP_OCTAVES).clamp(min=0) * known
    alike, levels = [], []
    for reach in (NEAR_REACH, FAR_REACH):
        grouped = PairPowers(*((weight * x[:, None]).sum(2) for x in heard.around(reach)))
        alike.append(grouped.correlation().atanh() / 2)
        total = (grouped.first + grouped.second + QUIETEST).log()
        lean = ((grouped.first + QUIETEST) / (grouped.second + QUIETEST)).log().abs().clamp(max=6)
        levels += [(total - total.mean(1, keepdim=True)) / 4, lean / 4]
    return torch.cat(alike, dim=1), torch.cat(levels, dim=1)


def over_fast_frames(found: Tensor, frames: int, lead: int) -> Tensor:
    """By level frame [P, 64, N] -> by fast frame [P, 64, frames], linear between; they begin `lead` fast frames in."""
    place = (torch.arange(frames, device=found.device) + lead + 0.5) / LEVEL_FRAMES - 0.5
    place = place.clamp(0, found.shape[-1] - 1)
    low = place.long().clamp(max=max(found.shape[-1] - 2, 0))
    course: Tensor = torch.lerp(found[..., low], found[..., (low + 1).clamp(max=found.shape[-1] - 1)], place - low)
    return course


@dataclass(frozen=True)
class ChannelPairs:
    """Windows of audio [W, C, samples] and cutoffs [W, C, T] with as much on either side as the level network hears.

    Attributes:
        begins: slow frames after which level frames begin, by window.
    """

    audio: Tensor
    cutoff_hz: Tensor
    begins: Sequence[int]


def by_band(
    network: ImageNetwork,
    near: Tensor,
    windows: ChannelPairs,
    batches: Callable[[int, Callable[[int, int], Tensor]], list[Tensor]],
) -> Tensor:
    """Correlations of channels next to the cutoff [W, C, C, frames] -> by band, [W, C, C, 64, frames].

    Args:
        batches: calls for rows from one to another, as many at a time as fit.
    """
    frames, around = near.shape[-1], windows.cutoff_hz.shape[-1] - (near.shape[-1] + 1) // 2
    pairs = list(combinations(range(windows.audio.shape[1]), 2))
    first, second = (windows.audio[:, list(side)].flatten(0, 1) for side in zip(*pairs, strict=True))
    cutoff_hz = torch.stack([windows.cutoff_hz[:, pair].amin(1) for pair in pairs], dim=1).flatten(0, 1)
    begins = [begin for begin in windows.begins for _ in pairs]

    def found(rows: slice) -> Tensor:
        late = begins[rows.start]
        heard = pair_powers(first[rows, late * HOP :], second[rows, late * HOP :])
        by = network(heard, level_cutoffs(cutoff_hz[rows, late:], heard.cross.shape[-1]))
        return over_fast_frames(by, frames, around - 2 * late)

    def of_rows(start: int, stop: int) -> Tensor:
        return torch.cat([found(rows) for rows in runs(begins, start, stop)])

    by = torch.cat(batches(len(begins), of_rows)).unflatten(0, (len(near), -1))
    wanted = near[:, :, :, None].repeat(1, 1, 1, BANDS, 1)
    for number, (i, j) in enumerate(pairs):
        wanted[:, i, j] = wanted[:, j, i] = wider(near[:, i, j, None], by[:, number])
    return wanted


def runs(values: Sequence[int], start: int, stop: int) -> list[slice]:
    """Where neighbours in values[start:stop] are equal."""
    changes = [i for i in range(start + 1, stop) if values[i] != values[i - 1]]
    return [slice(*ends) for ends in pairwise([start, *changes, stop])]


def wider(near: Tensor, by: Tensor) -> Tensor:
    """Correlations next to the cutoff [...], changed by what the network says of every band; alike stays alike."""
    inside = near.clamp(-MOST_ALIKE, MOST_ALIKE)
    return torch.where(near.abs() == 1, near, (inside.atanh() + by).tanh())
