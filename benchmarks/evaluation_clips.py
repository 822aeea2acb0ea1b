"""The clips that the results are from, made anew: `python benchmarks/evaluation_clips.py SOURCES OUT`.

SOURCES holds checkouts of the repositories that docs/research/evaluation_sources.csv names, as OWNER/NAME. Whole files
and excerpts come out as they were but for noise of 16 bits. Where a row names several files, which were joined to
a phrase, they are spread evenly over its length here: the same sounds at other moments. OUT/manifest.csv is for
`ttsr evaluate`; what is missing is named, and left out.
"""

import csv
import re
import sys
from pathlib import Path

import click
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

TABLE = Path(__file__).parents[1] / "docs" / "research" / "evaluation_sources.csv"
RATE = 48000
PEAK = 0.89
FADE = 240
"""Samples at either end."""
SPAN = re.compile(r"(?P<path>.*?) @(?P<start>[\d.]+)(?:-(?P<stop>[\d.]+))?s")


def read(path: Path, start: float, stop: float | None, channels: int) -> NDArray[np.float64]:
    """A part of a file at the rate of the clips, [samples, channels]; times in seconds."""
    rate = sf.info(path).samplerate
    last = None if stop is None else round(stop * rate)
    audio, _ = sf.read(path, start=round(start * rate), stop=last, always_2d=True)
    if channels < audio.shape[1]:
        audio = audio.mean(axis=1, keepdims=True)
    made: NDArray[np.float64] = soxr.resample(audio, rate, RATE)
    return made


def repeated(part: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """A file as often as it was played to fill so many seconds, which are rounded to hundredths."""
    times = max(1, round(seconds * RATE / len(part)))
    return np.tile(part, (times, 1))


def spread(parts: list[NDArray[np.float64]], seconds: float) -> NDArray[np.float64]:
    """Several files, begun at even distances."""
    whole = np.zeros((round(seconds * RATE), parts[0].shape[1]))
    for number, part in enumerate(parts):
        begin = number * len(whole) // len(parts)
        heard = part[: len(whole) - begin]
        whole[begin : begin + len(heard)] += heard
    return whole


def clip_of(row: dict[str, str], root: Path) -> NDArray[np.float64]:
    """The audio of a row of the table. Raises OSError or soundfile's error for what is not there."""
    seconds, channels = float(row["duration_s"]), int(row["channels"])
    parts = []
    for name in row["source_path"].split(";"):
        span = SPAN.fullmatch(name)
        path, start, stop = (span["path"], float(span["start"]), span["stop"]) if span else (name, 0.0, None)
        until = start + seconds if stop is None and span else None if stop is None else float(stop)
        parts.append(read(root / path, start, until, channels))
    whole = repeated(parts[0], seconds) if len(parts) == 1 else spread(parts, seconds)
    ramp = np.linspace(0.0, 1.0, FADE)[:, None]
    whole[:FADE] *= ramp
    whole[-FADE:] *= ramp[::-1]
    return whole * min(1.0, PEAK / max(1e-9, float(np.abs(whole).max())))


@click.command()
@click.argument("sources", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--table", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=TABLE)
def main(sources: Path, out: Path, table: Path) -> None:
    """Write clips and their manifest; exit code 1 where some could not be made."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    made = []
    for row in rows:
        try:
            audio = clip_of(row, sources / row["source_repo"].partition(" ")[0])
        except (OSError, sf.LibsndfileError) as error:
            click.echo(f"{row['file']}: {error}", err=True)
            continue
        target = out / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        sf.write(target, audio, RATE, subtype="PCM_16")
        made.append(row)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(made)
    click.echo(f"{len(made)} of {len(rows)} clips written to {out}")
    sys.exit(len(made) < len(rows))


if __name__ == "__main__":
    main()
