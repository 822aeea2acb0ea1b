"""Render a folder of real studio files and measure what a mix engineer would: `python benchmarks/studio.py FOLDER`.

For every file: rendered or failed with one line; output length; residual against the (resampled) input below the
cutoff - 1 kHz, after the file's one gain; loudness difference; difference of the stereo low-band side signal.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
import pyloudnorm
import scipy.signal
import soundfile
import soxr

from ttsr_studio.errors import TtsrError
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session
from ttsr_studio.rendering.pipeline import render
from ttsr_studio.rendering.request import RenderRequest


def level_db(audio: np.ndarray) -> float:
    return float(10 * np.log10((audio.astype(np.float64) ** 2).mean() + 1e-30))


def low_residual_db(output: np.ndarray, source: np.ndarray, edge_hz: float, rate: int) -> float:
    """Level of output - source below the edge, relative to the source there; arrays [samples, channels]."""
    taps = scipy.signal.firwin(8193, edge_hz - 60, fs=rate, window=("kaiser", 14.0))
    pad = min(len(source) // 10, rate // 10)
    inner = slice(pad, -pad or None)
    low = [scipy.signal.fftconvolve(x, taps[:, None], mode="same", axes=0)[inner] for x in (output - source, source)]
    return level_db(low[0]) - level_db(low[1])


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--candidates", default=4, show_default=True)
def main(folder: Path, candidates: int) -> None:
    """Print a Markdown table, one row per file of FOLDER."""
    session = Session(RenderOptions(candidates=candidates, depth="32f"))
    click.echo("| file | cutoff, kHz | length | low-band residual, dB | side residual, dB | loudness, LU | gain, dB |")
    click.echo("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for path in sorted(p for p in folder.iterdir() if p.suffix != ".md"):
            target = Path(temporary) / f"{path.stem}.wav"
            try:
                result = render(session, RenderRequest(path, target, report=False)).summary
            except TtsrError as error:
                click.echo(f"| {path.name} | | {str(error).removeprefix(str(path.parent) + '/')} | | | | |")
                continue
            output, rate = soundfile.read(target, always_2d=True)
            raw, source_rate = soundfile.read(path, always_2d=True)
            expected = -(-len(raw) * rate // source_rate)
            source = soxr.resample(raw, source_rate, rate, quality="VHQ")
            source = np.pad(source, ((0, max(0, len(output) - len(source))), (0, 0)))[: len(output)]
            scaled = source * 10 ** (result["gain_db"] / 20)
            edge = result["cutoff_hz"] - 1000
            residual = low_residual_db(output, scaled, edge, rate)
            side = "mono"
            if output.shape[1] == 2:
                pair = [x[:, :1] - x[:, 1:] for x in (output, scaled)]
                side = f"{low_residual_db(*pair, edge, rate):.0f}"
            loudness = "-"
            if len(output) >= 0.4 * rate:
                difference = [
                    pyloudnorm.Meter(r).integrated_loudness(x) for x, r in ((output, rate), (raw, source_rate))
                ]
                loudness = f"{difference[0] - difference[1]:+.2f}"
            length = "exact" if len(output) == expected else f"{len(output)} for {expected}"
            click.echo(
                f"| {path.name} | {result['cutoff_hz'] / 1000:.2f} | {length} | {residual:.0f} | {side} | {loudness} | "
                f"{result['gain_db']:+.2f} |"
            )


if __name__ == "__main__":
    main()
