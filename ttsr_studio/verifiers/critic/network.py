"""The critic's network: what the band above the cutoff should be like, given the band below, and how sure that is.

For a truth unknown but for its mean and variance given the input, the expected squared log-spectral distance of a
candidate is its squared distance from the mean plus that variance. So a network that reads the input alone judges any
number of candidates, and its trunk runs once per window.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.weights import load

FEATURE_FLOOR = 1e-7
"""Power below which the input is not told from silence."""

TARGET_FLOOR = 1e-8
"""Power below which the generated band is not told from silence."""

DETAIL = 0.62
"""Squared log10 distance of two independent draws of Gaussian noise with one envelope."""


@dataclass(frozen=True)
class CriticConfig:
    """Sizes; stored in the weights file.

    Attributes:
        n_fft, hop: STFT, samples.
        ears: bands of the input, narrow at the bottom (ERB-like), wider towards 24 kHz.
        bands: linear bands from `start_hz` to `stop_hz` in which candidates are judged.
        width, depth, expansion, context: of the trunk, ConvNeXt over frames with means over time.
    """

    sample_rate: int = 48000
    n_fft: int = 2048
    hop: int = 1024
    ears: int = 160
    bands: int = 60
    start_hz: float = 1000.0
    stop_hz: float = 23000.0
    width: int = 216
    depth: int = 6
    expansion: int = 3
    context: int = 48

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


def power(audio: Tensor, config: CriticConfig) -> Tensor:
    """audio [..., samples] -> power [..., n_fft // 2 + 1, frames]; frame t is centred on t * hop."""
    flat = audio.reshape(-1, audio.shape[-1])
    window = torch.hann_window(config.n_fft, device=audio.device)
    spectrum = torch.stft(
        flat, config.n_fft, config.hop, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return torch.view_as_real(spectrum).square().sum(-1).reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def bin_hz(config: CriticConfig, device: torch.device | None = None) -> Tensor:
    return torch.arange(config.n_fft // 2 + 1, device=device) * (config.sample_rate / config.n_fft)


def pooling(edges: Tensor, config: CriticConfig) -> Tensor:
    """Ascending edges [n + 1], Hz -> averaging matrix [n, bins]; a band without a bin takes the nearest one."""
    hz = bin_hz(config, edges.device)
    inside = ((hz >= edges[:-1, None]) & (hz < edges[1:, None])).float()
    nearest = F.one_hot((hz - 0.5 * (edges[:-1, None] + edges[1:, None])).abs().argmin(1), len(hz)).float()
    inside = torch.where(inside.sum(1, keepdim=True) > 0, inside, nearest)
    return inside / inside.sum(1, keepdim=True)


def ear_edges(config: CriticConfig) -> Tensor:
    """Band edges [ears + 1] from 0 Hz to half the rate, even on the ERB-rate scale (Glasberg and Moore 1990)."""
    top = torch.tensor(config.sample_rate / 2)
    rate = torch.linspace(0, 1, config.ears + 1) * (1 + 0.00437 * top).log10()
    return (10**rate - 1) / 0.00437


def band_edges(config: CriticConfig) -> Tensor:
    """Edges [bands + 1] of the judged bands, Hz."""
    return torch.linspace(config.start_hz, config.stop_hz, config.bands + 1)


class Block(nn.Module):
    """ConvNeXt block over frames, [B, C, T] -> [B, C, T], in which every frame also hears the mean over all."""

    def __init__(self, width: int, expansion: int, context: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.squeeze = nn.Linear(width, context)
        self.spread = nn.Linear(context, width)
        self.gate = nn.Parameter(torch.full((width,), 0.1))
        nn.init.zeros_(self.spread.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).transpose(1, 2))
        h = h + self.spread(F.gelu(self.squeeze(h.mean(dim=1, keepdim=True))))
        h = self.down(F.gelu(self.up(h), approximate="tanh"))
        return x + (self.gate * h).transpose(1, 2)


class CriticNetwork(nn.Module):
    """Input features [B, ears, T], cutoff [B] (Hz) -> mean and variance of the truth's bands, each [B, bands, T].

    Units are log10 of power; the power is that of a window whose active parts have an RMS of about 0.1.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("ear_matrix", pooling(ear_edges(config), config), persistent=False)
        self.register_buffer("band_matrix", pooling(band_edges(config), config), persistent=False)
        self.register_buffer("ear_hz", bin_hz(config) @ self.ear_matrix.T, persistent=False)
        self.register_buffer("band_hz", bin_hz(config) @ self.band_matrix.T, persistent=False)
        self.ear_matrix: Tensor
        self.band_matrix: Tensor
        self.ear_hz: Tensor
        self.band_hz: Tensor
        self.enter = nn.Conv1d(2 * config.ears, width, 3, padding=1)
        self.statistics = nn.Sequential(
            nn.Linear(4 * config.ears, 2 * config.context), nn.GELU(), nn.Linear(2 * config.context, width)
        )
        self.blocks = nn.ModuleList(Block(width, config.expansion, config.context) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * config.bands)

    def hear(self, lr: Tensor, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
        """lr [B, samples], cutoff_hz [B] -> levels and 1 where a band is heard, each [B, ears, T]."""
        level = 0.2 * (self.ear_matrix @ power(lr, self.config) + FEATURE_FLOOR).log() + 1.0
        heard = (self.ear_hz[None] <= cutoff_hz[:, None]).float()[:, :, None].expand_as(level)
        return level * heard, heard

    def bands(self, audio: Tensor) -> Tensor:
        """audio [..., samples] -> mean over the bins of each band of log10 power, [..., bands, T]."""
        return self.band_matrix @ (power(audio, self.config) + TARGET_FLOOR).log10()

    def judged(self, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
        """cutoff_hz, edge_hz [B] -> 1 for bands between them, [B, bands, 1]."""
        inside = (self.band_hz[None] >= cutoff_hz[:, None]) & (self.band_hz[None] <= edge_hz[:, None])
        return inside.float()[:, :, None]

    def forward(self, lr: Tensor, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
        level, heard = self.hear(lr, cutoff_hz)
        ordered = level.sort(dim=-1).values
        last = level.shape[-1] - 1
        moments = [
            level.mean(-1),
            level.std(-1, correction=0),
            ordered[..., last // 10],
            ordered[..., last - last // 10],
        ]
        x = self.enter(torch.cat([level, heard], dim=1)) + self.statistics(torch.cat(moments, dim=1))[:, :, None]
        for block in self.blocks:
            x = block(x)
        mean, spread = self.leave(self.norm(x.transpose(1, 2))).transpose(1, 2).float().chunk(2, dim=1)
        return 2.0 * mean - 3.0, F.softplus(spread) + 0.01


def expected_distances(bands: Tensor, mean: Tensor, variance: Tensor, mask: Tensor) -> Tensor:
    """Expected log-spectral distance to the truth above the cutoff, log10 power.

    Args:
        bands: of the candidates, [N, bands, T] (see `CriticNetwork.bands`).
        mean, variance: of the truth, [N or 1, bands, T].
        mask: judged bands, [N or 1, bands, 1].

    Returns:
        [N, T]: root of the mean over bands, as the log-spectral distance does it before its mean over frames.
    """
    square = (bands - mean) ** 2 + variance + DETAIL
    count = mask.sum(dim=1).clamp(min=1)
    return ((square * mask).sum(dim=1) / count).sqrt()


def expected_distance(bands: Tensor, mean: Tensor, variance: Tensor, mask: Tensor) -> Tensor:
    """The same, mean over frames: [N]."""
    return expected_distances(bands, mean, variance, mask).mean(dim=-1)


def load_network(path: Path, device: torch.device) -> CriticNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file.
    """
    return load(path, lambda config: CriticNetwork(CriticConfig(**config)), device)  # type: ignore[arg-type]
