"""The AudioSR engine: latent diffusion of log-mel pictures, then a vocoder, at 48 kHz.

What the audiosr package does, with the noise given from outside, the condition computed once per window, any batch,
and nothing random that has no name. Departures from the package: the cutoff is the one that the caller detected; the
low-pass before the encoder is always the same (`mel.low_pass`); the condition is the posterior's mean unless a sample
is asked for; levels are left alone; the vocoder's delay is removed; where the input is silent, so is the output.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttsr_studio.diffusion.batch_limit import BatchLimit, in_batches
from ttsr_studio.diffusion.noise import NoiseKey, normal
from ttsr_studio.diffusion.timesteps import TimeTable, cosine_alphas
from ttsr_studio.engines.audiosr.checkpoint import DTYPES, load_part
from ttsr_studio.engines.audiosr.mel import EDGE, HOP, RATE, log_mel, low_pass, upper_hz
from ttsr_studio.engines.audiosr.networks import PARTS, AudioSRConfig
from ttsr_studio.engines.audiosr.vocoder import GEOMETRIC_DELAY, channels_last, vocode
from ttsr_studio.engines.registry import EngineSettings
from ttsr_studio.errors import OptionError, TtsrError
from ttsr_studio.weights.store import require

LATENT_HOP = 8 * HOP
"""Samples of one column of the latent: 12.5 a second."""

UNCONDITIONAL = -11.4981
"""The condition that stands for none, in every place of the latent: the package's constant."""

WINDOWS = {5.12: 0.48, 10.24: 0.64}
"""Seconds that the model takes at once, and how much of them is context on either side. It was trained on 10.24 and,
as its authors say, is best on 5.12."""

SILENCE = 1e-11
"""Power under which a step of the input is taken for silence: 110 dB below the engine's input RMS."""

GATE = 96
"""Samples of a step of the gate that keeps silence silent: 2 ms."""

KNOWN_SETTINGS = ("precision", "window", "compile", "low_vram", "posterior")


@dataclass(frozen=True)
class AudioSRTensors:
    """What is computed once per window.

    condition: latent of the input, scaled as the network takes it, [W, latent, T, F].
    mel: the input's own log-mel, [W, 8 T, mels].
    known: bands of it that lie below the cutoff, bool [W, mels].
    presence: 0 where the input is silent for 5 ms around, else 1, [W, samples / GATE].
    """

    condition: Tensor
    mel: Tensor
    known: Tensor
    presence: Tensor


@dataclass(frozen=True)
class AudioSRConditioning:
    """Rows into shared window tensors, each with its condition or (`empty`) the one that stands for none."""

    tensors: AudioSRTensors
    index: Tensor
    empty: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: Tensor) -> "AudioSRConditioning":
        index = index.to(self.index.device)
        return replace(self, index=self.index[index], empty=self.empty[index])

    def join(self, other: "AudioSRConditioning") -> "AudioSRConditioning":
        """Self's rows, then other's, of the same windows: guidance in one batch. Raises ValueError for others."""
        if other.tensors is not self.tensors:
            raise ValueError("conditionings of different windows cannot be joined")
        assert other.tensors is self.tensors
        return replace(self, index=torch.cat([self.index, other.index]), empty=torch.cat([self.empty, other.empty]))


@dataclass(frozen=True)
class Checkpoint:
    """A converted checkpoint in memory.

    networks: by part of the model.
    scale_factor: what the network's latents are multiplied by.
    delay: of the vocoder, samples.
    weights: {file: sha256}.
    """

    networks: dict[str, nn.Module]
    config: AudioSRConfig
    scale_factor: float
    delay: int
    weights: dict[str, str]


