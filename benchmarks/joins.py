"""Can the joins between segments be heard in the level? Changes of level above the cutoff at joins, and anywhere.

python benchmarks/joins.py FILE... --cutoff 4000

Every file is low-passed, rendered with segments of a quarter of a second at no price of seams (the most joins there can
be) and with the presets' segments. The change of level above the cutoff from before a join to after it is compared with
the same difference anywhere. Clicks would show as second differences beyond the file's own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

WAYS = {"most joins": ["--segment", "0.25", "--seam", "0"], "presets": []}
FRAME_SECONDS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--cutoff", type=float, default=4000)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--candidates", type=int, default=8)
    given = parser.parse_args()
    print(
        "| file | way | joins | change at joins, dB: median, 95 % | anywhere | largest bend at joins, of the file's |"
    )
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for path in given.files:
            source, rate = low_passed(path, Path(folder), given)
            for way, options in WAYS.items():
                print(row(path.name, way, *rendered(source, options, given), rate, given.cutoff), flush=True)


def low_passed(path: Path, folder: Path, given: argparse.Namespace) -> tuple[Path, int]:
    audio, rate = soundfile.read(path, always_2d=True)
    taps = scipy.signal.firwin(1023, given.cutoff * 0.97, fs=rate, window=("kaiser", 12.0))
    made = scipy.signal.fftconvolve(audio[: round(given.seconds * rate)], taps[:, None], mode="same", axes=0)
    soundfile.write(folder / "in.wav", made, rate, subtype="FLOAT")
    return folder / "in.wav", rate


def rendered(source: Path, options: list[str], given: argparse.Namespace) -> tuple[np.ndarray, list[float]]:
    """The render [samples] in mono, and where segments of different candidates meet, seconds."""
    out = source.with_name("out.wav")
    command = ["render", source, "-o", out, "--overwrite", "--choice", "segment", "--cutoff", given.cutoff]
    command += ["--candidates", given.candidates, "--rate", "source", *options]
    subprocess.run([sys.executable, "-m", "ttsr_studio", *map(str, command)], check=True, capture_output=True)
    report = json.loads(out.with_name("out.ttsr.json").read_text())
    pairs = [(a, b) for w in report["windows"] for a, b in zip(w["segments"], w["segments"][1:], strict=False)]
    joins = [b["start_s"] for a, b in pairs if a["candidate"] != b["candidate"]]
    return soundfile.read(out, always_2d=True)[0].mean(axis=1), joins


def row(name: str, way: str, audio: np.ndarray, joins: list[float], rate: int, cutoff: float) -> str:
    above = scipy.signal.sosfilt(scipy.signal.butter(8, cutoff * 1.15, "high", fs=rate, output="sos"), audio)
    frame = round(FRAME_SECONDS * rate)
    level = 10 * np.log10((above[: len(above) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1) + 1e-12)
    places = [round(join / FRAME_SECONDS) for join in joins]
    at = np.array([abs(level[place + 2] - level[place - 3]) for place in places if 3 <= place < len(level) - 2])
    anywhere = np.abs(level[5:] - level[:-5])
    bends = np.abs(np.diff(above, n=2))
    near = [bends[max(0, round(join * rate) - frame) : round(join * rate) + frame].max() for join in joins]
    click = f"{max(near) / bends.max():.2f}" if near else "-"
    figures = [f"{np.median(x):.1f}, {np.quantile(x, 0.95):.1f}" if len(x) else "-" for x in (at, anywhere)]
    return f"| {name} | {way} | {len(joins)} | {figures[0]} | {figures[1]} | {click} |"


if __name__ == "__main__":
    main()
