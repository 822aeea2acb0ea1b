"""`ttsr render`: its options, and the loop over the files."""

import json
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import click

from ttsr_studio.audio.decode import probe
from ttsr_studio.batch.plan import Job, plan_jobs, refuse_existing
from ttsr_studio.cli.command import Settings
from ttsr_studio.cli.commands.job import run_job
from ttsr_studio.cli.interrupt import INTERRUPTED, stop_on_interrupt
from ttsr_studio.cli.progress import show_progress
from ttsr_studio.cli.render_options import render_flags
from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.config.resolve import limits, read_transcript, with_sidecar
from ttsr_studio.errors import OptionError, TtsrError, in_one_line
from ttsr_studio.options import RenderOptions
from ttsr_studio.render.inference.session import Session, Sessions
from ttsr_studio.render.pipeline import render
from ttsr_studio.render.reproduce import Earlier, read_report


def apply_report(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Earlier | None:
    """Enter the options of a report as a preset's, before those of the preset itself."""
    if path is None:
        return None
    try:
        earlier = read_report(path)
    except TtsrError as error:
        raise click.UsageError(str(error), ctx) from error
    ctx.default_map = dict(ctx.default_map or {}) | earlier.options()
    return earlier


def follow_job(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Do what a job file says, and end."""
    if path is not None:
        run_job(path)


class RenderCommand(Settings):
    """A command whose `--job` stands alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = 1 if any(word.startswith("--job=") for word in args) else 2 if "--job" in args else 0
        if own and len(args) > own and "--help" not in args:
            raise click.UsageError("--job stands alone: whatever else is wanted stands in the job file", ctx)
        return super().parse_args(ctx, args)


@click.command("render", cls=RenderCommand)
@click.option(
    "--job",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=follow_job,
    metavar="JOB.json",
    help="Do what a job file says, and nothing else: the door for other programs (docs/jobs.md).",
)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False), metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    help="File, folder, or template of {dir} {stem} {ext} {preset} {engine} {seed} {rate}.  "
    "[default: {dir}/{stem}_ttsr{ext}]",
)
@click.option(
    "--again",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    callback=apply_report,
    metavar="REPORT",
    help="Take all options from a report (.ttsr.json) and say whether the render came out the same.",
)
@render_flags
@click.option(
    "--keep-rewards",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append every score of every candidate to a file, for `ttsr replay`; --search census keeps looks, too.",
)
@click.option(
    "--report/--no-report",
    default=True,
    show_default=True,
    help="Write NAME.ttsr.json and NAME.ttsr.png beside the output.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave outputs that exist, and go on.")
