"""`ttsr inspect`: what files hold, and what a render would do with them."""

import json
import sys
from functools import cache
from pathlib import Path

import click

from ttsr_studio.audio.bandwidth.detector import Verdict
from ttsr_studio.batch.estimate import Speed, measured_speed
from ttsr_studio.batch.plan import expand, passed_over
from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.config.resolve import resolve
from ttsr_studio.diagnostics.inspection import Inspection, inspect, picture
from ttsr_studio.errors import OptionError, TtsrError, in_one_line, shown
from ttsr_studio.rendering.inference.session import Session


class InspectCommand(GroupedCommand, OneLineErrors):
    """A command with examples, whose errors are one line."""


@click.command(
    "inspect",
    cls=InspectCommand,
    examples=(
        ("ttsr inspect take.wav", "where its band ends, by time and channel"),
        ("ttsr inspect stems/ --no-estimate", "a folder, quickly"),
        ("ttsr inspect stems/ --json", "one JSON object for each file"),
    ),
    first=("Options",),
)
@click.argument("inputs", nargs=-1, required=True, type=UserPath(path_type=Path, readable=False), metavar="INPUT...")
@grouped("Options", "--salvage", is_flag=True, help="Look at what is left of a file that is cut short or damaged.")
@grouped(
    "Options",
    "--stream",
    metavar="N|LANGUAGE",
    help="Which audio stream of a file that has several: its number, from 1 on, or its language.",
)
@grouped(
    "Options",
    "--estimate/--no-estimate",
    default=True,
    show_default=True,
    help="Say how long a render with the preset would take here. That loads the engine and tries it.",
)
@grouped(
    "Options",
    "--preset",
    default="general",
    shell_complete=completing.presets_or_files,
    show_default=True,
    help="Preset that the estimate is for.",
)
@grouped("Options", "--json", "as_json", is_flag=True, help="Print one JSON object for each file.")
def inspect_command(
    inputs: tuple[Path, ...], salvage: bool, stream: str | None, as_json: bool, estimate: bool, preset: str
) -> None:
    """Say where the band of files ends, by time and channel, how that is known, and what a render would do.

    Folders are searched for audio. Nothing is written. Of a file over 20 minutes only its beginning, middle and end are
    read, two minutes each. Exit code 0, or 1 when a file could not be read.
    """
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
            click.echo(json.dumps(told) if as_json else f"failed: {reason}", err=not as_json)
            continue
        speed = speed_of() if found.band.limited else None
        if as_json:
            needed = speed.of(found.seconds, found.info.channels) if speed else None
            click.echo(json.dumps(found.to_json() | {"render_s": needed, "render_s_basis": speed and speed.basis}))
        else:
            click.echo("\n".join(inspection_lines(found, speed)))
    if failed:
        sys.exit(1)


def inspection_lines(found: Inspection, speed: Speed | None = None) -> list[str]:
    """What a person reads of a file."""
    info, band = found.info, found.band
    evidence = "" if band.evidence_db is None else f"; evidence {band.evidence_db:.0f} dB"
    doubt = "" if band.sure or not band.limited else ", not much: listen"
    lines = [
        shown(info.path),
        f"  {info.format}, {info.rate} Hz, {info.channels} ch, {found.seconds:.2f} s",
        f"  {band.verdict.value}: {band.reason}{evidence}{doubt}",
        f"  {found.plan}" + (f"; {speed.words(found.seconds, info.channels)}" if speed else ""),
        *([f"  {found.codec}"] if found.codec else []),
        *(f"  steady tone: {tone.hz:.0f} Hz, {tone.level_db:.0f} dBFS; --remove tones" for tone in found.tones),
        *(
            f"  a filter's skirt, channel {channel + 1}, from {start:.1f} s: --lift-skirt lifts it from "
            f"{skirt.start_hz / 1000:.1f} to {skirt.end_hz / 1000:.1f} kHz by up to {skirt.most_db:.0f} dB"
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