class AudioSREngine:
    """See `ttsr_studio.diffusion.model.Engine` for the contract."""

    sample_rate = RATE
    hop = LATENT_HOP
    lookaround = LATENT_HOP
    levels_on_cpu = True
    guided = True
    default_guidance = 3.5
    previews = ("latent", "mel")
    early_preview = "latent"
    default_steps = 50
    default_solver = "euler"
    default_schedule = "leading"
    schedule_options: dict[str, float] = {}  # noqa: RUF012
    default_temperature = 1.0
    input_rms = 0.09
    """The package scales every clip to a peak of 0.5; this is where that brings the loud parts of speech, music and
    effects in the median."""

    def __init__(self, name: str, checkpoint: Checkpoint, device: torch.device, settings: EngineSettings) -> None:
        networks = checkpoint.networks
        self.name, self.config, self.device, self.settings = name, checkpoint.config, device, settings
        self.precision = settings.precision
        self.networks, self._weights = networks, checkpoint.weights
        self.scale_factor, self.delay = checkpoint.scale_factor, checkpoint.delay
        self.window_seconds = settings.window or min(WINDOWS)
        if self.window_seconds not in WINDOWS:
            known = ", ".join(f"{seconds:g}" for seconds in WINDOWS)
            raise OptionError(f"--window {self.window_seconds:g}: engine {name!r} takes {known} seconds")
        self.context_seconds = WINDOWS[self.window_seconds]
        # One column of the latent is kept free, since windows start on a column.
        self.core_seconds = self.window_seconds - 2 * self.context_seconds - LATENT_HOP / RATE
        self.times = TimeTable(cosine_alphas())
        self.sigma_range = (float(self.times.sigmas[1]), float(self.times.sigmas[-1]))
        self.dtype = next(networks["unet"].parameters()).dtype
        # A network of this size fills a processor with one window; a GPU is given all there is.
        self._limits = {part: BatchLimit(1 if device.type == "cpu" or settings.low_vram else None) for part in PARTS}
        # Not the encoder: in this layout group normalisation loses two digits on a picture that is mostly floor.
        for network in (networks["unet"], networks["vae"].decoder):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu":
            channels_last(networks["vocoder"])
        self._denoise = torch.compile(networks["unet"]) if settings.compile else networks["unet"]

    def weights(self) -> dict[str, str]:
        return dict(self._weights)

    @contextmanager
    def _using(self, part: str) -> Iterator[nn.Module]:
        """A network on the device; under low VRAM it takes the place of whichever was there."""
        if self.settings.low_vram:
            for other in PARTS:
                if other != part and next(self.networks[other].parameters()).device.type != "cpu":
                    self.networks[other].to("cpu")
            self.networks[part].to(self.device)
        yield self.networks[part]

    def noise_shape(self, samples: int) -> tuple[int, ...]:
        return (self.config.latent, self.config.mels // 8, samples // LATENT_HOP)

    def noise_hop(self) -> int:
        return LATENT_HOP

    def noise_lead(self) -> int:
        return 0

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        """x = noise sqrt(1 + sigma²): the model starts from unit noise that has its data, of unit variance, in it."""
        start: Tensor = noise.to(self.device).transpose(-1, -2) * (1 + sigma**2) ** 0.5
        return start

    @torch.no_grad()
    def condition(self, lr: Tensor, cutoff_hz: Tensor, keys: Sequence[NoiseKey]) -> AudioSRConditioning:
        around = self.lookaround
        keys = [key for key in keys for _ in range(lr.shape[1])]
        lr = lr.to(self.device).flatten(0, 1)
        # The model knows one cutoff a row; where it changes, the lowest holds throughout.
        lowest = cutoff_hz.amin(-1) if cutoff_hz.dim() == 3 else cutoff_hz
        cutoff_hz = lowest.flatten().to(self.device, torch.float32)
        mel = log_mel(low_pass(lr, cutoff_hz)[:, around - EDGE : EDGE - around], self.config.mels)
        parts = in_batches(len(mel), self._limits["vae"], lambda a, b: self._encode(mel[a:b], keys[a:b]), self._where)
        latents = self._finite(torch.cat(parts), "encoder")
        power = lr[:, around:-around].unflatten(-1, (-1, GATE)).square().mean(-1)
        loudest = F.max_pool1d(power[:, None], 5, stride=1, padding=2)[:, 0]
        presence = loudest / (loudest + SILENCE * self.input_rms**2)
        known = upper_hz(self.config.mels).to(self.device) <= cutoff_hz[:, None]
        tensors = AudioSRTensors(self.scale_factor * latents, mel, known, presence)
        index = torch.arange(len(lr), device=self.device)
        return AudioSRConditioning(tensors, index, torch.zeros_like(index, dtype=torch.bool))

    @property
    def _where(self) -> str:
        return f"engine {self.name!r} on {self.device}"

    def _encode(self, mel: Tensor, keys: Sequence[NoiseKey]) -> Tensor:
        """Log-mel [n, 8 T, mels] -> latent [n, latent, T, F], mean or sample of the posterior."""
        with self._using("vae") as vae:
            posterior = vae.encode(mel[:, None].to(self.dtype)).latent_dist  # type: ignore[operator]
        mean: Tensor = posterior.mean.float()
        if self.settings.posterior == "mean":
            return mean
        shape = self.noise_shape(mel.shape[1] * HOP)
        drawn = torch.stack([normal(key, "posterior", shape).transpose(-1, -2) for key in keys])
        sample: Tensor = mean + posterior.std.float() * drawn.to(self.device)
        return sample

    def unconditional(self, conditioning: AudioSRConditioning) -> AudioSRConditioning:
        return replace(conditioning, empty=torch.ones_like(conditioning.empty))

    @torch.no_grad()
    def denoise(self, x: Tensor, sigma: Tensor, conditioning: AudioSRConditioning) -> Tensor:
        """v-prediction: x0 = x / (1 + sigma²) - v sigma / sqrt(1 + sigma²); the network gets x / sqrt(1 + sigma²)."""
        condition = conditioning.tensors.condition[conditioning.index]
        condition = condition.masked_fill(conditioning.empty[:, None, None, None], UNCONDITIONAL * self.scale_factor)
        level = sigma.to(self.device, torch.float32)[:, None, None, None]
        shrink = (1 + level**2).rsqrt()
        both = torch.cat([x.to(self.device) * shrink, condition], dim=1).to(self.dtype)
        times = self.times.timesteps(sigma).to(self.device, torch.float32)
        with self._using("unet"):
            v = self._denoise(both.contiguous(memory_format=torch.channels_last), times, encoder_hidden_states=None)
        x0: Tensor = x.to(self.device) * shrink**2 - level * shrink * v.sample.float()
        return x0

    def preview(self, x0: Tensor, level: str, conditioning: AudioSRConditioning) -> Tensor:
        """ "latent": [N, latent, T, F] as it is. "mel": the picture that the vocoder would get, [N, 8 T, mels]."""
        return x0 if level == "latent" else self._finite(self._pictures(x0, conditioning), "decoder")

    @torch.no_grad()
    def decode(self, x0: Tensor, conditioning: AudioSRConditioning) -> Tensor:
        mel = self._pictures(x0, conditioning)
        parts = in_batches(len(mel), self._limits["vocoder"], lambda a, b: self._vocode(mel[a:b]), self._where)
        audio = self._finite(torch.cat(parts), "vocoder", mel)
        presence = conditioning.tensors.presence[conditioning.index]
        gate = F.interpolate(presence[:, None], scale_factor=GATE, mode="linear")[:, 0]
        return audio * gate

    @torch.no_grad()
    def _pictures(self, x0: Tensor, conditioning: AudioSRConditioning) -> Tensor:
        """Latents [N, ...] -> log-mel [N, 8 T, mels], the input's own in the bands that it has."""
        latent = x0.to(self.device) / self.scale_factor
        drawn = in_batches(len(latent), self._limits["vae"], lambda a, b: self._decode_latent(latent[a:b]), self._where)
        tensors, index = conditioning.tensors, conditioning.index
        return torch.where(tensors.known[index][:, None], tensors.mel[index], torch.cat(drawn))

    def _decode_latent(self, latent: Tensor) -> Tensor:
        with self._using("vae") as vae:
            picture = vae.decode(latent.to(self.dtype).contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
        return picture.sample[:, 0].float()  # type: ignore[no-any-return]

    def _vocode(self, mel: Tensor) -> Tensor:
        with self._using("vocoder") as vocoder:
            audio = vocode(vocoder, mel.to(self.dtype), tiled=self.settings.low_vram)
        samples = mel.shape[1] * HOP
        return audio[:, self.delay : self.delay + samples].float()

    def _finite(self, value: Tensor, part: str, before: Tensor | None = None) -> Tensor:
        """What a part made of all rows, looked at once; with what the decoder had made `before` it."""
        sound = value.isfinite().all()
        if not bool(sound if before is None else sound & before.isfinite().all()):
            part = "decoder" if before is not None and not bool(before.isfinite().all()) else part
            raise TtsrError(
                f"{self.name}: its {part} ran out of the range of {self.dtype}; pass --precision bf16 or fp32"
            )
        return value


def fastest(device: torch.device) -> str:
    """The precision that a device computes convolutions fastest in."""
    if device.type == "cpu":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        return "bf16" if amx() else "fp32"
    return "fp16"


def load(name: str, device: str, settings: EngineSettings) -> AudioSREngine:
    """Load an imported checkpoint by the engine's name.

    Raises MissingError when it is not installed, with the command that gets it; OptionError for a window or setting
    that it does not have.
    """
    settings.refuse(name, KNOWN_SETTINGS)
    place, manifest = require(name)
    return load_folder(name, place, manifest.config, manifest.checksums(), torch.device(device), settings)


def load_folder(
    name: str,
    place: Path,
    facts: dict[str, object],
    weights: dict[str, str],
    device: torch.device,
    settings: EngineSettings,
) -> AudioSREngine:
    """Load a converted checkpoint from a folder; `facts` are what its conversion returned."""
    config = AudioSRConfig.from_json(dict(facts["sizes"]))  # type: ignore[call-overload]
    precision = fastest(device) if settings.precision == "auto" else settings.precision
    at = torch.device("cpu") if settings.low_vram else device
    networks = {part: load_part(place, part, config, DTYPES[precision], at) for part in PARTS}
    delay = int(str(facts.get("vocoder_delay", GEOMETRIC_DELAY)))
    checkpoint = Checkpoint(networks, config, float(str(facts["scale_factor"])), delay, weights)
    return AudioSREngine(name, checkpoint, device, replace(settings, precision=precision))  # type: ignore[arg-type]
