"""Distill-MOS: the opinion score of a speech recording, by a small network (Stahl and Gamper 2025).

Of another family than DNSMOS: a convolutional network and a transformer over the complex spectrogram, distilled from
scores on XLS-R. Its weights come with its package, so it needs no hub: a judge to hold out (`--hold-out distillmos`).

Band: speech up to 8 kHz (it resamples to 16 kHz), the mean of the channels; nothing of the band above. It falls as the
band narrows (the bundled voice: 4.6 as it is, 4.2 at 4 kHz, 3.2 at 2 kHz).
Needs: nothing.
Shape and rate: [N, channels, samples] at any rate; it takes 7.68 s at a time in steps of 1 s at most and averages, and
pads shorter audio with silence, as its authors' package does. On a GPU all candidates are one batch; on a CPU a score
is the same to the last bit whatever else is in the batch.
Unit, range, direction: MOS, 1 to 5; higher is better. Blind to level: every stretch is scaled to its peak.
Silence: about 2, a constant that means nothing.
Weights and licence: distill_mos_v7.pt (17 MB) from the package `distillmos`, MIT (Microsoft); it needs a module of the
package `xls-r-sqa`, MIT (KU Leuven).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.verifiers.pretrained.loading import by_rows
from ttsr_studio.verifiers.protocol import Context, Need, Scope, where_finite

RATE = 16000


class DistillMOS:
    """Distill-MOS by its published network; equals `distillmos.ConvTransformerSQAModel` at 16 kHz."""

    name = "distillmos"
    unit = "MOS"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset()
    licence = "MIT (distillmos, Microsoft)"

    def __init__(self, device: str = "cpu") -> None:
        """Load the network. Raises MissingError when a package is not installed, or the weights do not fit."""
        install = pip_install("--no-deps", "distillmos==0.9.1", "xls-r-sqa==0.1.0")
        try:
            with without_torchaudio():
                from distillmos import sqa
        except ImportError as error:
            raise MissingError(
                f"verifier 'distillmos' needs the package {error.name!r}: {install} "
                "(they declare torchaudio and others that are not needed here)"
            ) from error
        path = Path(sqa.DEFAULT_WEIGHTS_CHKPT)
        try:
            model = sqa.ConvTransformerSQAModel(load_weights=False)
            model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
            self.weights = {path.name: sha256(path)}
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise MissingError(f"{path}: its weights do not fit the model; {install} --force-reinstall") from error
        self._model = model.to(device).eval()
        self._device = torch.device(device)

    @torch.no_grad()
    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> MOS [N], float64, higher is better; NaN for audio that is not finite."""
        return where_finite(context.mono(audio, RATE), self._opinions)

    def _opinions(self, mono: Tensor) -> Tensor:
        """The MOS [N] of [N, samples] at 16 kHz, N of 1 or more."""
        return by_rows(mono, self._device, lambda rows: self._model(rows.to(self._device)).flatten().cpu().double())


@contextmanager
def without_torchaudio() -> Iterator[None]:
    """Let the package be imported where there is no torchaudio, which it uses to read files and nothing else."""
    absent = "torchaudio" not in sys.modules and find_spec("torchaudio") is None
    if absent:
        sys.modules["torchaudio"] = ModuleType("torchaudio")
    try:
        yield
    finally:
        if absent:
            del sys.modules["torchaudio"]
