"""Do integer outputs clip? Hot float inputs of many kinds through `ttsr render`, every output read back.

    python benchmarks/clipping.py [--files 500]

Exits with 1 when an output holds a sample at full scale, or a true peak over the ceiling by more than .1 dB.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr

from ttsr_studio.cli.main import main as ttsr

RATE = 16000
CEILINGS = (0.0, -1.0, -3.0)
LOUDNESS = ("match", "off", "-14", "-6")


def hot(number: int) -> np.ndarray:
    """An input whose band ends at 5 kHz, [samples, channels]: noise, tones between samples, or bursts."""
    rng = np.random.default_rng(number)
    channels, time = 1 + number % 2, np.arange(RATE // 2) / RATE
    kind = number % 3
    if kind == 0:
        audio = rng.standard_normal((len(time), channels))
    elif kind == 1:
        audio = np.stack([np.sin(2 * np.pi * 4000 * time + rng.uniform(0, np.pi)) for _ in range(channels)], axis=1)
        audio += 0.1 * rng.standard_normal(audio.shape)
    else:
        audio = rng.standard_normal((len(time), channels)) * (rng.random((len(time), 1)) > 0.98)
    taps = scipy.signal.firwin(511, 5000, fs=RATE, window=("kaiser", 12.0))
    audio = scipy.signal.fftconvolve(audio, taps[:, None], mode="same", axes=0)
    audio *= 10 ** (rng.uniform(-1, 24) / 20) / np.abs(audio).max()
    audio[:, : channels - 1] *= rng.uniform(0.01, 1)
    return audio


def true_peak(audio: np.ndarray, rate: int) -> float:
    """dBTP."""
    over = soxr.resample(audio, rate, 4 * rate, quality="VHQ")
    return float(20 * np.log10(np.abs(over).max() + 1e-12))


def allowed(source: Path, ceiling: float) -> float:
    """dBTP that an output may have: an input's own, where its samples fit integers."""
    audio = soundfile.read(source, always_2d=True)[0]
    return max(ceiling, true_peak(audio, RATE)) if np.abs(audio).max() <= 1 else ceiling


def clipped(path: Path, ceiling: float) -> str | None:
    """What is wrong with an output; None where nothing is."""
    depth = soundfile.info(path).subtype
    steps = soundfile.read(path, dtype="int32", always_2d=True)[0]
    highest = 2**31 - (2**16 if depth == "PCM_16" else 2**8)
    if steps.max() >= highest or steps.min() <= -(2**31):
        return "a sample at full scale"
    peak = true_peak(steps / 2.0**31, 48000)
    return f"true peak {peak:.2f} dBTP" if peak > ceiling + 0.1 else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    files, wrong, groups = parser.parse_args().files, 0, len(CEILINGS) * len(LOUDNESS) * 2
    with tempfile.TemporaryDirectory() as scratch:
        for group in range(groups):
            ceiling, loudness = CEILINGS[group % 3], LOUDNESS[group // 3 % 4]
            depth = ("16", "24")[group // 12]
            folder, made = Path(scratch) / f"in{group}", Path(scratch) / f"out{group}"
            folder.mkdir()
            for number in range(group, files, groups):
                soundfile.write(folder / f"{number}.wav", hot(number), RATE, subtype="FLOAT")
            options = ["--candidates", "1", "--steps", "1", "--no-report", "--cutoff", "5000"]
            options += ["--depth", depth, "--ceiling", str(ceiling), "--loudness", loudness, "-o", f"{made}/"]
            with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
                ttsr(["render", str(folder), *options], standalone_mode=False)
            for path in sorted(made.iterdir()):
                if fault := clipped(path, allowed(folder / path.name, ceiling)):
                    wrong += 1
                    print(f"{path.name}: {fault} (--depth {depth} --ceiling {ceiling} --loudness {loudness})")
    print(f"{wrong} of {files} outputs clip")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
