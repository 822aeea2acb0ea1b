"""`ttsr inspect`: its options. What it does with them is in `inspect_files`, which loads torch."""

from pathlib import Path

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.interrupt import left_at_once


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
    with left_at_once():
        from ttsr_studio.cli.inspect_files import inspect_files

    inspect_files(inputs, salvage, stream, as_json, estimate, preset)
