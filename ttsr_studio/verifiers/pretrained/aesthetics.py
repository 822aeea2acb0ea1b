"""AudioBox aesthetics: would people enjoy this, use it, and call it well made? (Tjandra et al. 2025)

Four opinions by a WavLM with four heads, trained on ratings of speech, music and sound: CE content enjoyment, CU
content usefulness, PC production complexity, PQ production quality.

Band: any audio up to 8 kHz (it resamples to 16 kHz), the mean of the channels; nothing of the band above.
Needs: nothing, so no fallback.
Shape and rate: [N, channels, samples] at any rate; it takes 10 s at a time without overlap, as its authors' package
does. The last stretch is padded with zeros, which a mask hides, and counts by its length. Two differences: it resamples
by soxr instead of torchaudio, and on a CPU it takes one stretch at a time, so a score is the same to the last bit there
whatever else is in the batch; on a GPU it takes those of all candidates at once.
Unit, range, direction: scales "CE", "CU", "PC" and "PQ", opinions from 1 to 10 (nothing clips them); higher is better,
though a high PC only says that much is going on.
Silence: a finite number for each scale, the same for all candidates, that means nothing. Less than a sample is silence.
Weights and licence: config.json and model.safetensors (416 MB) by `ttsr models fetch aesthetics`, CC-BY-4.0 (Meta).
"""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.verifiers.pretrained.loading import by_rows
from ttsr_studio.verifiers.protocol import Context, Need, Scope
from ttsr_studio.weights import store

RATE = 16000
WINDOW = 10 * RATE
SCALES = ("CE", "CU", "PC", "PQ")


class Aesthetics:
    """Four opinions by the published network; equals `audiobox_aesthetics.infer.AesPredictor` at 16 kHz."""

    name = "aesthetics"
    unit = "1-10"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset()

    def __init__(self, device: str = "cpu") -> None:
        """Load the network. Raises MissingError when a package or the weights are not installed, or do not fit."""
        try:
            # The package's own `infer` needs torchaudio.
            from audiobox_aesthetics.model.aes import AesMultiOutput, Normalize
        except ImportError as error:
            raise MissingError(
                f"verifier 'aesthetics' needs the package {error.name!r}: {pip_install('ttsr-studio[judges]')}, and "
                f"{pip_install('--no-deps', 'audiobox_aesthetics')} "
                "(it declares torchaudio and others that are not needed here)"
            ) from error
        folder, manifest = store.require("aesthetics")
        try:
            model = _load(AesMultiOutput, folder)
            given = model.target_transform
            self._ratings = {scale: Normalize(given[scale]["mean"], given[scale]["std"]) for scale in SCALES}
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise MissingError(f"aesthetics: its weights do not fit the model; {store.remedy('aesthetics')}") from error
        self._model = model.to(device).eval()
        self._device = torch.device(device)
        self.weights = manifest.checksums()
        self.licence = manifest.licence

    @torch.no_grad()
    def score(self, audio: Tensor, context: Context) -> dict[str, Tensor]:
        """Score candidates [N, channels, samples].

        Returns {"CE", "CU", "PC", "PQ"}: opinions [N] each, float64, higher is better; NaN for audio that is not
        finite.
        """
        mono = context.mono(audio, RATE)
        table = torch.full((len(mono), len(SCALES)), torch.nan, dtype=torch.float64)
        usable = mono.isfinite().all(1)
        if usable.any():
            table[usable] = self._opinions(mono[usable])
        return {scale: table[:, i] for i, scale in enumerate(SCALES)}

    def _opinions(self, mono: Tensor) -> Tensor:
        """Opinions [N, scales] of [N, samples] at 16 kHz: the mean over their stretches, weighted by their length."""
        if not mono.shape[1]:
            mono = torch.zeros(len(mono), 1)
        total = torch.zeros(len(mono), len(SCALES), dtype=torch.float64)
        for part in mono.split(WINDOW, dim=1):
            total += by_rows(part, self._device, self._of_window) * part.shape[1] / mono.shape[1]
        return total

    def _of_window(self, part: Tensor) -> Tensor:
        """Opinions [N, scales] of at most 10 s, [N, samples] at 16 kHz."""
        wav = F.pad(part, (0, WINDOW - part.shape[1]))[:, None]
        inside = (torch.arange(WINDOW) < part.shape[1]).expand(wav.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it masks, which is its authors' to change
            opinions = self._model({"wav": wav.to(self._device), "mask": inside.to(self._device)})
        columns = [rating.inverse(opinions[scale].flatten().cpu().double()) for scale, rating in self._ratings.items()]
        return torch.stack(columns, 1)


def _load(network: Any, folder: Path) -> Any:
    """Load it from its folder as `from_pretrained` does, but refuse weights that do not fit, and never ask the hub."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how it normalises weights, likewise
        model = network(**{name: config[name] for name in network.__dataclass_fields__ if name in config})
    load_model(model, folder / "model.safetensors", strict=True)
    return model
