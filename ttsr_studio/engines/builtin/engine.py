"""The built-in engine: a small diffusion model of the spectral envelope above the cutoff, at 48 kHz.

Once per window a conditioner reads the low band and predicts the scale of every missing bin. The diffusion then draws
what the prediction leaves open: the log energy in 48 bands over time. Detail below a band's width is keyed white noise
shaped by both; it is the same for all candidates of a window, so candidates differ in what the model drew and
neighbouring windows cross-fade coherently.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ttsr_studio.diffusion.noise import NoiseKey, normal
from ttsr_studio.engines import EngineSettings
from ttsr_studio.engines.builtin.network import AROUND, BuiltinNetwork, load_network
from ttsr_studio.engines.builtin.spectral import (
    RESIDUAL_LIMIT,
    band_matrix,
    bin_hz,
    features,
    fine_envelope,
    interpolation_matrix,
    istft,
    missing,
    noise_power,
    normalised_cutoff,
    stft,
)
from ttsr_studio.errors import OptionError
from ttsr_studio.weights import verified

WEIGHTS = Path(__file__).parent / "builtin.safetensors"
CHECKSUM = Path(__file__).parent / "builtin.safetensors.sha256"

TOP_HZ = (22800.0, 23700.0)
"""Where the generated band fades out."""

FAST, SLOW, SLOW_FRAMES = 0.35, 0.12, 281
"""The starting noise is FAST times white noise plus SLOW times the same smoothed over +-3 s, at its power.

What the model cannot know is mostly how bright a whole passage is: errors of 5 to 15 dB that hold for seconds. Its
receptive field of half a second makes its own draws forget sooner, and white noise at full strength spends the
candidates' differences on what averages out within a window. Slow noise makes candidates differ in what can be chosen.
"""

ROWS = 2
"""Windows and channels that are conditioned together."""

SILENCE_POWER = 2e-8
"""Frame power, summed over bins, under which the input is taken for silence: 110 dB below the engine's input RMS."""


@dataclass(frozen=True)
class WindowTensors:
    """What is computed once per window: condition [W, width, T]; low band and unit carrier, complex [W, bins, T]."""

    condition: Tensor
    low: Tensor
    carrier: Tensor
    samples: int


@dataclass(frozen=True)
class BuiltinConditioning:
    """Rows into shared window tensors, so that candidates of one window share one copy."""

    tensors: WindowTensors
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor) -> "BuiltinConditioning":
        return replace(self, index=self.index[index.to(self.index.device)])


