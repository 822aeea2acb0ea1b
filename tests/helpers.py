"""Audio for tests, and what drives the programs under test."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import scipy.signal
import soundfile
from click.testing import Result

Ttsr = Callable[..., Result]

TTSR = Path(sys.executable).with_name("ttsr.exe" if os.name == "nt" else "ttsr")
"""The installed program."""

LONGEST = 240.0
"""Seconds for what takes a few: more is a hang, on a busy machine as well. Shorter than the time limit of a test."""


def voice(seconds: float, rate: int = 48000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Something like a voice: gliding harmonics and breath in syllables, full-band, [samples, channels]."""
    return _voice(seconds, rate, channels, seed).copy()


@functools.lru_cache(32)
def _voice(seconds: float, rate: int, channels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * t + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, min(60, int(rate / 2 / 170))))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1) ** 0.5
    breath = scipy.signal.lfilter([1, -0.9], [1], rng.standard_normal((t.size, channels)), axis=0)
    left_right = np.linspace(1.0, 0.6, channels)
    mono = (buzz * syllables)[:, None] * left_right
    return np.asarray(0.08 * (mono + 0.25 * breath * syllables[::-1, None]))


def below(audio: np.ndarray, cutoff: float, rate: int = 48000) -> np.ndarray:
    """Band-limited by a steep linear-phase filter, [samples, channels]."""
    taps = scipy.signal.firwin(1023, cutoff * 0.97, fs=rate, window=("kaiser", 12.0))
    return np.asarray(scipy.signal.fftconvolve(audio, taps[:, None], mode="same", axes=0))


def save(path: Path, audio: np.ndarray, rate: int = 48000, subtype: str = "PCM_24") -> Path:
    soundfile.write(path, audio, rate, subtype=subtype)
    return path


def load(path: Path) -> np.ndarray:
    """[samples, channels], float64."""
    return np.asarray(soundfile.read(os.fsencode(path), always_2d=True)[0])


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
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("root may read everything, and there is no setpriv that works")
    return command


@contextlib.contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that signals reach, gone at the end with all that it started.

    Tests may run in the background, where Ctrl-C is ignored; whatever they start would ignore it too.
    """
    process = subprocess.Popen(
        list(map(str, command)),
        text=True,
        preexec_fn=heed_signals if os.name == "posix" else None,
        **{"env": os.environ | {"OMP_NUM_THREADS": "1"}, **options},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def heed_signals() -> None:
    """Every signal that ends a process does so, whatever the parent was told to ignore or to put off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def until(what: Callable[[], Any], seconds: float = LONGEST) -> Any:
    """Wait for something that stays so once it is so; what passes by itself can be missed."""
    end, trouble = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except Exception as error:
            trouble = error
        time.sleep(0.05)
    raise AssertionError("it did not come to that") from trouble
