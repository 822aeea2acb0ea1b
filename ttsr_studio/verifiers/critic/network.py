"""The critic's network: what the band above the cutoff should be like, given the band below, and how sure that is.

For a truth unknown but for its mean and variance given the input, the expected squared log-spectral distance of a
candidate is its squared distance from the mean plus that variance. So a network that reads the input alone scores any
number of candidates, and its trunk runs once per window. It compares three views: `level`, the mean log power of
bands, as the log-spectral distance sees it; `hits`, the energy of bands every 5.3 ms; `tones`, the tonal contrast.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.analysis.spectra import hann, square_root, squared
from ttsr_studio.weights.checkpoint import load_weights
from ttsr_studio.weights.layers import dense, dense_gelu

FEATURE_FLOOR = 1e-7
"""Power below which the input is not told from silence."""

TARGET_FLOOR = 1e-8
"""Power below which the generated band is not told from silence."""

DETAIL = 0.62
"""Squared log10 distance of two independent draws of Gaussian noise with one envelope."""

FAST_FFT, FAST_HOP = 512, 256

VIEWS = ("level", "hits", "tones")
VIEW_WEIGHTS = {"level": 1.0, "hits": 0.5, "tones": 20.0}
"""Of a view's expected distance in the score: tonal contrast is a small number, by which candidates differ little."""


@dataclass(frozen=True)
class CriticConfig:
    """Sizes; stored in the weights file.

    Attributes:
        n_fft, hop: STFT, samples.
        ears: bands of the input, narrow at the bottom (ERB-like), wider towards 24 kHz.
        bands: linear bands from `start_hz` to `stop_hz` in which the level is compared.
        hits: bands of 375 Hz, from 0 Hz up, joined in which energy is compared every 5.3 ms.
        tones: 1 kHz bands from `start_hz` on in which tonal contrast is compared.
        width, depth, expansion, context: of the trunk, ConvNeXt over frames with means over time.
    """

    sample_rate: int = 48000
    n_fft: int = 2048
    hop: int = 1024
    ears: int = 160
    bands: int = 60
    hits: int = 32
    tones: int = 22
    start_hz: float = 1000.0
    stop_hz: float = 23000.0
    width: int = 216
    depth: int = 6
    expansion: int = 3
    context: int = 48

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


