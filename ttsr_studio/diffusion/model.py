"""What a diffusion model must offer: the contract between engines and everything that samples them."""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.diffusion.timesteps import TimeTable


class Conditioning(Protocol):
    """What an engine computes once per window and reuses for every candidate. Rows are (window, channel) pairs."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> "Conditioning":
        """Select (and repeat) rows: index [N] of int64 -> a conditioning of N rows."""
        ...


class Engine(Protocol):
    """A diffusion model for super-resolution. All audio is float32 at `sample_rate`.

    Attributes:
        name: registry name.
        sample_rate: Hz, of both input and output audio.
        hop: every window start and length is a multiple of this many samples.
        core_seconds: length of the part of a window that is kept.
        context_seconds: rendered on both sides of the core and discarded.
        lookaround: samples on both sides of a window that `condition` gets besides, a multiple of the hop.
        sigma_range: (sigma_min, sigma_max); sampling starts at sigma_max.
        precision: of its networks: fp32, bf16 or fp16.
        window_seconds: length of every render where it is fixed; None where it follows the file.
        guided: whether classifier-free guidance is available (it counts as two evaluations).
        default_guidance: its scale unless told otherwise; 1 is none.
        times: the model's own timesteps, None where it was trained on a continuum of noise levels.
        early_preview: the one of `previews` at which x0-predictions on the way are scored; None where they are decoded,
            since that is cheap.
        previews: levels at which a candidate can be previewed before it is decoded, cheapest first.
        default_steps, default_solver, default_schedule, schedule_options: what a render uses unless told otherwise.
        default_temperature: scale of the starting noise.
        input_rms: the loud parts of the input are scaled to this RMS before `condition`, once per file.

    One whose `start`, `denoise` and `decode` carry a graph, for searches by gradient, says `differentiable = True`.
    One whose candidates show a part of what is drawn names by `shown_spread` the share of spread that is left.
    """

    name: str
    sample_rate: int
    hop: int
    core_seconds: float
    context_seconds: float
    lookaround: int
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    window_seconds: float | None
    sigma_range: tuple[float, float]
    guided: bool
    default_guidance: float
    times: TimeTable | None
    previews: tuple[str, ...]
    early_preview: str | None
    default_steps: int
    default_solver: str
    default_schedule: str
    schedule_options: dict[str, float]
    default_temperature: float
    input_rms: float
    device: torch.device

    def weights(self) -> dict[str, str]:
        """Return {file name: sha256} of every weights file in use."""
        ...

    def condition(self, lr: Tensor, cutoff_hz: Tensor, keys: Sequence[NoiseKey]) -> Conditioning:
        """Compute what a window needs only once, in W * channels rows, a window's channels together.

        Args:
            lr: [W, channels, lookaround + samples + lookaround].
            cutoff_hz: [W, channels], or [W, channels, frames] by hop (lookaround included) where the band changes.
            keys: [W]; what a window's conditioning itself has to draw, the same for all of its candidates.
        """
        ...

    def noise_shape(self, samples: int) -> tuple[int, ...]:
        """Shape of one row's noise for a window of that many samples; the last axis is time (frames).

        It begins `noise_lead()` steps before the window, so that noise may be filtered over time.
        """
        ...

    def noise_hop(self) -> int:
        """Samples per step of the noise's last axis."""
        ...

    def noise_lead(self) -> int:
        """Steps of the noise's last axis before the window's first frame."""
        ...

    def start(self, noise: Tensor, sigma: float) -> Tensor:
        """Noise [N, *noise_shape], standard normal times the temperature -> where sampling starts at that level."""
        ...

    def denoise(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """x [N, ...] as `start` shapes it, sigma [N] -> x0-prediction, the same shape.

        Sigma is where x is; on the CPU for an engine whose attribute `levels_on_cpu` is true.

        Only the metered denoiser calls this.
        """
        ...

    def preview(self, x0: Tensor, level: str, conditioning: Conditioning) -> Tensor:
        """x0 [N, ...], or a prediction of it -> a picture [N, ...] at one of `previews`, for verifiers to compare."""
        ...

    def decode(self, x0: Tensor, conditioning: Conditioning) -> Tensor:
        """x0 [N, ...] -> audio [N, samples], the length that the conditioning was made with."""
        ...


class Guided(Engine, Protocol):
    """An engine with classifier-free guidance."""

    def unconditional(self, conditioning: Conditioning) -> Conditioning:
        """The same rows with the condition that stands for none."""
        ...
