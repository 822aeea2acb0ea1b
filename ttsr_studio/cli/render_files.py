"""What `ttsr render` does: the loop over the files. Torch is loaded when nothing is left to refuse."""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ttsr_studio.batch.existing import clear_killed, refuse_existing, renders_there
from ttsr_studio.batch.fault import fault_of
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job, passed_over, plan_jobs
from ttsr_studio.batch.run import BatchRun
from ttsr_studio.batch.work import work_of
from ttsr_studio.cli.dry_run import PLANNED, announce_all, say_in_the_way
from ttsr_studio.cli.farm_flags import FarmFlags
from ttsr_studio.cli.file_lines import end_interrupted, is_left, say, say_cut_off, say_lacking, say_stopping
from ttsr_studio.cli.interrupt import INTERRUPTED, left_at_once, stop_on_interrupt
from ttsr_studio.cli.progress import RenderProgress, engine_loading
from ttsr_studio.cli.run_output import RunOutput, logged
from ttsr_studio.cli.time_left import TimeLeft
from ttsr_studio.config.fitting import refuse_device
from ttsr_studio.config.resolve import read_transcript, refuse_without_effect, resolve, with_sidecar
from ttsr_studio.errors import OptionError, OutputError, TtsrError, in_one_line, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import CancellationToken
from ttsr_studio.storage.home import from_home

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Session
    from ttsr_studio.rendering.reproduce import Earlier

COUNTED = ("rendered", "skipped", "failed")
LONG = 30.0
"""Seconds of audio from which on it is worth a trial to know how long they will take."""


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
    again: "Earlier | None"
    keep_rewards: Path | None
    quiet: bool = False
    verbose: bool = False
    log: Path | None = None
    farm: FarmFlags | None = None


class FilesRun(Protocol):
    """What renders files: `BatchRun`, or a farm's."""

    @property
    def stop(self) -> CancellationToken | None: ...
    @property
    def report(self) -> bool: ...

    def over(self, jobs: Sequence[Job], inputs: Collection[Path]) -> Iterator[FileOutcome]: ...


def render_files(asked: RenderArguments, given: dict[str, Any]) -> None:
    """Render what was asked for, with the options that stand on the command line itself; ends the process on failures.

    Raises OptionError before the first render for what does not fit together.
    """
    if asked.quiet and asked.verbose:
        raise OptionError("--quiet and --verbose exclude each other; pass one of them")
    out = RunOutput(asked.as_json, asked.quiet, asked.verbose)
    with logged(asked.log):
        try:
            failed = render_all(asked, given, out)
        except KeyboardInterrupt:
            if out.progress:
                raise
            out.quiet = False
            out.note("interrupted before anything was rendered")
            sys.exit(INTERRUPTED)
    if failed:
        sys.exit(1)


def render_all(asked: RenderArguments, given: dict[str, Any], out: RunOutput) -> int:
    """Render what was asked for, or say what would be; returns how many files failed."""
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    again = asked.again
    options = replace(resolved(asked.preset, given, again, asked.report), witness=asked.keep_rewards is not None)
    refuse_misfits(asked, options, given)
    jobs = plan_jobs(asked.inputs, asked.output, options)
    if others := passed_over(asked.inputs):
        out.note(others)
    if new := folder_as_file(asked, jobs):
        ending = jobs[0].target.suffix
        out.note(f"note: -o {shown(new)} names a folder, as it has no ending; for a file write {shown(new)}{ending}")
    if options.transcript and len(jobs) > 1:
        raise OptionError("--transcript is of one file; for several, put it into sidecars: NAME.ttsr.toml")
    if again:
        refuse_other_inputs(again, jobs)
    if not (asked.overwrite or asked.skip_existing or asked.dry_run):
        refuse_existing(jobs, options, "pass --overwrite or --skip-existing, or another -o")
    waiting, absent = without_engine(asked, jobs, out)
    if not waiting:
        return count_all(Counter(failed=absent), len(jobs), out, PLANNED if asked.dry_run else COUNTED)
    with engine_loading(asked.quiet or asked.as_json):
        with left_at_once():
            from ttsr_studio.rendering.inference.session import Session
        if asked.farm:
            asked = replace(asked, farm=replace(asked.farm, device=options.device))
            options = replace(options, device=here(options.device))
        session = Session(options)
    if again:
        for other in again.other_plugins(session):
            out.note(f"note: {again.name} was made by {other}; the render may come out different")
    options_of = (lambda _: options) if again else (lambda job: with_sidecar(job.source, options, given))
    if asked.dry_run:
        counts = announce_all(waiting, options_of, session, out)
        counts["failed"] += absent
        failed = count_all(counts, len(jobs), out, PLANNED)
        return failed + say_in_the_way(renders_there(waiting, options), asked.overwrite, asked.skip_existing, out)
    with ExitStack() as stack:
        stack.callback(remove_empty, missing_folders(waiting))
        run = begin_run(asked, waiting, options_of, session, out, stack)
        counts = run_all(run, waiting, [job.source for job in jobs], again, out)
    counts["failed"] += absent
    return count_all(counts, len(jobs), out)


