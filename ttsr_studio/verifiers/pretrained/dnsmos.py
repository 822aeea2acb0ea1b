"""DNSMOS P.808: the opinion score that listeners would give a speech recording.

Band: speech up to 8 kHz (it resamples to 16 kHz), the mean of the channels; nothing of the band above. It falls as the
band narrows (4.0 full band, 3.6 at 4 kHz, 3.3 at 2 kHz); the P.835 overall score rises, so it is not used.
Needs: nothing.
Shape and rate: [N, channels, samples] at any rate; it takes 9.01 s at a time in steps of 1 s and averages, and repeats
shorter audio until it fills one such stretch, as its authors' package does.
Unit, range, direction: MOS, about 1 to 5; higher is better. Nearly blind to level.
Silence: 2.15, a constant that means nothing.
Weights and licence: model_v8.onnx (220 kB) from the package `speechmos`, MIT (Microsoft).
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttsr_studio.errors import MissingError, pip_install
from ttsr_studio.verifiers.protocol import Context, Need, Scope

RATE = 16000
LENGTH_S = 9.01
N_FFT = 321
HOP = 160
MELS = 120


class DNSMOS:
    """DNSMOS P.808 by its published network; equals `speechmos.dnsmos.run(...)["p808_mos"]`."""

    name = "dnsmos"
    unit = "MOS"
    scope: Scope = "window"
    needs: frozenset[Need] = frozenset()
    licence = "MIT (speechmos, Microsoft)"

    def __init__(self, device: str = "cpu") -> None:
        """Load the network. Raises MissingError when its package or ONNX Runtime is not installed."""
        try:
            import onnxruntime
            import speechmos
        except ImportError as error:
            raise MissingError(
                f"verifier 'dnsmos' needs the package {error.name!r}: {pip_install('ttsr-studio[speech]')}"
            ) from error
        path = Path(speechmos.__file__).parent / "dnsmos_models" / "model_v8.onnx"
        if not path.is_file():
            raise MissingError(
                f"speechmos has no model_v8.onnx: {pip_install('--force-reinstall', 'speechmos>=0.0.1.1')}"
            )
        content = path.read_bytes()
        self.weights = {path.name: hashlib.sha256(content).hexdigest()}
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._window = torch.hann_window(N_FFT)
        self._filters = torch.from_numpy(_mel_filters())

    def score(self, audio: Tensor, context: Context) -> Tensor:
        """audio [N, channels, samples] -> MOS [N], float64, higher is better."""
        mono = audio.mean(1).cpu().numpy()
        rows = [soxr.resample(x, context.sample_rate, RATE) for x in mono]
        return torch.tensor([self._opinion(row) for row in rows], dtype=torch.float64)

    def _opinion(self, audio: NDArray[np.float32]) -> float:
        """The MOS of [samples] at 16 kHz, or NaN for audio that is not finite."""
        if not np.isfinite(audio).all():
            return math.nan
        opinions = []
        for part in _stretches(audio):
            # One stretch a run: a score must not depend on what else is in the batch.
            features = self._features(torch.from_numpy(part[:-HOP]))
            opinions.append(self._session.run(None, {"input_1": features.numpy()[None]})[0][0, 0])
        return float(np.mean(opinions))

    def _features(self, audio: Tensor) -> Tensor:
        """Log-mel features of [144000] samples -> [900, 120]: dB below the loudest, 80 at most, (dB + 40) / 40."""
        stft = torch.stft(audio, N_FFT, HOP, window=self._window, pad_mode="constant", return_complex=True)
        power = (self._filters @ stft.abs().square()).clamp_min(1e-10)
        decibels = 10 * (power.log10() - power.max().log10())
        return ((decibels.clamp_min(-80.0) + 40) / 40).T.contiguous()


def _stretches(audio: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Cut [samples] at 16 kHz into stretches of 9.01 s, 1 s apart, doubling shorter audio until one fits."""
    if not len(audio):
        audio = np.zeros(1, np.float32)  # less than a sample is silence
    length = int(LENGTH_S * RATE)
    while len(audio) < length:
        audio = np.concatenate([audio, audio])
    count = int(len(audio) // RATE - LENGTH_S) + 1
    # The package's own arithmetic: rounding makes some stretches a sample short, and it leaves those out.
    parts = [audio[i * RATE : int((i + LENGTH_S) * RATE)] for i in range(count)]
    return [part for part in parts if len(part) >= length]


def _mel_filters() -> NDArray[np.float32]:
    """Triangular filters of unit area on Slaney's mel scale, 0 to 8 kHz -> [120, 161]."""
    step = math.log(6.4) / 27  # one mel above 1 kHz, where the scale turns logarithmic
    mel = np.linspace(0, 15 + math.log(RATE / 2 / 1000) / step, MELS + 2)
    hz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    bins = np.fft.rfftfreq(N_FFT, 1 / RATE)
    rising = (bins - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    falling = (hz[2:, None] - bins) / (hz[2:] - hz[1:-1])[:, None]
    area = 2 / (hz[2:] - hz[:-2])
    filters: NDArray[np.float32] = (np.clip(np.minimum(rising, falling), 0, None) * area[:, None]).astype(np.float32)
    return filters
