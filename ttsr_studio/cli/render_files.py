"""What `ttsr render` does: the loop over the files."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ttsr_studio.batch.estimate import Speed, measured_speed
from ttsr_studio.batch.plan import Job, passed_over, plan_jobs, refuse_existing
from ttsr_studio.batch.run import BatchRun, FileOutcome
from ttsr_studio.cli.interrupt import INTERRUPTED, stop_on_interrupt
from ttsr_studio.cli.progress import show_progress
from ttsr_studio.config.resolve import read_transcript, resolve, with_sidecar
from ttsr_studio.diagnostics.inspection import inspect
from ttsr_studio.errors import OptionError, TtsrError, on_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.session import Session, Sessions
from ttsr_studio.rendering.reproduce import Earlier
from ttsr_studio.rendering.source import form_of

COUNTED = ("rendered", "skipped", "failed")


@dataclass(frozen=True)
class RenderArguments:
    """What `ttsr render` was given besides the options of a render."""

    inputs: tuple[Path, ...]
    output: str | None
    preset: str
    report: bool
    overwrite: bool
    skip_existing: bool
    dry_run: bool
    as_json: bool
    again: Earlier | None
    keep_rewards: Path | None


def render_files(asked: RenderArguments, given: dict[str, Any]) -> None:
    """Render what was asked for, with the options that stand on the command line itself; ends the process on failures.

    Raises OptionError before the first render for what does not fit together.
    """
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    again, as_json = asked.again, asked.as_json
    options = replace(resolved(asked.preset, given, again, asked.report), witness=asked.keep_rewards is not None)
    refuse_without_effect(options, given)
    if asked.keep_rewards:
        refuse_unwritable(asked.keep_rewards)
    if asked.overwrite and asked.skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    if options.page and not asked.report:
        raise OptionError("--page shows the report; leave --no-report out")
    jobs = plan_jobs(asked.inputs, asked.output, options)
    if others := passed_over(asked.inputs):
        click.echo(others, err=True)
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; for several, put it into sidecars: NAME.ttsr.toml")
    if again:
        refuse_other_inputs(again, jobs)
    session = Session(options)
    if not asked.overwrite and not asked.skip_existing:
        refuse_existing(jobs, options, "pass --overwrite or --skip-existing, or another -o")
    if again:
        say_other_plugins(again, session)
    options_of = (lambda _: options) if again else (lambda job: with_sidecar(job.source, options, given))
    if asked.dry_run:
        failed = announce_all(jobs, options_of, session, as_json)
    else:
        waiting = [job for job in jobs if not (asked.skip_existing and job.target.exists())]
        for job in jobs:
            if job not in waiting:
                told = {"input": str(job.source), "output": str(job.target), "status": "skipped"}
                tell(as_json, told, f"skipped {shown(job.target)} (exists)")
        sources = [job.source for job in jobs]
        with running(waiting, as_json) as common:
            run = BatchRun(
                Sessions(session),
                options_of,
                replace=asked.overwrite,
                report=asked.report,
                rewards=asked.keep_rewards,
                **common,
            )
            failed = count_all(run_all(run, waiting, sources, again, as_json), len(jobs))
    if failed:
        sys.exit(1)


def count_all(counts: Counter[str], jobs: int) -> int:
    """Say of how many files what became, where there are several; returns how many failed."""
    counts["skipped"] += jobs - counts.total()  # those that were there already
    if jobs > 1:
        click.echo(", ".join(f"{counts[status]} {status}" for status in COUNTED), err=True)
    return counts["failed"]


def resolved(preset: str, given: dict[str, Any], again: Earlier | None, report: bool) -> RenderOptions:
    """Options of a run: what is given, then those of a report, then the preset's."""
    options = resolve(preset, given, report=again.options() | {"preset": again.preset} if again else None)
    if again and not report and "page" not in given:
        return replace(options, page=False)  # nobody asked for one here
    return options


@contextmanager
def running(jobs: Collection[Job], as_json: bool) -> Iterator[dict[str, Any]]:
    """Give a run its progress, and its end by Ctrl-C."""
    with show_progress(quiet=as_json) as watch, stop_on_interrupt(say_stopping) as stop:
        yield {"begin": lambda number, job: watch(job.source.name, number, len(jobs)), "stop": stop}