def stft_power(audio: Tensor, n_fft: int, hop: int) -> Tensor:
    """audio [..., samples] -> power [..., n_fft // 2 + 1, frames]; frame t is centred on t * hop."""
    flat = audio.reshape(-1, audio.shape[-1])
    window = hann(n_fft, audio.dtype, audio.device)
    spectrum = torch.stft(flat, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    return squared(spectrum).reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def fast_energy(audio: Tensor, config: CriticConfig) -> Tensor:
    """audio [..., samples] -> energy of the fast bands, those of a slow frame together, [..., hits, 4, frames]."""
    fast = stft_power(audio, FAST_FFT, FAST_HOP)[..., 1:, :]
    banded = fast.unflatten(-2, (config.hits, -1)).mean(-2)
    step = config.hop // FAST_HOP
    frames = audio.shape[-1] // config.hop + 1
    # Slow frame t has the fast frames from half a slow one before it.
    padded = F.pad(banded, (step // 2, step), mode="constant")[..., : step * frames]
    blocks: Tensor = padded.unflatten(-1, (frames, step)).transpose(-1, -2)
    return blocks


def critic_bin_hz(config: CriticConfig, device: torch.device | None = None) -> Tensor:
    return torch.arange(config.n_fft // 2 + 1, device=device) * (config.sample_rate / config.n_fft)


def pooling(edges: Tensor, config: CriticConfig) -> Tensor:
    """Ascending edges [n + 1], Hz -> averaging matrix [n, bins]; a band without a bin takes the nearest one."""
    hz = critic_bin_hz(config, edges.device)
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
    """Edges [bands + 1] of the bands that are compared, Hz."""
    return torch.linspace(config.start_hz, config.stop_hz, config.bands + 1)


class Block(nn.Module):
    """ConvNeXt block over frames, [B, C, T] -> [B, C, T], in which every frame also gets the mean over all."""

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
        h = dense(self.down, dense_gelu(self.up, h))
        mixed: Tensor = x + (self.gate * h).transpose(1, 2)
        return mixed


class CriticNetwork(nn.Module):
    """Input, cutoff [B] (Hz) -> mean and variance of the truth's views, each [B, views, T].

    Units are log10 of power; the power is that of a window whose active parts have an RMS of about 0.1.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        width, step = config.width, config.hop // FAST_HOP
        with torch.device("cpu"):  # in no weights file, so they have values wherever the rest is built
            hz = critic_bin_hz(config)
            edges = config.start_hz + 1000.0 * torch.arange(config.tones + 1)
            hit_hz = (torch.arange(config.hits) + 0.5) * (config.sample_rate / 2 / config.hits)
            for name, value in {
                "ear_matrix": pooling(ear_edges(config), config),
                "band_matrix": pooling(band_edges(config), config),
                "tone_matrix": pooling(edges, config),
            }.items():
                self.register_buffer(name, value, persistent=False)
            self.ear_matrix: Tensor
            self.band_matrix: Tensor
            self.tone_matrix: Tensor
            self.register_buffer("ear_hz", hz @ self.ear_matrix.T, persistent=False)
            self.register_buffer("hit_hz", hit_hz.repeat_interleave(step), persistent=False)
            centres = [hz @ self.band_matrix.T, self.hit_hz, hz @ self.tone_matrix.T]
            self.register_buffer("view_hz", torch.cat(centres), persistent=False)
        self.ear_hz: Tensor
        self.hit_hz: Tensor
        self.view_hz: Tensor
        self.sizes = [len(centre) for centre in centres]
        self.enter = nn.Conv1d(2 * config.ears + 2 * self.sizes[1], width, 3, padding=1)
        self.statistics = nn.Sequential(
            nn.Linear(4 * config.ears, 2 * config.context), nn.GELU(), nn.Linear(2 * config.context, width)
        )
        self.blocks = nn.ModuleList(Block(width, config.expansion, config.context) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, 2 * sum(self.sizes))

    def features(self, lr: Tensor, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
        """lr [B, samples], cutoff_hz [B] -> levels [B, 160, T] and all features [B, channels, T]."""
        level = 0.2 * (self.ear_matrix @ stft_power(lr, self.config.n_fft, self.config.hop) + FEATURE_FLOOR).log() + 1.0
        known = (self.ear_hz[None] <= cutoff_hz[:, None]).float()[:, :, None].expand_as(level)
        fast = 0.2 * (fast_energy(lr, self.config).flatten(1, 2) + FEATURE_FLOOR).log() + 1.0
        half = self.config.sample_rate / 4 / self.config.hits
        whole = (self.hit_hz[None] + half <= cutoff_hz[:, None]).float()[:, :, None].expand_as(fast)
        return level * known, torch.cat([level * known, known, fast * whole, whole], dim=1)

    def views(self, audio: Tensor) -> Tensor:
        """audio [..., samples] -> what is compared, [..., views, T]: level, hits and tones (see the module)."""
        logs = (stft_power(audio, self.config.n_fft, self.config.hop) + TARGET_FLOOR).log10()
        level = self.band_matrix @ logs
        tones = square_root((self.tone_matrix @ logs**2 - (self.tone_matrix @ logs) ** 2).clamp(min=0))
        hits = (fast_energy(audio, self.config) + TARGET_FLOOR).log10().flatten(-3, -2)
        return torch.cat([level, hits, tones], dim=-2)

    def band_mask(self, cutoff_hz: Tensor, edge_hz: Tensor) -> Tensor:
        """cutoff_hz, edge_hz [B] -> 1 for what lies between them, [B, views, 1]."""
        inside = (self.view_hz[None] >= cutoff_hz[:, None]) & (self.view_hz[None] <= edge_hz[:, None])
        return inside.float()[:, :, None]

    def forward(self, lr: Tensor, cutoff_hz: Tensor) -> tuple[Tensor, Tensor]:
        level, features = self.features(lr, cutoff_hz)
        ordered = level.sort(dim=-1).values
        last = level.shape[-1] - 1
        moments = [
            level.mean(-1),
            level.std(-1, correction=0),
            ordered[..., last // 10],
            ordered[..., last - last // 10],
        ]
        x = self.enter(features) + self.statistics(torch.cat(moments, dim=1))[:, :, None]
        for block in self.blocks:
            x = block(x)
        mean, spread = dense(self.leave, self.norm(x.transpose(1, 2))).transpose(1, 2).float().chunk(2, dim=1)
        offset = torch.cat([x.new_full((size,), at) for size, at in zip(self.sizes, (-3.0, -3.0, 0.55), strict=True)])
        scale = torch.cat([x.new_full((size,), by) for size, by in zip(self.sizes, (2.0, 2.0, 0.2), strict=True)])
        return scale[:, None] * mean + offset[:, None], (scale[:, None] / 2) ** 2 * (F.softplus(spread) + 0.01)

    def expected_distances(self, views: Tensor, mean: Tensor, variance: Tensor, mask: Tensor) -> Tensor:
        """Expected distance to the truth above the cutoff, log10 power.

        Args:
            views: of the candidates, [N, views, T] (see `views`).
            mean, variance: of the truth, [N or 1, views, T].
            mask: what is compared, [N or 1, views, 1].

        Returns:
            [N, T]: of every view the root of the mean over its bands, as the log-spectral distance does it, weighted
            by `VIEW_WEIGHTS`. The first view alone is the expected log-spectral distance.
        """
        square = (views - mean) ** 2 + variance
        total = square.new_zeros(())
        parts = zip(VIEWS, square.split(self.sizes, dim=1), mask.split(self.sizes, dim=1), strict=True)
        for name, part, inside in parts:
            count = inside.sum(dim=1)
            detail = DETAIL if name == "level" else 0.0
            root = ((part * inside).sum(dim=1) / count.clamp(min=1) + detail * (count > 0)).clamp(min=1e-12).sqrt()
            total = total + VIEW_WEIGHTS[name] * root
        return total


def load_critic(path: Path, device: torch.device) -> CriticNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file.
    """
    return load_weights(path, lambda config: CriticNetwork(CriticConfig(**config)), device)  # type: ignore[arg-type]
