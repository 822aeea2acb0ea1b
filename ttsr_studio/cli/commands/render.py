"""`ttsr render`: its options. What it does with them is in `render_files`, which loads torch."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ttsr_studio.cli.command import OneLineErrors, UserPath
from ttsr_studio.cli.render_options import given_flags, render_flags, write_groups
from ttsr_studio.errors import TtsrError, on_one_line


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


class RenderCommand(OneLineErrors):
    """A command whose `--job` stands alone, and whose help goes by groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = 1 if any(word.startswith("--job=") for word in args) else 2 if "--job" in args else 0
        if own and len(args) > own and "--help" not in args:
            raise click.UsageError("--job stands alone: whatever else is wanted stands in the job file", ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_groups(self, ctx, formatter)


@click.command("render", cls=RenderCommand)
@click.option(
    "--job",
    type=UserPath(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=follow_job,
    metavar="JOB.json",
    help="Do what a job file says, and nothing else: the door for other programs (docs/studio/jobs.md).",
)
@click.argument("inputs", nargs=-1, required=True, type=UserPath(path_type=Path, readable=False), metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    help="File, folder, or template of {dir} {stem} {ext} {preset} {engine} {seed} {rate}.  "
    "[default: {dir}/{stem}_ttsr{ext}]",
)
@click.option(
    "--again",
    type=UserPath(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=report_option,
    metavar="REPORT",
    help="Take all options from a report (.ttsr.json) and say whether the render came out the same.",
)
@render_flags
@click.option(
    "--keep-rewards",
    type=UserPath(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append every score of every candidate to a file, for `ttsr replay`; --search census keeps previews, too.",
)
@click.option(
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write NAME.ttsr.json and NAME.ttsr.png beside the output.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that exist, and go on.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say which files, where to, what would be added to each, and how long it would take here, and stop.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
def render_command(**values: Any) -> None:
    """Render files, or all audio files of folders. Sources are never touched.

    Exit code 0 when all rendered, 1 when some failed (each is named with its reason) or --again came out different,
    2 for usage, 130 when interrupted: the first Ctrl-C finishes the file at hand with the best so far, the second one
    leaves it; what is finished stays, and --skip-existing goes on from there.
    """
    from ttsr_studio.cli.render_files import RenderArguments, render_files

    asked = RenderArguments(**{field.name: values[field.name] for field in fields(RenderArguments)})
    render_files(asked, given_flags(click.get_current_context()))