def without_engine(asked: RenderArguments, jobs: Collection[Job], out: RunOutput) -> tuple[list[Job], int]:
    """Say what can be said before an engine is loaded: what is left as it is, what is rendered anew, what is not there.

    Returns what is to be rendered, and how many are not there.
    """
    if asked.skip_existing and not asked.dry_run:
        clear_killed(jobs)
    waiting = [job for job in jobs if not (asked.skip_existing and is_left(job, asked.report, out, asked.dry_run))]
    if not (asked.skip_existing or asked.overwrite):
        for job in waiting:
            say_cut_off(job, out, asked.dry_run)
    absent = [job for job in waiting if not os.path.exists(job.source) and say_absent(job, out)]
    if not asked.dry_run:
        absent += [job for job in waiting if job not in absent and say_shut(job, out)]
    return [job for job in waiting if job not in absent], len(absent)


def say_absent(job: Job, out: RunOutput) -> bool:
    """Say of a file that it is not there, if so."""
    from ttsr_studio.audio.decode import probe

    try:
        probe(job.source)
    except TtsrError as error:
        out.failure({"input": str(job.source), "fault": fault_of(error, job.source)}, in_one_line(job.source, error))
        return True
    return False


def say_shut(job: Job, out: RunOutput) -> bool:
    """Say of a file that its output's folder cannot be made or written to, if so."""
    folder = next((each for each in job.target.absolute().parents if each.exists()), None)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as error:
        where = shown(job.target.parent)
        reason = f"{shown(job.source)}: {where}: cannot be written to ({error.strerror}); choose another -o"
        fault = fault_of(OutputError(reason), job.source)
        out.failure({"input": str(job.source), "fault": fault}, reason)
        return True


def here(device: str) -> str:
    """The device on which this machine does its part of what a farm renders: the same where it is here."""
    from ttsr_studio.engines.device import resolve_device

    try:
        return resolve_device(device)
    except OptionError:
        return "cpu"


def begin_run(
    asked: RenderArguments,
    jobs: list[Job],
    options_of: Callable[[Job], RenderOptions],
    session: "Session",
    out: RunOutput,
    stack: ExitStack,
) -> "FilesRun":
    """What renders the files, here or on a farm, with its line of progress; both last as long as the stack does."""
    from ttsr_studio.rendering.inference.session import Sessions

    farm, searcher = None, None
    if asked.farm:
        from ttsr_studio.cli.farm_render import FarmProgress, FarmRun, farm_search, open_farm, say_files_stop
        from ttsr_studio.farm.pool import Pool

        try:
            farm = open_farm(asked.farm, what_of(asked.inputs, len(jobs)), stack, out.note)
        except KeyboardInterrupt:
            end_interrupted("interrupted while the farm was reached", 0, len(jobs), out)
    if farm and asked.farm and len(jobs) > 1:
        if asked.keep_rewards:
            raise OptionError("--keep-rewards: one file, which all machines of a farm would write; render file by file")
        shares = FarmProgress([work_of(job.source) for job in jobs], out.quiet or out.as_json)
        out.progress = stack.enter_context(shares)
        stop = stack.enter_context(stop_on_interrupt(lambda: say_files_stop(shares)))
        pool = Pool(farm, asked.farm.workers, out.note)
        device = asked.farm.device
        return FarmRun(
            pool,
            session,
            lambda job: replace(options_of(job), device=device),
            shares,
            stop,
            replace=asked.overwrite,
            skip_existing=asked.skip_existing,
            report=asked.report,
        )
    if farm and asked.farm:
        searcher = farm_search(farm, asked.farm, session.options.choice, out.note)
    lines = RenderProgress(
        [shown(Path(job.source.name)) for job in jobs],
        TimeLeft([work_of(job.source) for job in jobs]) if farm else time_left(jobs, session, out),
        out.quiet or out.as_json,
    )
    out.progress = progress = stack.enter_context(lines)
    stop = stack.enter_context(stop_on_interrupt(lambda: say_stopping(progress, session)))
    return BatchRun(
        Sessions(session),
        (lambda job: replace(options_of(job), device=session.options.device)) if farm else options_of,
        begin=lambda number, _: progress.begin(number),
        replace=asked.overwrite,
        skip_existing=asked.skip_existing,
        report=asked.report,
        rewards=asked.keep_rewards,
        stop=stop,
        searcher=searcher,
    )


def what_of(inputs: Sequence[Path], files: int) -> str:
    """What is rendered, in few words for others on a farm: `a.wav`, `reels (200 files)`, `a.wav and 3 more`."""
    first, more = shown(inputs[0]), len(inputs) - 1
    if more:
        return f"{first} and {more} more" + (f" ({files} files)" if files != len(inputs) else "")
    return f"{first} ({files} file{'' if files == 1 else 's'})" if inputs[0].is_dir() else first


def missing_folders(jobs: Collection[Job]) -> list[Path]:
    """Folders of outputs that are not there yet, the deepest first."""
    folders = {folder for job in jobs for folder in job.target.parents if not folder.exists()}
    return sorted(folders, key=lambda folder: -len(folder.parts))