def run_all(run: BatchRun, jobs: list[Job], sources: list[Path], again: Earlier | None, as_json: bool) -> Counter[str]:
    """Render, say how it went with every file, and count what became of them.

    Ends the process with exit code 130 when interrupted.
    """
    counts: Counter[str] = Counter()
    for number, outcome in enumerate(run.over(jobs, sources)):
        if outcome.status == "cancelled":
            click.echo(f"interrupted in {shown(outcome.job.source)}; {number} of {len(jobs)} files done", err=True)
            sys.exit(INTERRUPTED)
        good = say(outcome, again, as_json)
        counts[outcome.status if good else "failed"] += 1
        if run.stop and run.stop.asked:
            click.echo(f"interrupted; {number + 1 - counts['failed']} of {len(jobs)} files done", err=True)
            sys.exit(INTERRUPTED)
    return counts


def say(outcome: FileOutcome, again: Earlier | None, as_json: bool) -> bool:
    """Say how it went with a file; False when it failed, or came out different."""
    job = outcome.job
    if outcome.status == "skipped":
        told = {"input": str(job.source), "status": "skipped", "reason": outcome.reason}
        tell(as_json, told, f"skipped {outcome.reason}")
        return True
    if outcome.rendered is None:
        tell_failure(as_json, job, outcome.reason)
        return False
    session, rendered = outcome.rendered
    line, good = rendered.line, True
    data = {"input": str(job.source), "output": str(job.target), "status": "rendered", **rendered.summary}
    if again:
        take = session.options.take
        data["verdict"] = again.verdict(session, rendered)
        line = f"{line}\n{data['verdict']}"
        good = again.expected(take) is None or again.same(rendered, take)
    tell(as_json, data, line)
    return good


def announce_all(
    jobs: Collection[Job], options_of: Callable[[Job], RenderOptions], session: Session, as_json: bool
) -> int:
    """Dry run; returns how many cannot be rendered. How fast this machine is is measured once, where that matters."""
    found: list[Speed | None] = []

    def speed_of() -> Speed | None:
        if not found:
            found.append(measured_speed(session))
        return found[0]

    return sum(not announce(job, options_of, speed_of, as_json) for job in jobs)


def announce(
    job: Job, options_of: Callable[[Job], RenderOptions], speed_of: Callable[[], Speed | None], as_json: bool
) -> bool:
    """Dry run of one job; False when it cannot be rendered."""
    try:
        options = options_of(job)
        found = inspect(job.source, options.salvage, options.stream)
        form_of(found.info, options, job.target)
    except TtsrError as error:
        tell_failure(as_json, job, on_one_line(str(error)))
        return False
    info, plan = found.info, found.plan
    if options.cutoffs and not found.band.silent:
        plan = f"would be rendered from {options.cutoff} Hz up, as --cutoff says"
    rendered = found.band.limited or bool(options.cutoffs)
    speed = speed_of() if rendered else None
    kind = f"{info.format}, {info.rate} Hz, {info.channels} ch, {found.seconds:.2f} s"
    told = found.to_json() | {"output": str(job.target), "status": "planned", "plan": plan}
    told["render_s"] = speed.of(found.seconds, info.channels) if speed else None
    told["render_s_basis"] = speed.basis if speed else None
    needs = f"; {speed.words(found.seconds, info.channels)}" if speed else ""
    tell(as_json, told, f"{shown(job.source)} ({kind}) -> {shown(job.target)}\n  {found.band.reason}: {plan}{needs}")
    return True


def refuse_other_inputs(again: Earlier, jobs: list[Job]) -> None:
    """Raise OptionError or InputError where a report is not of the one file that there is."""
    if len(jobs) > 1:
        raise OptionError(f"--again {shown(again.path)}: a report is of one file, not of {len(jobs)}")
    again.refuse_other_input(jobs[0].source)


def say_other_plugins(again: Earlier, session: Session) -> None:
    for other in again.other_plugins(session):
        click.echo(f"note: {again.name} was made by {other}; the render may come out different", err=True)


def say_stopping() -> None:
    click.echo("stopping: this file is finished with the best so far; Ctrl-C again leaves it", err=True)


def tell(as_json: bool, data: dict[str, Any], line: str, error: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(data))
    else:
        click.echo(line, err=error)


def tell_failure(as_json: bool, job: Job, reason: str) -> None:
    told = {"input": str(job.source), "status": "failed", "reason": reason}
    tell(as_json, told, f"failed: {reason}", error=True)


def refuse_without_effect(options: RenderOptions, given: Collection[str]) -> None:
    """Raise OptionError for settings of segments where nothing is chosen by segment."""
    for name in ("segment", "seam"):
        if options.choice != "segment" and name in given:
            raise OptionError(f"--{name} is of --choice segment, not of --choice {options.choice}; leave it out")


def refuse_unwritable(path: Path) -> None:
    """Raise OptionError when a file cannot be appended to, before hours are spent on what goes into it."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise OptionError(f"--keep-rewards {shown(path)}: {error.strerror or error}") from error
