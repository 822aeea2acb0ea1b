"""What a search costs, by stage, against rendering its candidates one by one: `python benchmarks/search.py`.

Renders a stereo stem of 30 s (its own, made of noise and tones below 6 kHz, or the one given) with N candidates, then
N times with one candidate each, in turns within one run. Prints seconds by stage, the wall time of the search, and the
factor.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import scipy.signal
import soundfile
import torch

from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest

RATE = 48000


def write_stem(path: Path, seconds: float) -> None:
    """Stereo: noise in bursts and gliding tones, below 6 kHz."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal((2, time_s.size)) * np.clip(np.sin(2 * np.pi * 1.7 * time_s), 0.02, 1)
    tones = sum(np.sin(2 * np.pi * (k * 200 * time_s + k * 5 * np.sin(time_s))) / k for k in range(1, 25))
    sos = scipy.signal.ellip(12, 0.1, 100, 6000, fs=RATE, output="sos")
    soundfile.write(path, 0.05 * scipy.signal.sosfiltfilt(sos, noise + tones).T, RATE, subtype="PCM_24")


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=30.0, show_default=True, help="Length of the stem that is made.")
@click.option("--candidates", default=16, show_default=True)
@click.option("--verifier", "verifiers", multiple=True, default=["critic"], show_default=True)
@click.option("--one-by-one/--no-one-by-one", default=True, show_default=True)
def main(file: Path | None, seconds: float, candidates: int, verifiers: tuple[str, ...], one_by_one: bool) -> None:
    """Print what the search of FILE costs."""
    options = RenderOptions(candidates=candidates, verifiers=verifiers)
    with tempfile.TemporaryDirectory() as folder:
        source = file or Path(folder) / "stem.wav"
        if file is None:
            write_stem(source, seconds)
        search = Session(options)
        singles = Session(replace(options, candidates=1))
        click.echo(f"{torch.get_num_threads()} threads, {candidates} candidates, scored by {', '.join(verifiers)}")
        began = time.perf_counter()
        done = render(search, RenderRequest(source, Path(folder) / "search.wav"))
        whole = time.perf_counter() - began
        for stage, spent in sorted(done.summary["stages"].items(), key=lambda item: -item[1]):
            click.echo(f"  {stage:10} {spent:6.2f} s")
        click.echo(f"search: {whole:.1f} s")
        if not one_by_one:
            return
        began = time.perf_counter()
        for i in range(candidates):
            render(
                singles.with_options(replace(singles.options, seed=i)), RenderRequest(source, Path(folder) / f"{i}.wav")
            )
        alone = time.perf_counter() - began
        click.echo(f"one by one: {alone:.1f} s, {alone / whole:.2f} times as long")


if __name__ == "__main__":
    main()
