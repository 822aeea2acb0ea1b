"""Engines: diffusion models behind one contract, in EDM coordinates (x = x0 + sigma * eps).

A search, sampler or verifier knows nothing of a model beyond this contract; an engine knows no search. Adding one is
one file (or folder) and one line in `ENGINES`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ttsr_studio.errors import MissingError, OptionError, pip_install
from ttsr_studio.plugins.registry import Registry

if TYPE_CHECKING:
    from ttsr_studio.diffusion.model import Engine


@dataclass(frozen=True)
class EngineSettings:
    """How an engine runs. An engine refuses settings that mean nothing to it.

    Attributes:
        precision: of the networks; "auto" is the fastest that the device is good at.
        window: seconds that the engine takes and draws at once; None for its own.
        compile: compile the denoising network first (torch.compile): slow to start, faster after.
        low_vram: keep on the device only the network that runs, and decode in tiles.
        posterior: condition on the mean of the encoder's posterior, or on a sample, the same for all candidates.
        engine_weights: a file of weights in place of the engine's own.
        variety: how far candidates differ in level, 0 to 1.
    """

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    window: float | None = None
    compile: bool = False
    low_vram: bool = False
    posterior: Literal["mean", "sample"] = "mean"
    engine_weights: Path | None = None
    variety: float = 0.0

    def refuse(self, engine: str, known: Collection[str]) -> None:
        """Raise OptionError when a setting is not at its default that this engine does not know."""
        for field in fields(self):
            if getattr(self, field.name) != field.default and field.name not in known:
                option = field.name.replace("_", "-")
                offered = ", ".join(f"--{name.replace('_', '-')}" for name in known)
                rest = f"; it has {offered}" if offered else ""
                raise OptionError(f"engine {engine!r} has no --{option}{rest}; leave it out")


Loader = Callable[[str, str, EngineSettings], "Engine"]
"""What an entry names: load(name, device, settings) -> engine."""

ENGINES: Registry[Loader] = Registry(
    "engine",
    {
        "builtin": "ttsr_studio.engines.builtin.engine:load",
        "audiosr-basic": "ttsr_studio.engines.audiosr.engine:load",
        "audiosr-speech": "ttsr_studio.engines.audiosr.engine:load",
    },
    lambda entry: None if callable(entry) else "it is no function load(name, device, settings)",
)


def load_engine(name: str, device: str, settings: EngineSettings | None = None) -> "Engine":
    """Load an engine by name on a torch device ("cpu", "cuda", "mps").

    Raises OptionError for an unknown name or a setting that the engine does not have, MissingError when its packages or
    weights are not there.
    """
    from ttsr_studio.diffusion.batch_limit import is_out_of_memory
    from ttsr_studio.engines.device import keep_float32
    from ttsr_studio.engines.plugin_checks import ENGINE_CHECKS, engine_misfit

    keep_float32()
    try:
        load = ENGINES[name]
    except ModuleNotFoundError as error:  # of a built-in one
        raise MissingError(
            f"engine {name!r} needs the package {error.name!r}; install them with: "
            f"{pip_install('ttsr-studio[audiosr]')}"
        ) from error
    return ENGINES.made(
        name,
        lambda: load(name, device, settings or EngineSettings()),
        lambda engine: engine_misfit(name, engine),
        ENGINE_CHECKS,
        lambda error: isinstance(error, RuntimeError) and is_out_of_memory(error),  # a smaller batch is tried then
    )
