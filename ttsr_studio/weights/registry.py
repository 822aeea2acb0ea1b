"""Weights that are not shipped: which there are, how to get them, and how they are checked.

Adding one of a verifier is one line in `VERIFIER_MODELS`; an engine brings its own (`engines/audiosr/models.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.weights.store import Tell

Converter = Callable[[Path, Path, str, Tell], dict[str, Any]]
"""convert(source, folder to fill, precision, tell) -> what the model's loader needs to know.

The source is the one file of a model that has one, else the folder that holds them.
"""


@dataclass(frozen=True)
class Model:
    """A set of weights on the hub.

    Attributes:
        kind: what uses it.
        repository: on the hub, or for `url` the name of the publisher.
        files: in that repository; one that ends in "?" may be missing.
        bytes: about the size of the download.
        licence: of the weights.
        about: one line for people.
        converter: "module:function" that turns what was downloaded into the model's folder.
        kept: bytes of the installed model, about.
        extra: of this package's installation that brings what the converter and the loader import.
        url: of the one file, for what is not on the hub; its second last part is the file's sha256.
    """

    name: str
    kind: Literal["engine", "verifier"]
    repository: str
    files: tuple[str, ...]
    bytes: int
    licence: str
    about: str
    converter: str
    kept: int
    extra: str
    url: str | None = None

    def convert(self, source: Path, place: Path, precision: str, tell: Tell) -> dict[str, Any]:
        """Fill a folder from what was downloaded. Raises InputError for what is not this model's."""
        module, function = self.converter.split(":")
        try:
            converter: Converter = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            raise MissingError(
                f"{self.name} needs the package {error.name!r}; install it with: "
                f"{pip_install(f'ttsr-studio[{self.extra}]')}"
            ) from error
        return converter(source, place, precision, tell)


def _transformer(
    name: str, repository: str, extra_files: tuple[str, ...], size: int, licence: str, about: str
) -> Model:
    """A folder that transformers load: its configuration, weights in either format, and what else it needs."""
    files = ("config.json", "model.safetensors?", "pytorch_model.bin?", *extra_files)
    converter = "ttsr_studio.weights.convert:transformer"
    return Model(name, "verifier", repository, files, size, licence, about, converter, size, "judges")


WORDS = ("tokenizer.json?", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json?")
WHISPER_URL = "https://openaipublic.azureedge.net/main/whisper/models/"

VERIFIER_MODELS = {
    model.name: model
    for model in (
        _transformer(
            "wavlm-sv", "microsoft/wavlm-base-plus-sv", ("preprocessor_config.json",), 404_000_000, "MIT",
            "speaker identity (Chen et al. 2022), for the verifier speaker",
        ),
        _transformer(
            "clap-music", "laion/larger_clap_music", ("preprocessor_config.json", *WORDS), 776_000_000, "Apache-2.0",
            "audio and words, music (Wu et al. 2023), for the verifier clap",
        ),
        _transformer(
            "clap-general", "laion/clap-htsat-unfused", ("preprocessor_config.json", *WORDS), 614_000_000, "Apache-2.0",
            "audio and words, any sound (Wu et al. 2023), for the verifier clap",
        ),
        _transformer(
            "aesthetics", "facebook/audiobox-aesthetics", (), 416_000_000, "CC-BY-4.0",
            "production quality and enjoyment (Tjandra et al. 2025), for the verifier aesthetics",
        ),
        Model(
            "sigmos", "verifier", "TigreGotico/sigmos-onnx", ("model-sigmos_1697718653_41d092e8-epo-200.onnx",),
            26_300_000, "MIT", "seven opinions of speech at 48 kHz (Ristea et al. 2023), for the verifier sigmos",
            "ttsr_studio.weights.convert:sigmos", 26_300_000, "speech",
        ),
        Model(
            "whisper", "verifier", "openai/whisper", ("base.en.pt",), 145_000_000, "MIT",
            "speech recognition (Radford et al. 2023), for the verifier wer",
            "ttsr_studio.weights.convert:whisper", 145_000_000, "judges",
            url=WHISPER_URL + "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead/base.en.pt",
        ),
    )
}  # fmt: skip
