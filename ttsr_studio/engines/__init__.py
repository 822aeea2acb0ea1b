"""Engines: diffusion models behind one contract, in EDM coordinates (x = x0 + sigma * eps).

A search, sampler or verifier knows nothing of a model beyond this contract; an engine knows no search. Adding one is
one file (or folder) and one line in `ENGINES`.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

import torch
from torch import Tensor

from ttsr_studio.diffusion.noise import NoiseKey
from ttsr_studio.errors import unknown


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
        lookaround: samples on both sides of a window that `condition` hears besides, a multiple of the hop.
        sigma_range: (sigma_min, sigma_max); sampling starts at sigma_max.
        guided: whether classifier-free guidance is available (it counts as two evaluations).
        default_steps, default_solver, default_schedule, schedule_options: what a render uses unless told otherwise.
        default_temperature: scale of the starting noise.
        input_rms: the loud parts of the input are scaled to this RMS before `condition`, once per file.
    """

    name: str
    sample_rate: int
    hop: int
    core_seconds: float
    context_seconds: float
    lookaround: int
    sigma_range: tuple[float, float]
    guided: bool
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
        """lr [W, lookaround + samples + lookaround], cutoff_hz [W], keys [W] -> conditioning of W rows.

        A key names whatever the conditioning itself has to draw (the same for all candidates of a window).
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

    def start(self, noise: Tensor) -> Tensor:
        """Standard normal noise [N, *noise_shape] -> where sampling starts, before sigma and temperature scale it."""
        ...

    def denoise(self, x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """x [N, ...] as `start` shapes it, sigma [N] -> x0-prediction, the same shape.

        Only the metered denoiser calls this.
        """
        ...

    def decode(self, x0: Tensor, conditioning: Conditioning) -> Tensor:
        """x0 [N, ...] -> audio [N, samples], the length that the conditioning was made with."""
        ...


ENGINES = {
    "builtin": "ttsr_studio.engines.builtin.engine:load",
}


def load_engine(name: str, device: str) -> Engine:
    """Load an engine by name on a torch device ("cpu", "cuda", "mps").

    Raises OptionError for an unknown name, MissingError when its weights are not there.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    module, function = ENGINES[name].split(":")
    engine: Engine = getattr(import_module(module), function)(device)
    return engine
