"""A checkpoint in the official file's format with random weights: for tests, for benchmarks, and to try the path from
import to render where the real one is not at hand. It knows nothing about sound.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ttsr_studio.diffusion.timesteps import cosine_alphas
from ttsr_studio.engines.audiosr.networks import PARTS, AudioSRConfig
from ttsr_studio.engines.audiosr.state_dict import SCALE, official_names

TINY = AudioSRConfig(unet=32, vae=32, vocoder=64)
"""Few channels, for tests: the same graph."""

CLAP, CLAP_SIZE = "clap.model.audio_branch.weight", 199_600_000
"""Stands for the unused audio encoder of the official file."""


def write_checkpoint(path: Path, config: AudioSRConfig, seed: int = 0) -> None:
    """Write a file that the importer takes for an official one, with all the families that it leaves aside.

    At the official sizes it is 6.2 GB and needs as much memory.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {SCALE: torch.tensor(0.7), "logvar": torch.zeros(1000)}
    weights["alphas_cumprod"] = cosine_alphas().float()
    for part in PARTS:
        for name, official, shape in official_names(part, config):
            convolved = official.endswith("weight") and ".attn_1." in official and ".norm" not in official
            weights[official] = _random(name, (*shape, 1, 1) if convolved else shape, generator)
    everything = list(_unused(weights))
    # At other sizes a few of every family will do: the file stays small.
    weights |= dict(everything if config == AudioSRConfig() else everything[::50])
    weights[CLAP] = torch.zeros(CLAP_SIZE if config == AudioSRConfig() else 1)
    torch.save({"state_dict": weights}, path)


def _unused(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The other half of each of the two VAEs, a second vocoder, and averaged weights."""
    first, second = "first_stage_model.", "cond_stage_models.0.vae."
    for name, value in weights.items():
        if name.startswith(second):
            yield first + name.removeprefix(second), value.clone()
        elif name.startswith(first):
            yield second + name.removeprefix(first), value.clone()
        elif name.startswith("model."):
            yield "model_ema." + name.removeprefix("model.").replace(".", ""), value.clone()


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Weights that keep the variance of what passes through; norms near 1."""
    value = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        return 0.02 * value
    if len(shape) == 1:
        return 1 + 0.1 * value
    return value * math.sqrt(1 / max(1, math.prod(shape[1:])))
