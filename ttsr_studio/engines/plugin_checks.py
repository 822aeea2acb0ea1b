"""What an engine of another package is held to."""

from typing import Any

from torch import Tensor

from ttsr_studio.diffusion.model import Engine
from ttsr_studio.plugins.plugin import Check, type_in_words
from ttsr_studio.plugins.registry import lacks


def engine_misfit(name: str, engine: Engine) -> str | None:
    """Why something is no engine of this name, None when it is one."""
    if lacking := lacks(engine, Engine):
        return lacking
    if engine.name != name:
        return f"it calls itself {engine.name!r}; its `name` is to be that of its entry point"
    return None


def no_prediction(given: Any, x: Tensor, *_: Any) -> str | None:
    """Why something is no x0-prediction of x [N, ...]."""
    fits = isinstance(given, Tensor) and given.shape == x.shape
    return None if fits else f"{type_in_words(given)} in place of a tensor of shape {tuple(x.shape)}, that of x"


def no_audio(given: Any, x0: Tensor, *_: Any) -> str | None:
    """Why something is no audio [N, samples] of x0 [N, ...]."""
    fits = isinstance(given, Tensor) and given.dim() == 2 and len(given) == len(x0)
    return None if fits else f"{type_in_words(given)} in place of a tensor [{len(x0)}, samples]"


ENGINE_CHECKS: dict[str, Check | None] = {
    "denoise": no_prediction,
    "decode": no_audio,
    **dict.fromkeys(("condition", "unconditional", "start", "preview", "weights")),
    **dict.fromkeys(("noise_shape", "noise_hop", "noise_lead")),
}
"""What an engine of another package answers for."""
