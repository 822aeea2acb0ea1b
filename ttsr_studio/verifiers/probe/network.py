"""The probe's network: was the band above the cutoff recorded, or rendered?

It sees cells of 750 Hz by 21 ms as an image of five planes: mean log power; tonal contrast (standard deviation of log
power over a cell's bins) and how far its strongest bin stands out, by which partials are told from noise; the standard
deviation of energy over four steps of 5.3 ms, by which hits are; and whether the cell lies below the cutoff. What is
below is the same in both and says what kind of sound it is.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ttsr_studio.verifiers.critic.network import TARGET_FLOOR, CriticConfig, fast_energy, stft_power
from ttsr_studio.weights.checkpoint import load_weights

PLANES = 5
MIDDLE, SPREAD = (-3.0, 0.55, 1.2, 0.2), (2.0, 0.3, 0.6, 0.2)
"""Of the four measured planes, about: they come to the network less the one, over the other."""


@dataclass(frozen=True)
class ProbeConfig:
    """Sizes; stored in the weights file.

    Attributes:
        n_fft, hop: STFT, samples.
        bands: of equal width from 0 Hz to half the rate.
        stop_hz: what is above decides nothing: engines fade out there.
        width: channels of the first layer.
    """

    sample_rate: int = 48000
    n_fft: int = 2048
    hop: int = 1024
    bands: int = 32
    stop_hz: float = 22500.0
    width: int = 24

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)

    @property
    def band_hz(self) -> float:
        return self.sample_rate / 2 / self.bands


def measured_cells(audio: Tensor, config: ProbeConfig) -> Tensor:
    """audio [..., samples], active parts at an RMS of about 0.1 -> the measured planes [..., 4, bands, T]."""
    logs = (stft_power(audio, config.n_fft, config.hop)[..., 1:, :] + TARGET_FLOOR).log10()
    banded = logs.unflatten(-2, (config.bands, -1))
    level = banded.mean(-2)
    steps = CriticConfig(sample_rate=config.sample_rate, n_fft=config.n_fft, hop=config.hop, hits=config.bands)
    hits = (fast_energy(audio, steps) + TARGET_FLOOR).log10().std(-2, correction=0)
    planes = torch.stack([level, banded.std(-2, correction=0), banded.amax(-2) - level, hits], dim=-3)
    shape = (4, 1, 1)
    return (planes - planes.new_tensor(MIDDLE).view(shape)) / planes.new_tensor(SPREAD).view(shape)


def band_masks(cutoff_hz: Tensor, edge_hz: Tensor, config: ProbeConfig) -> tuple[Tensor, Tensor]:
    """cutoff_hz, edge_hz [B] -> 1 for bands below the cutoff, and 1 for those that decide, [B, bands] each."""
    low = torch.arange(config.bands, device=cutoff_hz.device) * config.band_hz
    known = (low[None] + config.band_hz <= cutoff_hz[:, None]).float()
    decides = (low[None] >= cutoff_hz[:, None]) & (low[None] + config.band_hz <= edge_hz[:, None])
    return known, decides.float()


class ProbeNetwork(nn.Module):
    """Planes [B, 4, bands, T] and masks [B, bands] -> log-odds [B] that the band above the cutoff was recorded."""

    def __init__(self, config: ProbeConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.first = nn.Conv2d(PLANES, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, stride=(1, 2))
        self.third = nn.Conv2d(width, 2 * width, 3, padding=1, stride=(1, 2))
        self.head = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, planes: Tensor, known: Tensor, decides: Tensor) -> Tensor:
        seen = planes * (known + decides)[:, None, :, None]
        image = torch.cat([seen, known[:, None, :, None].expand(-1, 1, -1, planes.shape[-1])], dim=1)
        x = nn.functional.gelu(self.first(image))
        x = nn.functional.gelu(self.second(x))
        x = nn.functional.gelu(self.third(x))
        share = decides[:, None, :, None] / (decides.sum(1)[:, None, None, None].clamp(min=1) * x.shape[-1])
        mean = (x * share).sum((2, 3))
        deviation = (((x - mean[:, :, None, None]).square() * share).sum((2, 3)) + 1e-6).sqrt()
        odds: Tensor = self.head(torch.cat([mean, deviation], dim=1))[:, 0]
        return odds


def load_probe(path: Path, device: torch.device) -> ProbeNetwork:
    """Read a weights file into a float32 network in inference mode.

    Raises MissingError when the file is not there or is not a weights file.
    """
    return load_weights(path, lambda config: ProbeNetwork(ProbeConfig(**config)), device)  # type: ignore[arg-type]
