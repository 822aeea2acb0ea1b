"""SIGMOS: what listeners would say of a speech recording by the seven scales of ITU-T P.804 (Ristea et al. 2023).

The one public opinion network without a reference, with a free licence, that hears the whole band.

Band: speech, the whole band to 24 kHz (it works at 48 kHz), the mean of the channels.
Needs: nothing.
Shape and rate: [N, channels, samples] at any rate; 30 s at a time, whose opinions are averaged by length (its authors
give it files of about 10 s, whole). Other rates are resampled by soxr, where its authors take librosa's FFT.
Unit, range, direction: scales "COL" coloration, "DISC" discontinuity, "LOUD" loudness, "NOISE", "REVERB", "SIG" signal
and "OVRL" overall, opinions of 1 to 5 of how good it is in that respect; higher is better, on every scale.
Silence: a finite number for each scale, the same for all candidates, that means nothing.
Weights and licence: sigmos.onnx (26 MB) by `ttsr models fetch sigmos`, MIT (Microsoft).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.verifiers.protocol import Context, Need, Scope
from ttsr_studio.weights import store

RATE = 48000
FRAME, HOP = 960, 480
LONGEST = 30 * RATE
SCALES = ("COL", "DISC", "LOUD", "NOISE", "REVERB", "SIG", "OVRL")
COMPRESSION = 0.3


class SIGMOS:
    """Seven opinions by the published network; equals `SigMOS.run` of microsoft/SIG-Challenge at 48 kHz."""

    name = "sigmos"
    unit = "MOS"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset()

    def __init__(self, device: str = "cpu") -> None:
        """Load the network. Raises MissingError when a package or the weights are not installed, or do not fit."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingError(
                f"verifier 'sigmos' needs the package {error.name!r}: {pip_install('ttsr-studio[speech]')}"
            ) from error
        folder, manifest = store.require("sigmos")
        try:
            self._session = onnxruntime.InferenceSession(folder / "sigmos.onnx", providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes have no common base but this
            raise MissingError(f"sigmos: its weights do not fit the model; {store.remedy('sigmos')}") from error
        self._input = self._session.get_inputs()[0].name
        self._window = np.sqrt(torch.hann_window(FRAME).numpy())
        self.weights = manifest.checksums()
        self.licence = manifest.licence

    def score(self, audio: Tensor, context: Context) -> dict[str, Tensor]:
        """Score candidates [N, channels, samples].

        Returns {"COL", "DISC", "LOUD", "NOISE", "REVERB", "SIG", "OVRL"}: opinions [N] each, float64, higher is better;
        NaN for audio that is not finite.
        """
        rows = [self._opinions(samples.numpy()) for samples in context.mono(audio, RATE)]
        table = torch.tensor(np.array(rows).reshape(-1, len(SCALES)), dtype=torch.float64)
        return {scale: table[:, i] for i, scale in enumerate(SCALES)}

    def _opinions(self, audio: NDArray[np.float32]) -> NDArray[np.float64]:
        """Opinions [scales] of [samples] at 48 kHz."""
        if not np.isfinite(audio).all():
            return np.full(len(SCALES), math.nan)
        if not len(audio):
            audio = np.zeros(1, np.float32)
        total = np.zeros(len(SCALES))
        for start in range(0, len(audio), LONGEST):
            part = audio[start : start + LONGEST]
            said = self._session.run(None, {self._input: compressed_spectrum(part, self._window)})[0]
            total += np.asarray(said, np.float64)[0] * len(part) / len(audio)
        return total


def compressed_spectrum(audio: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude, real and imaginary part of a compressed spectrum: [samples] -> [1, 3, frames, 481].

    Frames of 20 ms every 10 ms, the first half of zeros; a bin's magnitude is raised to the power .3, its phase stays.
    """
    tail = FRAME - (len(audio) % HOP or HOP)
    padded = np.pad(audio, (HOP, tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    spectrum = np.fft.rfft(frames * window).astype(np.complex64)
    magnitude = np.sqrt(np.maximum(spectrum.real**2 + spectrum.imag**2, 1e-12))
    scaled = spectrum * magnitude ** (COMPRESSION - 1)
    found: NDArray[np.float32] = np.stack([magnitude**COMPRESSION, scaled.real, scaled.imag])[None].astype(np.float32)
    return found
