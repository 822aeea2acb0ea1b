"""`ttsr render`: its options. What it does with them is in `render_files`, which loads torch."""

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
from ttsr_studio.errors import TtsrError, on_one_line
from ttsr_studio.options import FIRST_GROUPS


def report_option(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Any:
    """Read the report of an earlier render."""
    if path is None:
        return None
    from ttsr_studio.rendering.reproduce import read_report

    try:
        return read_report(path)
    except TtsrError as error:
        raise click.UsageError(on_one_line(str(error)), ctx) from error


def follow_job(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Do what a job file says, and end."""
    if path is not None:
        from ttsr_studio.cli.job import run_job

        run_job(path)


class RenderCommand(GroupedCommand, OneLineErrors):
    """A command whose `--job` stands alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = 1 if any(word.startswith("--job=") for word in args) else 2 if "--job" in args else 0
        if own and len(args) > own and "--help" not in args:
            raise click.UsageError("--job stands alone: whatever else is wanted stands in the job file", ctx)
        return super().parse_args(ctx, args)


EXAMPLES = (
    ("ttsr render vocals.wav --preset speech", "to vocals_ttsr.wav"),
    ("ttsr render stems/ -o out/ --preset music", "a folder, with all below it"),
    ("ttsr render a.wav --dry-run", "what it would do, how long"),
    ("ttsr render a.wav --keep-top 3 --page", "three, to compare on a page"),
    ("ttsr render a.wav --budget 10min", "ten minutes of search"),
    ("ttsr render a.wav --again a.ttsr.json -o b.wav", "from a report, once more"),
)


@click.command(
    "render",
    cls=RenderCommand,
    examples=EXAMPLES,
    first=FIRST_GROUPS,
    more=[group for group in GROUPS if group not in FIRST_GROUPS],
)
@click.argument("inputs", nargs=-1, required=True, type=UserPath(path_type=Path, readable=False), metavar="INPUT...")
@grouped(
    "Basics",
    "-o",
    "--output",
    shell_complete=completing.files,
    help="Where to: a file, a folder, or a template of {dir} {stem} {ext} {preset} {engine} {seed} {rate}.  "
    "[default: {dir}/{stem}_ttsr{ext}]",
)
@render_flags
@grouped(
    "Basics",
    "--overwrite",
    is_flag=True,
    help="Replace outputs that exist, with what earlier renders of the name left beside them.",
)
@grouped("Basics", "--skip-existing", is_flag=True, help="Leave outputs that exist as they are, and go on.")
@grouped(
    "Basics",
    "--dry-run",
    is_flag=True,
    help="Only say which files would be rendered, where to, what would be added, and how long it would take here.",
)
@grouped("Basics", "-q", "--quiet", is_flag=True, help="Print failures only, and no progress.")
@grouped(
    "Basics", "-v", "--verbose", is_flag=True, help="Also print scores, times, and where a program error happened."
)
@grouped(
    "Files",
    "--log",
    type=UserPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append all that --verbose prints, and what libraries warn of, to a file, with the time of each line.",
)
@grouped("Files", "--json", "as_json", is_flag=True, help="Print one JSON object for each file.")
@grouped(
    "Files",
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write the report beside the output: NAME.ttsr.json, .png and .npz.",
)
@grouped(
    "Files",
    "--again",
    type=UserPath(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=report_option,
    metavar="REPORT",
    help="Take all options from the report (.ttsr.json) of an earlier render, and say whether the same came out.",
)
@grouped(
    "Files",
    "--job",
    type=UserPath(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=follow_job,
    metavar="JOB.json",
    help="Do what a job file says, as other programs write them (docs/studio/jobs.md). It stands alone.",
)
@grouped(
    "Files",
    "--keep-rewards",
    type=UserPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append every score of every candidate to a file, for `ttsr replay`; with --search census also scores of "
    "previews.",
)
def render_command(**values: Any) -> None:
    """Render audio or video files, or all that lie in folders. Sources are never touched.

    Exit code 0 when nothing failed, 1 when some files failed (each is named with its reason) or --again came out
    different, 2 for a wrong command line, 130 when interrupted. The first Ctrl-C finishes the file at hand with the
    best so far, the second one leaves it; --skip-existing goes on from there.
    """
    with left_at_once():
        from ttsr_studio.cli.render_files import RenderArguments, render_files

    asked = RenderArguments(**{field.name: values[field.name] for field in fields(RenderArguments)})
    render_files(asked, given_flags(click.get_current_context()))
