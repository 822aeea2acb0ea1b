"""The built-in engine's two networks: 1-D ConvNeXt over STFT frames, bins or bands as channels.

`Conditioner` runs once per window: it predicts the scale of every missing bin and the features that the diffusion is
conditioned on. `EnvelopeDenoiser` runs once per evaluation: it denoises the log-energy residual in broad bands
(EDM preconditioning, Karras et al. 2022, section 5).
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.errors import OptionError
from ttsr_studio.weights import load

AROUND = 112
"""Frames on either side that statistics are taken over."""

SHARPNESS = 5.0
"""Of soft minima and maxima; features are 0.2 times the log of power."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of both networks; stored in the weights file.

    Attributes:
        n_fft, hop: STFT sizes, samples.
        bands: number of linear envelope bands over the spectrum above `band_start_hz`.
        condition_width, condition_depth: of the conditioner's ConvNeXt.
        width, depth: of the denoiser's ConvNeXt.
        context: channels through which the conditioner hears statistics over time; 0 for none.
    """

    sample_rate: int = 48000
    n_fft: int = 1024
    hop: int = 512
    bands: int = 48
    band_start_hz: float = 1000.0
    condition_width: int = 384
    condition_depth: int = 8
    width: int = 256
    depth: int = 8
    expansion: int = 3
    context: int = 0

    def __post_init__(self) -> None:
        if self.n_fft != 2 * self.hop:
            raise OptionError(f"n_fft {self.n_fft} must be twice the hop {self.hop}")

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


class Block(nn.Module):
    """ConvNeXt block over frames, [B, C, T] -> [B, C, T]; with an embedding, AdaLN scale, shift and gate from it."""

    def __init__(self, width: int, expansion: int, embedding: int | None = None) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, elementwise_affine=embedding is None)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        if embedding is None:
            self.gate = nn.Parameter(torch.full((width,), 0.1))
        else:
            self.modulation = nn.Linear(embedding, 3 * width)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm(self.depthwise(x).transpose(1, 2))
        if embedding is None:
            gate: Tensor = self.gate
        else:
            scale, shift, gate = self.modulation(embedding)[:, None].chunk(3, dim=-1)
            h = h * (1 + scale) + shift
        h = self.down(F.gelu(self.up(h), approximate="tanh"))
        return x + (gate * h).transpose(1, 2)


def fourier_features(values: Tensor, count: int, lowest: float = 0.5) -> Tensor:
    """values [B] -> sines and cosines [B, 2 * count] at octave-spaced frequencies starting at `lowest` cycles."""
    frequencies = lowest * 2.0 ** torch.arange(count, device=values.device, dtype=torch.float32)
    phase = 2 * math.pi * values[:, None] * frequencies[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def statistics(features: Tensor) -> Tensor:
    """[B, bins, T] -> what goes on for 1.2 s on either side of a frame, [B, 4 * bins, T]; shorter at the ends.

    Mean, standard deviation, soft minimum and soft maximum. Floors in pauses, tilt and liveliness tell recordings and
    instruments apart, over more time than the convolutions see.
    """
    frames = features.shape[-1]
    place = torch.arange(frames, device=features.device)
    first, stop = (place - AROUND).clamp(min=0), (place + AROUND + 1).clamp(max=frames)
    lifted = (SHARPNESS * features).exp()
    # In double precision: what is quiet now is a small difference of sums over what was loud before.
    sums = F.pad(torch.stack([features, features**2, 1 / lifted, lifted]).double().cumsum(dim=-1), (1, 0))
    mean, square, quiet, loud = ((sums[..., stop] - sums[..., first]) / (stop - first)).to(features.dtype)
    spread = (square - mean**2).clamp(min=1e-6).sqrt()
    return torch.cat([mean, spread, -quiet.log() / SHARPNESS, loud.log() / SHARPNESS], dim=1)


class Conditioner(nn.Module):
    """Low band -> features [B, condition_width, T] and the log variance of every bin [B, bins, T].

    Input is the band-limited log power spectrum as made by `spectral.features` and the normalised cutoff in [0, 1].
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.condition_width
        self.enter = nn.Conv1d(config.bins, width, 3, padding=1)
        self.cutoff = nn.Linear(12, width)
        self.statistics = None
        if config.context:
            leave = nn.Linear(config.context, width)
            nn.init.zeros_(leave.weight)
            nn.init.zeros_(leave.bias)
            self.statistics = nn.Sequential(
                nn.Linear(4 * config.bins, config.context), nn.GELU(), nn.Dropout(0.2), leave
            )
        self.blocks = nn.ModuleList(Block(width, config.expansion) for _ in range(config.condition_depth))
        self.norm = nn.LayerNorm(width)
        self.log_variance = nn.Linear(width, config.bins)
        nn.init.constant_(self.log_variance.bias, -1.5)

    def forward(self, features: Tensor, cutoff: Tensor) -> tuple[Tensor, Tensor]:
        x = self.enter(features) + self.cutoff(fourier_features(cutoff, 6))[:, :, None]
        if self.statistics is not None:
            x = x + self.statistics(statistics(features).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        h = self.norm(x.transpose(1, 2))
        return h.transpose(1, 2), 4.0 * self.log_variance(h).transpose(1, 2)


class EnvelopeDenoiser(nn.Module):
    """x [B, bands, T], sigma [B], condition [B, width, T] -> x0-prediction [B, bands, T], for unit-variance data."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.enter = nn.Conv1d(config.bands, width, 1)
        self.embed = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, config.expansion, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, config.bands)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        total = (1 + sigma**2).sqrt()[:, None, None]
        s = sigma[:, None, None]
        h = self.enter(x / total) + condition
        embedding = self.embed(fourier_features(sigma.log() / 4, 8, lowest=0.125))
        for block in self.blocks:
            h = block(h, embedding)
        f = self.leave(self.norm(h.transpose(1, 2))).transpose(1, 2)
        return x / total**2 + s / total * f


class ConditionProjection(nn.Module):
    """Conditioner features and banded log variance -> the denoiser's condition, once per window."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.condition_width + config.bands + 12, config.width)

    def forward(self, hidden: Tensor, banded: Tensor, cutoff: Tensor) -> Tensor:
        """hidden [B, condition_width, T], banded [B, bands, T], cutoff [B] -> [B, width, T]."""
        position = fourier_features(cutoff, 6)[:, :, None].expand(-1, -1, hidden.shape[-1])
        return self.linear(torch.cat([hidden, banded, position], dim=1).transpose(1, 2)).transpose(1, 2)


class BuiltinNetwork(nn.Module):
    """Everything the engine has weights for, with the residual's scale per band."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.conditioner = Conditioner(config)
        self.projection = ConditionProjection(config)
        self.denoiser = EnvelopeDenoiser(config)
        self.register_buffer("residual_scale", torch.ones(config.bands))
        self.register_buffer("residual_mean", torch.zeros(config.bands))
        self.residual_scale: Tensor
        self.residual_mean: Tensor


def load_network(path: Path, device: torch.device) -> BuiltinNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file.
    """
    return load(path, lambda config: BuiltinNetwork(NetworkConfig(**config)), device)  # type: ignore[arg-type]
