"""`ttsr session`: its options. What it does with them is in `session_files`."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.render_options import given_flags, render_flags
from ttsr_studio.config.option_fields import GROUPS
from ttsr_studio.options import FIRST_GROUPS


class SessionCommand(GroupedCommand, OneLineErrors):
    """A command with groups of options."""


EXAMPLES = (
    ("ttsr session song.dawproject --list", "what it plays, and from where to where"),
    ("ttsr session song.dawproject -o new.dawproject", "the same, playing renders"),
    ("ttsr session song.dawproject -o new.dawproject --tracks Vocals", "of one track"),
    ("ttsr session cut.fcpxml -o cut_ttsr.fcpxml --preset speech", "a cut's sound, pictures kept"),
)
OWN = "Session"


@click.command(
    "session",
    cls=SessionCommand,
    examples=EXAMPLES,
    first=(OWN, *FIRST_GROUPS),
    more=[group for group in GROUPS if group not in FIRST_GROUPS],
)
@click.argument("session", required=True, type=UserPath(path_type=Path, readable=False), metavar="FILE")
@grouped(
    OWN,
    "-o",
    "--output",
    type=UserPath(path_type=Path, readable=False),
    shell_complete=completing.files,
    metavar="OUT",
    help="The session to write. Renders that it does not hold itself go into the folder OUT_ttsr beside it.",
)
@grouped(
    OWN,
    "--tracks",
    multiple=True,
    metavar="NAME",
    help="Only what these tracks play, by name; may be given more than once, or with commas.",
)
@grouped(
    OWN,
    "--used-ranges",
    is_flag=True,
    help="Render only what is played of each file, with a second before and after; the rest of it stays as it was.",
)
@grouped(
    OWN,
    "--as",
    "way",
    type=click.Choice(["replace", "alternatives"]),
    default="replace",
    show_default=True,
    help="Let clips play the renders, or add these beside them, muted.",
)
@grouped(
    OWN, "--list", "list_only", is_flag=True, help="Only say which media it plays, which parts of them, and where."
)
@render_flags
@grouped("Basics", "--overwrite", is_flag=True, help="Replace OUT, and renders of an earlier run.")
@grouped("Basics", "--skip-existing", is_flag=True, help="Take renders of an earlier run that are there, and go on.")
@grouped(
    "Basics", "--dry-run", is_flag=True, help="Only say which media would be rendered, and how long it would take."
)
@grouped("Basics", "-q", "--quiet", is_flag=True, help="Print failures only, and no progress.")
@grouped("Basics", "-v", "--verbose", is_flag=True, help="Also print scores and times.")
@grouped(
    "Files",
    "--log",
    type=UserPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append all that --verbose prints, and what libraries warn of, to a file, with the time of each line.",
)
@grouped("Files", "--json", "as_json", is_flag=True, help="Print one JSON object for each medium, and one at the end.")
@grouped(
    "Files",
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write reports of the renders, and of what was replaced, into the folder OUT_ttsr.",
)
def session_command(**values: Any) -> None:
    """Render what a session of another program plays, and write the session anew with the renders in it.

    Known are DAWproject (.dawproject), REAPER (.rpp), OpenTimelineIO (.otio), Final Cut Pro (.fcpxml, .xml), kdenlive
    and MLT (.kdenlive, .mlt); AAF (.aaf) is only listed. Neither the session nor its media are touched; every file is
    rendered once; what is replaced, and what is not and why, is said.

    Exit code 0 when nothing failed, 1 when some media failed (each is named with its reason, and plays on as it did), 2
    for a wrong command line or a session that cannot be read, 130 when interrupted: then nothing is written but the
    renders that are done, and --skip-existing goes on from there.
    """
    with left_at_once():
        from ttsr_studio.cli.session_files import SessionArguments, render_session

    asked = SessionArguments(**{field.name: values[field.name] for field in fields(SessionArguments)})
    render_session(asked, given_flags(click.get_current_context()))