@click.option("--dry-run", is_flag=True, help="Say what would be rendered, and where to, and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
def render_command(
    inputs: tuple[Path, ...],
    output: str | None,
    reference: Path | None,
    report: bool,
    overwrite: bool,
    skip_existing: bool,
    dry_run: bool,
    as_json: bool,
    again: Earlier | None,
    keep_rewards: Path | None,
    **values: Any,
) -> None:
    """Render files, or all audio files of folders. Sources are never touched.

    Exit code 0 when all rendered, 1 when some failed (each is named with its reason) or --again came out different,
    2 for usage, 130 when interrupted: the first Ctrl-C finishes the file at hand with the best so far, the second one
    leaves it; what is finished stays, and --skip-existing goes on from there.
    """
    refuse_without_effect(values["choice"])
    if keep_rewards:
        refuse_unwritable(keep_rewards)
    values |= {"transcript": read_transcript(values["transcript"]), "witness": keep_rewards is not None}
    given = set(filter(typed, values))
    if again:
        values["preset"] = again.preset
    options = RenderOptions(reference=reference, **values | limits(values, given))
    if overwrite and skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    if options.page and not report:
        raise OptionError("--page shows the report; leave --no-report out")
    jobs = plan_jobs(inputs, output, options)
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; for several, put it into sidecars: NAME.ttsr.toml")
    if not overwrite and not skip_existing:
        refuse_existing(jobs, options, "pass --overwrite or --skip-existing, or another -o")
    if again:
        if len(jobs) > 1:
            raise OptionError(f"--again {again.path}: a report is of one file, not of {len(jobs)}")
        again.refuse_other_input(jobs[0].source)
    session = Session(options)
    if dry_run:
        failed = [job for job in jobs if not announce(job, options, given, as_json)]
    else:
        waiting = [job for job in jobs if not (skip_existing and job.target.exists())]
        for job in jobs:
            if job not in waiting:
                told = {"input": str(job.source), "output": str(job.target), "status": "skipped"}
                tell(as_json, told, f"skipped {job.target} (exists)")
        chosen = partial(with_sidecar, options=options, given=given) if not again else lambda _job: options
        sources = [job.source for job in jobs]
        extra = {"report": report, "rewards": keep_rewards, "replace": overwrite, "inputs": sources}
        failed = render_all(Sessions(session), waiting, chosen, as_json, again, **extra)
    if failed:
        if len(jobs) > 1:
            click.echo(f"{len(failed)} of {len(jobs)} files failed", err=True)
        sys.exit(1)


def render_all(
    sessions: Sessions,
    jobs: list[Job],
    chosen: Callable[[Job], RenderOptions],
    as_json: bool,
    again: Earlier | None,
    **extra: Any,
) -> list[Job]:
    """Render one job after another; those that failed. Ends the process with exit code 130 when interrupted."""
    failed = []
    with show_progress(quiet=as_json) as watch, stop_on_interrupt(say_stopping) as stop:
        for number, job in enumerate(jobs):
            progress = watch(job.source.name, number, len(jobs))
            try:
                done = render_one(sessions, chosen, job, as_json, again, stop=stop, progress=progress, **extra)
            except KeyboardInterrupt:
                click.echo(f"interrupted in {job.source}; {number} of {len(jobs)} files done", err=True)
                sys.exit(INTERRUPTED)
            if not done:
                failed.append(job)
            if stop.asked:
                click.echo(f"interrupted; {number + 1 - len(failed)} of {len(jobs)} files done", err=True)
                sys.exit(INTERRUPTED)
    return failed


def say_stopping() -> None:
    click.echo("stopping: this file is finished with the best so far; Ctrl-C again leaves it", err=True)


def typed(name: str) -> bool:
    """Whether an option stands on the command line itself."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def refuse_without_effect(choice: str) -> None:
    """Raise OptionError for settings of segments where nothing is chosen by segment."""
    for name in ("segment", "seam"):
        if choice != "segment" and typed(name):
            raise OptionError(f"--{name} is of --choice segment, not of --choice {choice}; leave it out")


def refuse_unwritable(path: Path) -> None:
    """Raise OptionError when a file cannot be appended to, before hours are spent on what goes into it."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise OptionError(f"--keep-rewards {path}: {error.strerror or error}") from error


def tell(as_json: bool, data: dict[str, Any], line: str, error: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(data))
    else:
        click.echo(line, err=error)


def announce(job: Job, options: RenderOptions, given: Collection[str], as_json: bool) -> bool:
    """Dry run of one job; False when it cannot be rendered."""
    try:
        info = probe(job.source, with_sidecar(job, options, given).salvage)
    except TtsrError as error:
        tell(
            as_json,
            {"input": str(job.source), "status": "failed", "reason": str(error)},
            f"failed: {error}",
            error=True,
        )
        return False
    seconds = info.frames / info.rate
    kind = f"{info.container} {info.subtype}, {info.rate} Hz, {info.channels} ch, {seconds:.2f} s"
    line = f"{job.source} ({kind}) -> {job.target}"
    tell(
        as_json,
        {"input": str(job.source), "output": str(job.target), "seconds": seconds, "status": "planned"},
        line,
    )
    return True


def render_one(
    sessions: Sessions,
    chosen: Callable[[Job], RenderOptions],
    job: Job,
    as_json: bool,
    again: Earlier | None,
    **extra: Any,
) -> bool:
    """Render one job and say how it went; False when it failed."""
    try:
        options = chosen(job)
        truth = options.reference if options.reference and options.reference.is_file() else job.reference
        session = sessions.of(options)
        known = read_annotations(job.source, options, session.engine.sample_rate)
        result = render(session, job.source, job.target, annotations=known, reference=truth, **extra)
    except Exception as error:  # one file's trouble, foreseen or not, must not stop a folder
        reason = in_one_line(job.source, error)
        tell(
            as_json,
            {"input": str(job.source), "status": "failed", "reason": reason},
            f"failed: {reason}",
            error=True,
        )
        return False
    good = True
    line, data = (
        result.line,
        {"input": str(job.source), "output": str(job.target), "status": "rendered", **result.summary},
    )
    if again:
        data["verdict"] = again.verdict(session, result)
        line = f"{line}\n{data['verdict']}"
        good = again.expected(session.options.take) is None or again.same(result, session.options.take)
    tell(as_json, data, line)
    return good
