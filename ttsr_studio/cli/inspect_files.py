"""What `ttsr inspect` does."""

import sys
from functools import cache
from pathlib import Path

import click

from ttsr_studio.audio.bandwidth.detector import Verdict
from ttsr_studio.batch.plan import expand, passed_over
from ttsr_studio.cli.json_output import echo_json
from ttsr_studio.config.resolve import resolve
from ttsr_studio.diagnostics.inspection import Inspection, inspect, picture
from ttsr_studio.errors import OptionError, TtsrError, in_one_line, shown
from ttsr_studio.rendering.estimate import Speed, measured_speed
from ttsr_studio.rendering.inference.session import Session


def inspect_files(
    inputs: tuple[Path, ...], salvage: bool, stream: str | None, as_json: bool, estimate: bool, preset: str
) -> None:
    """Say of every file what it holds and what a render would do; exits with 1 when one could not be read."""
    files = [file for path in inputs for file, _ in expand(path)]
    if not files:
        raise OptionError(f"{shown(inputs[0])}: no audio files here")
    if others := passed_over(inputs):
        click.echo(others, err=True)
    failed = 0
    options = resolve(preset, {})
    speed_of = cache(lambda: measured_speed(Session(options)) if estimate else None)
    for path in files:
        try:
            found = inspect(path, salvage, stream)
        except TtsrError as error:
            failed += 1
            reason = in_one_line(path, error)
            told = {"input": str(path), "status": "failed", "reason": reason}
            if as_json:
                echo_json(told)
            else:
                click.echo(f"failed: {reason}", err=True)
            continue
        speed = speed_of() if found.band.limited else None
        if as_json:
            needed = speed.of(found.seconds, found.info.channels) if speed else None
            echo_json(found.to_json() | {"render_s": needed, "render_s_basis": speed and speed.basis})
        else:
            click.echo("\n".join(inspection_lines(found, speed)))
    if failed:
        sys.exit(1)


def inspection_lines(found: Inspection, speed: Speed | None = None) -> list[str]:
    """What a person reads of a file."""
    info, band = found.info, found.band
    evidence = "" if band.evidence_db is None else f"; evidence {band.evidence_db:.0f} dB"
    doubt = "" if band.sure or not band.limited else ", not much: listen"
    verdict = band.reason if band.silent else f"{band.verdict.value}: {band.reason}"
    lines = [
        shown(info.path),
        f"  {info.format}, {info.rate} Hz, {info.channels} ch, {found.length}",
        f"  {verdict}{evidence}{doubt}",
        f"  {found.plan}" + (f"; {speed.words(found.seconds, info.channels)}" if speed else ""),
        *([f"  {found.codec}"] if found.codec else []),
        *([f"  {found.images.words}"] if found.images else []),
        *(f"  steady tone: {tone.hz:.0f} Hz, {tone.level_db:.0f} dBFS; --remove tones" for tone in found.tones),
        *(
            f"  a filter's skirt, channel {channel + 1}, from {start:.1f} s: a render lifts it from "
            f"{skirt.start_hz / 1000:.1f} to {skirt.end_hz / 1000:.1f} kHz by up to {skirt.most_db:.0f} dB; "
            "--keep-skirt leaves it"
            for start, channel, skirt in found.skirts.every()
        ),
        *([f"  heard: {', '.join(f'{a:.0f} to {b:.0f} s' for a, b in found.heard)}"] if found.heard else []),
        *(f"  note: {warning}" for warning in info.warnings),
    ]
    if band.verdict is Verdict.LIMITED:
        lines += charts(found)
    return lines


def charts(found: Inspection) -> list[str]:
    """A file's map by channel; channels that look alike have one picture."""
    band, alike = found.band, dict[tuple[str, ...], list[int]]()
    for channel in range(found.info.channels):
        silent = channel in band.silent_channels
        rows = picture(band.map, found.seconds, found.info.rate / 2, channel, silent)
        alike.setdefault(tuple(rows), []).append(channel)
    lines = []
    for drawn, channels in alike.items():
        if len(alike) > 1:
            numbers = ", ".join(str(channel + 1) for channel in channels)
            silence = ": silence" if channels[0] in band.silent_channels else ""
            lines.append(f"  channel{'s' if len(channels) > 1 else ''} {numbers}{silence}")
        lines += [f"  {row}" for row in drawn]
    return lines
