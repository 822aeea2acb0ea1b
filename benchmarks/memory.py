"""Does memory grow with the file? `python benchmarks/memory.py`: renders noise of two lengths and prints peak memory.

Each length runs in a process of its own. The figure is the peak resident memory above that of the loaded session.
"""

import multiprocessing
import resource
import tempfile
from pathlib import Path

import click
import numpy as np
import scipy.signal
import soundfile

from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest

RATE = 48000


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_noise(path: Path, minutes: float) -> None:
    """Stereo noise below 6 kHz, a second at a time."""
    rng = np.random.default_rng(0)
    sos = scipy.signal.ellip(10, 0.1, 90, 6000, fs=RATE, output="sos")
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_24") as file:
        for _ in range(round(60 * minutes)):
            file.write(0.1 * scipy.signal.sosfilt(sos, rng.standard_normal((RATE, 2)), axis=0))


def measure(minutes: float, candidates: int) -> tuple[float, float]:
    """(MiB of the loaded session, MiB above it at the peak of a render)."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "noise.wav"
        write_noise(source, minutes)
        session = Session(RenderOptions(candidates=candidates, steps=1, cutoff=6000))
        loaded = peak_mib()
        render(session, RenderRequest(source, Path(folder) / "out.wav"))
        return loaded, peak_mib() - loaded


@click.command()
@click.option("--minutes", type=float, multiple=True, default=[0.5, 5], show_default=True)
@click.option("--candidates", default=2, show_default=True)
def main(minutes: tuple[float, ...], candidates: int) -> None:
    """Print peak memory by length."""
    context = multiprocessing.get_context("spawn")
    for length in minutes:
        with context.Pool(1) as pool:
            loaded, above = pool.apply(measure, (length, candidates))
        click.echo(
            f"{length:g} min stereo, N = {candidates}: {above:.0f} MiB above the loaded session's {loaded:.0f} MiB"
        )


if __name__ == "__main__":
    main()