class BuiltinEngine:
    """See `ttsr_studio.engines.Engine` for the contract."""

    name = "builtin"
    sample_rate = 48000
    core_seconds = 5.12
    context_seconds = 0.64
    lookaround = (AROUND + 32) * 512
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    window_seconds = None
    sigma_range = (0.03, 12.0)
    guided = False
    default_guidance = 1.0
    times = None
    looks = ("latent",)
    early_look = None
    default_steps = 4
    default_solver = "dpmpp-2m"
    default_schedule = "edm"
    schedule_options = {"rho": 4.0}  # noqa: RUF012
    default_temperature = 1.0
    input_rms = 0.1

    def __init__(self, network: BuiltinNetwork, device: torch.device, weights: dict[str, str]) -> None:
        self.network, self.device, self._weights = network, device, weights
        self.config = network.config
        self.hop = self.config.hop

    def weights(self) -> dict[str, str]:
        return dict(self._weights)

    @cached_property
    def _bands(self) -> Tensor:
        return band_matrix(self.config, self.device)

    @cached_property
    def _interpolation(self) -> Tensor:
        return interpolation_matrix(self.config, self.device)

    @cached_property
    def _top(self) -> Tensor:
        """Fade-out [bins, 1] below half the rate, where no training clip tells what belongs there."""
        low, high = TOP_HZ
        return ((high - bin_hz(self.config, self.device)) / (high - low)).clamp(0, 1)[:, None]

    def noise_shape(self, samples: int) -> tuple[int, ...]:
        return (self.config.bands, samples // self.hop + 1 + 2 * SLOW_FRAMES)

    def noise_hop(self) -> int:
        return self.hop

    def noise_lead(self) -> int:
        return SLOW_FRAMES

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        noise = noise.to(self.device)
        kernel = torch.hann_window(2 * SLOW_FRAMES + 3, periodic=False, device=self.device)[1:-1]
        slow = F.conv1d(noise.flatten(0, 1)[:, None], (kernel / kernel.norm())[None, None])
        fast = noise[..., SLOW_FRAMES:-SLOW_FRAMES]
        return (FAST * fast + SLOW * slow.view_as(fast)) * sigma

    @torch.no_grad()
    def condition(self, lr: Tensor, cutoff_hz: Tensor, keys: Sequence[NoiseKey]) -> BuiltinConditioning:
        samples = lr.shape[-1] - 2 * self.lookaround
        if samples % self.hop:
            raise OptionError(f"window of {samples} samples is not a multiple of the engine's hop {self.hop}")
        lr, cutoff_hz = lr.to(self.device), cutoff_hz.to(self.device, torch.float32)
        wide = stft(lr, self.config)
        cutoff = normalised_cutoff(cutoff_hz)
        heard = features(wide, cutoff_hz, self.config)
        # A few rows at a time: statistics in double precision take much memory.
        parts = [self.network.conditioner(*rows) for rows in zip(heard.split(ROWS), cutoff.split(ROWS), strict=True)]
        hidden, log_variance = (torch.cat(values) for values in zip(*parts, strict=True))
        around = self.lookaround // self.hop
        low, hidden, log_variance = (x[..., around : x.shape[-1] - around] for x in (wide, hidden, log_variance))
        condition = self.network.projection(hidden, 0.2 * (self._bands @ log_variance), cutoff)
        absent = missing(cutoff_hz, self.config)[:, :, None]
        scale = (0.5 * log_variance).exp() * absent * self._top * self._presence(low)
        inner = lr[:, self.lookaround : lr.shape[-1] - self.lookaround]
        carrier = self._detail(keys, inner, cutoff_hz) * scale
        # What the input has above the cutoff, where the user set that lower, is replaced and not added to.
        heard = (bin_hz(self.config, self.device)[None] <= cutoff_hz[:, None])[:, :, None]
        tensors = WindowTensors(condition, low * heard, carrier, samples)
        return BuiltinConditioning(tensors, torch.arange(len(lr), device=self.device))

    def _presence(self, low: Tensor) -> Tensor:
        """Soft gate [W, 1, T]: 0 where the input is silent for two frames around, else 1."""
        power = (low.real**2 + low.imag**2).sum(dim=1, keepdim=True)
        loudest = F.max_pool1d(power, 5, stride=1, padding=2)
        return loudest / (loudest + SILENCE_POWER)

    def _detail(self, keys: Sequence[NoiseKey], lr: Tensor, cutoff_hz: Tensor) -> Tensor:
        """Keyed white noise as an STFT of about unit mean power, [W, bins, T]; equal keys share one draw.

        Within a frame it follows the input's own envelope, so that an onset is as sharp above the cutoff as below.
        """
        frames = lr.shape[-1] // self.hop
        drawn = {key: normal(key, "detail", (self.hop, frames)) for key in dict.fromkeys(keys)}
        noise = torch.stack([drawn[key].T.reshape(-1) for key in keys]).to(self.device)
        return stft(noise * fine_envelope(lr, cutoff_hz, self.config), self.config) / noise_power(self.config) ** 0.5

    @torch.no_grad()
    def denoise(self, x: Tensor, sigma: Tensor, conditioning: BuiltinConditioning) -> Tensor:
        condition = conditioning.tensors.condition[conditioning.index]
        x0: Tensor = self.network.denoiser(x.to(self.device), sigma.to(self.device, torch.float32), condition)
        return x0

    def look(self, x0: Tensor, level: str, conditioning: BuiltinConditioning) -> Tensor:
        """The drawn band energies, in units of their own spread."""
        return x0

    @torch.no_grad()
    def decode(self, x0: Tensor, conditioning: BuiltinConditioning) -> Tensor:
        tensors, index = conditioning.tensors, conditioning.index
        net = self.network
        residual = x0 * net.residual_scale[None, :, None] + net.residual_mean[None, :, None]
        gain = (0.5 * (self._interpolation @ residual.clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT))).exp()
        return istft(tensors.low[index] + tensors.carrier[index] * gain, tensors.samples, self.config)


def load(name: str, device: str, settings: EngineSettings) -> BuiltinEngine:
    """Load the shipped weights.

    Raises OptionError for settings, of which this engine has none (it runs in fp32), MissingError when the weights are
    missing or are not the ones that were shipped.
    """
    settings.refuse(name, ("precision",) if settings.precision == "fp32" else ())
    return load_file(device, WEIGHTS, CHECKSUM)


def load_file(device: str, weights: Path = WEIGHTS, expected: Path | None = CHECKSUM) -> BuiltinEngine:
    """Load weights; `expected` names a file with their sha256, None to accept any. Raises as `load`."""
    network = load_network(weights, torch.device(device))
    return BuiltinEngine(network, torch.device(device), {weights.name: verified(weights, expected)})