def remove_empty(folders: Collection[Path]) -> None:
    """Remove folders that a run made and left empty, as nothing of it was rendered."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def folder_as_file(asked: RenderArguments, jobs: Collection[Job]) -> Path | None:
    """A folder that -o would make for a single file, although it is written as a file might be."""
    if asked.output is None or len(jobs) > 1 or "{" in asked.output or asked.output.endswith(("/", os.sep)):
        return None
    folder = Path(from_home(asked.output))
    return None if folder.suffix or folder.exists() or asked.inputs[0].is_dir() else folder


def refuse_misfits(asked: RenderArguments, options: RenderOptions, given: Collection[str]) -> None:
    """Raise OptionError for arguments that do not fit each other, or the options."""
    refuse_without_effect(options, given)
    if not asked.farm:
        refuse_device(options)
    if asked.keep_rewards:
        refuse_unwritable(asked.keep_rewards)
    if asked.overwrite and asked.skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other; pass one of them")
    if options.page and not asked.report:
        raise OptionError("--page shows the report; leave --no-report out")


def time_left(jobs: Collection[Job], session: "Session", out: RunOutput) -> TimeLeft:
    """What says how long files will take; where that is long and somebody looks at it, the engine is tried first."""
    from ttsr_studio.rendering.estimate import measured_speed

    work = [work_of(job.source) for job in jobs]
    if sum(work) < LONG or out.quiet or out.as_json or not sys.stderr.isatty():
        return TimeLeft(work)
    with engine_loading(quiet=False):
        speed = measured_speed(session)
    return TimeLeft(work, speed.seconds if speed else None)


def count_all(counts: Counter[str], jobs: int, out: RunOutput, words: Sequence[str] = COUNTED) -> int:
    """Say of how many files what became, where there are several; returns how many failed."""
    counts["skipped"] += jobs - counts.total()  # those that were there already
    if jobs > 1:
        out.note(", ".join(f"{counts[status]} {status}" for status in words))
    return counts["failed"]


def resolved(preset: str, given: dict[str, Any], again: "Earlier | None", report: bool) -> RenderOptions:
    """Options of a run: what is given, then those of a report, then the preset's."""
    options = resolve(preset, given, report=again.options() | {"preset": again.preset} if again else None)
    if again and not report and "page" not in given:
        return replace(options, page=False)  # nobody asked for one here
    return options


def run_all(
    run: FilesRun,
    jobs: list[Job],
    sources: list[Path],
    again: "Earlier | None",
    out: RunOutput,
    see: Callable[[FileOutcome], None] = lambda _: None,
) -> Counter[str]:
    """Render, say how it went with every file, and count what became of them; `see` is told of each.

    Ends the process with exit code 130 when interrupted.
    """
    counts: Counter[str] = Counter()
    told: dict[Path, bool] = {}

    def tell(outcome: FileOutcome) -> bool:
        if outcome.job.target not in told:
            told[outcome.job.target] = say(outcome, again, out)
            see(outcome)
        return told[outcome.job.target]

    def end(how: str, done: int, left: int, early: Path | None = None) -> NoReturn:
        out.quiet = False
        if run.report:
            say_lacking([job.target for job in jobs if job.target not in told], out)
        end_interrupted(how, done, left, out, early)

    if isinstance(run, BatchRun):
        run = replace(run, written=tell)
    for number, outcome in enumerate(run.over(jobs, sources)):
        if outcome.status == "cancelled":
            where = outcome.reason or (shown(outcome.job.source) if is_begun(run) else "")
            end(f"interrupted in {where}" if where else "interrupted", number - counts["failed"], len(jobs) - number)
        if out.progress:
            out.progress.left.end(outcome.status == "rendered")
        good = tell(outcome)
        counts[outcome.status if good else "failed"] += 1
        if run.stop and run.stop.asked and not outcome.goes_on:
            early = outcome.rendered and outcome.rendered[1].report.search.cut.get("interrupted")
            left, named = len(jobs) - number - 1, outcome.job.target if early else None
            end("interrupted", number + 1 - counts["failed"], left, named)
    return counts


def is_begun(run: FilesRun) -> bool:
    """Whether the file in hand was begun when the run ended: one that waits for a farm may not have been.

    A farm with several files names those that were begun.
    """
    return isinstance(run, BatchRun) and bool(getattr(run.searcher, "begun", True))


def refuse_other_inputs(again: "Earlier", jobs: list[Job]) -> None:
    """Raise OptionError or InputError where a report is not of the one file that there is."""
    if len(jobs) > 1:
        raise OptionError(f"--again {shown(again.path)}: a report is of one file, not of {len(jobs)}")
    again.refuse_other_input(jobs[0].source)


def refuse_unwritable(path: Path) -> None:
    """Raise OptionError when a file cannot be appended to, before hours are spent on what goes into it."""
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise OptionError(f"--keep-rewards {shown(path)}: {error.strerror or error}") from error
