"""Weights that are not shipped: which there are, how to get them, and how they are checked.

Adding one is one line in `MODELS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.errors import MissingError, unknown
from ttsr_studio.store import Tell

Converter = Callable[[Path, Path, str, Tell], dict[str, Any]]
"""convert(source file, folder to fill, precision, tell) -> what the model's loader needs to know."""


@dataclass(frozen=True)
class Model:
    """A set of weights on the hub.

    Attributes:
        kind: what uses it.
        repository: on the hub.
        file: in that repository.
        bytes: about the size of the download.
        licence: of the weights.
        about: one line for people.
        converter: "module:function" that turns the file into the model's folder.
        kept: bytes of the converted model in fp16, about.
    """

    name: str
    kind: Literal["engine", "verifier"]
    repository: str
    file: str
    bytes: int
    licence: str
    about: str
    converter: str
    kept: int

    def convert(self, source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
        """Fill a folder from the downloaded file. Raises InputError for a file that is not this model's."""
        module, function = self.converter.split(":")
        try:
            converter: Converter = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            raise MissingError(
                f"{self.name} needs the package {error.name!r}; install it with: pip install 'ttsr-studio[audiosr]'"
            ) from error
        return converter(source, place, precision, tell)


MODELS = {
    model.name: model
    for model in (
        Model(
            name="audiosr-basic",
            kind="engine",
            repository="haoheliu/audiosr_basic",
            file="pytorch_model.bin",
            bytes=6_180_000_000,
            licence="MIT",
            about="AudioSR for any audio (Liu et al. 2024)",
            converter="ttsr_studio.engines.audiosr.checkpoint:convert",
            kept=1_350_000_000,
        ),
        Model(
            name="audiosr-speech",
            kind="engine",
            repository="haoheliu/audiosr_speech",
            file="pytorch_model.bin",
            bytes=6_180_000_000,
            licence="MIT",
            about="AudioSR tuned on speech (Liu et al. 2024)",
            converter="ttsr_studio.engines.audiosr.checkpoint:convert",
            kept=1_350_000_000,
        ),
    )
}


def find(name: str) -> Model:
    """Return a model by name. Raises OptionError for an unknown one."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
