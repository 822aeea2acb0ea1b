"""`ttsr render`: its options. What it does with them is in `render_files`, which loads torch."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import click

from ttsr_studio.cli import completing
from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.farm_flags import FarmFlags, farm_flags
from ttsr_studio.cli.help import GroupedCommand, grouped
from ttsr_studio.cli.interrupt import left_at_once
from ttsr_studio.cli.render_options import given_flags, render_flags
from ttsr_studio.config.option_fields import GROUPS
from ttsr_studio.errors import TtsrError, on_one_line
from ttsr_studio.options import FIRST_GROUPS

Command = TypeVar("Command", bound=Callable[..., Any])
ALONE = "--job stands alone: whatever else is wanted stands in the job file"
JOB_FLAGS: dict[tuple[str, ...], dict[str, Any]] = {
    ("--job",): {
        "type": UserPath(path_type=Path),
        "metavar": "JOB.json",
        "help": "Do what a job file says, as other programs write them (docs/studio/jobs.md). It stands alone.",
    },
    ("--progress",): {
        "type": click.Choice(["openjd"]),
        "help": "With --job: print progress, and why it failed, as Open Job Description has it.",
    },
    ("--exit-codes",): {
        "type": click.Choice(["fault"]),
        "help": "With --job: end with 75 where a retry may help (disk, memory, share), 70 after a program error, 1 "
        "where the file is at fault, 2 where the job is.",
    },
    ("--path-map",): {
        "type": UserPath(path_type=Path),
        "metavar": "RULES.json",
        "help": "With --job: rules of Open Job Description by which paths in the job are found here.",
    },
}
"""What may stand on a command line with `--job`."""


def report_option(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Any:
    """Read the report of an earlier render."""
    if path is None:
        return None
    from ttsr_studio.rendering.reproduce import read_report

    try:
        return read_report(path)
    except TtsrError as error:
        raise click.UsageError(on_one_line(str(error)), ctx) from error


def with_job_alone(_ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Refuse an option that says how a job file is done, where there is none."""
    if value:
        raise click.UsageError(f"{parameter.opts[0]} goes with --job only; leave it out")


def job_flags(command: Command) -> Command:
    """Give a command what may stand beside `--job`, and `--job`."""
    for names, settings in reversed(JOB_FLAGS.items()):
        command = grouped("Files", *names, expose_value=False, callback=with_job_alone, **settings)(command)
    return command


class RenderCommand(GroupedCommand, OneLineErrors):
    """A command whose `--job` stands alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        job = any(word == "--job" or word.startswith("--job=") for word in args)
        if job and not {"--help", "--help-all", "-h"} & set(args):
            do_job(ctx, args)
        return super().parse_args(ctx, args)


def do_job(ctx: click.Context, args: list[str]) -> None:
    """Do what a job file says, and end."""
    parser = click.Command("render", params=[click.Option(names, **settings) for names, settings in JOB_FLAGS.items()])
    try:
        given = parser.make_context("render", list(args), parent=ctx.parent).params
    except click.NoSuchOption:
        raise click.UsageError(ALONE, ctx) from None
    except click.UsageError as error:
        raise click.UsageError(ALONE if "unexpected extra" in error.message else error.message, ctx) from None
    from ttsr_studio.cli.job import JobFlags, run_job

    run_job(given["job"], JobFlags(given["progress"] == "openjd", given["exit_codes"] == "fault", given["path_map"]))


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
    more=[*(group for group in GROUPS if group not in FIRST_GROUPS), "Farm"],
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
@farm_flags
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
@job_flags
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

    Exit code 0 when nothing failed, 1 when files failed or --again differs, 2 for a wrong command line, 130
    when interrupted. The first Ctrl-C ends a file with its best so far, the second one leaves it; then
    --skip-existing makes it anew.
    """
    with left_at_once():
        from ttsr_studio.cli.render_files import RenderArguments, render_files

    given = FarmFlags.of(values)
    own = [field.name for field in fields(RenderArguments) if field.name != "farm"]
    asked = RenderArguments(**{name: values[name] for name in own}, farm=given)
    render_files(asked, given_flags(click.get_current_context()))
