"""Audio for tests, and the command line to drive them with."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from click.testing import CliRunner, Result

from ttsr_studio.cli import main

torch.set_num_threads(1)

Ttsr = Callable[..., Result]


@pytest.fixture
def ttsr() -> Ttsr:
    """`ttsr("render", path, "-o", out)`: the real command line, in this process."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return call


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here may ask the network, however quietly it would take a refusal."""
    tried = []

    def refuse(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield
    assert not tried


def voice(seconds: float, rate: int = 48000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Something like a voice: gliding harmonics and breath in syllables, full-band, [samples, channels]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * t + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, min(60, int(rate / 2 / 170))))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1) ** 0.5
    breath = scipy.signal.lfilter([1, -0.9], [1], rng.standard_normal((t.size, channels)), axis=0)
    left_right = np.linspace(1.0, 0.6, channels)
    mono = (buzz * syllables)[:, None] * left_right
    return 0.08 * (mono + 0.25 * breath * syllables[::-1, None])


def below(audio: np.ndarray, cutoff: float, rate: int = 48000) -> np.ndarray:
    """Band-limited by a steep linear-phase filter, [samples, channels]."""
    taps = scipy.signal.firwin(1023, cutoff * 0.97, fs=rate, window=("kaiser", 12.0))
    return scipy.signal.fftconvolve(audio, taps[:, None], mode="same", axes=0)


def save(path: Path, audio: np.ndarray, rate: int = 48000, subtype: str = "PCM_24") -> Path:
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def load(path: Path) -> np.ndarray:
    """[samples, channels], float64."""
    return soundfile.read(os.fsencode(path), always_2d=True)[0]


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10((np.asarray(audio, np.float64) ** 2).mean() + 1e-30))


def band(audio: np.ndarray, low: float, high: float, rate: int = 48000) -> np.ndarray:
    """Only what lies between two frequencies, [samples, channels]; the ends are faded, since their edges would leak."""
    spectrum = np.fft.rfft(audio * scipy.signal.windows.tukey(len(audio), 0.1)[:, None], axis=0)
    hz = np.fft.rfftfreq(len(audio), 1 / rate)
    spectrum[(hz < low) | (hz > high)] = 0
    return np.fft.irfft(spectrum, len(audio), axis=0)


def mere_user() -> list[str]:
    """What makes a command one to which permissions apply, by root as well; skips the test where that cannot be had."""
    if os.name != "posix":
        pytest.skip("no permissions as POSIX has them")
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
