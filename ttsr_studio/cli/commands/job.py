"""`ttsr render --job`: a job file instead of flags (docs/jobs.md)."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ttsr_studio.batch.job_file import (
    CancelledError,
    Course,
    FileResult,
    JobFile,
    answers,
    clear_old,
    read_job,
    refuse_shared,
    write_result,
)
from ttsr_studio.batch.plan import Job, plan_jobs, refuse_existing
from ttsr_studio.cli.interrupt import INTERRUPTED
from ttsr_studio.config import presets
from ttsr_studio.config.annotations import read_annotations
from ttsr_studio.config.resolve import read_transcript, resolve, with_sidecar
from ttsr_studio.errors import OptionError, TtsrError, in_one_line, of_a_file, shown, unknown
from ttsr_studio.options import PRESET_KEYS, RenderOptions
from ttsr_studio.render.inference.session import Session, Sessions
from ttsr_studio.render.pipeline import render
from ttsr_studio.report.paths import page_name, renders_of, report_names
from ttsr_studio.storage.atomic import write_atomic

OF_A_FILE = {"transcript": str, "reference": str, "speaker": list, "device": str, "take": int}
"""Options besides those of presets."""


def run_job(path: Path) -> None:
    """Do a job and end the process with its exit code."""
    result, done = answers(path)
    code, message, status, results = 2, "", "refused", list[FileResult]()
    try:
        with terminated_as_interrupted():
            job = read_job(path)
            clear_old(job.result, job.done, job.progress)
            code, status, results = carry_out(job)
    except (CancelledError, KeyboardInterrupt):
        code, status = INTERRUPTED, "cancelled"
    except click.UsageError as error:
        message = error.format_message()
    except TtsrError as error:
        message = str(error)
    except OSError as error:
        message = of_a_file(error) if error.filename else str(error)
    finally:
        message = message or "; ".join(each.reason for each in results if each.status == "failed")
        failed = answer(result, done, code, message, status, results)
    if message or failed:
        click.echo(f"Error: {message or failed}" if code == 2 else message or failed, err=True)
    sys.exit(2 if failed else code)


def answer(
    result: Path | None, done: Path | None, code: int, message: str, status: str, results: list[FileResult]
) -> str | None:
    """Write the result, then, whatever came of that, the done file; what went wrong, if anything."""
    wrong = None
    try:
        if result:
            write_result(result, status, code, message, results)
    except TtsrError as error:
        wrong = str(error)
    try:
        if done:
            write_atomic(done, f"{2 if wrong else code}\n".encode())
    except TtsrError as error:
        wrong = wrong or str(error)
    return wrong


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def carry_out(job: JobFile) -> tuple[int, str, list[FileResult]]:
    """Render what a job names; exit code, status and what became of every file.

    Raises OptionError or MissingError for a job that cannot be begun.
    """
    options = options_of(job)
    jobs = plan_jobs(job.inputs, job.output, options)
    for each in jobs:
        named = {"result": job.result, "progress": job.progress, "cancel": job.cancel, "done": job.done}
        outputs = [*renders_of(each.target, options), *report_names(each.target), page_name(each.target)]
        written = {f"output {path.name}": path for path in outputs}
        refuse_shared(job.path, {f"input {shown(each.source)}": each.source} | written | named)
    if job.existing == "refuse":
        refuse_existing(jobs, options, 'set "existing" to "overwrite" or "skip", or name another "output"')
    course = Course(job, len(jobs))
    course.write("starting", 0.0)
    sessions = Sessions(Session(options))
    given = set(job.options) | {"keep_top", "page"}
    sources = [each.source for each in jobs]
    results: list[FileResult] = []
    for number, each in enumerate(jobs, 1):
        try:
            course.begin(number, each.source)
            results.append(do_file(job, each, sessions, options, given, course, sources))
        except (CancelledError, KeyboardInterrupt):
            results += [FileResult(str(rest.source), "cancelled") for rest in jobs[number - 1 :]]
            return INTERRUPTED, "cancelled", results
    course.write("done", 1.0)
    failed = any(result.status == "failed" for result in results)
    return (1, "failed", results) if failed else (0, "done", results)


def options_of(job: JobFile) -> RenderOptions:
    """Options of a job. Raises OptionError for what is unknown or wrong."""
    for key, value in job.options.items():
        if key not in (*PRESET_KEYS, *OF_A_FILE):
            raise OptionError(f"{job.path}: options: {unknown('option', key, (*PRESET_KEYS, *OF_A_FILE))}")
        kind = OF_A_FILE.get(key, object)
        if not isinstance(value, kind):
            raise OptionError(
                f"{job.path}: options: {key} takes {'a list of files' if kind is list else kind.__name__}"
            )
    own: dict[str, Any] = {
        key: presets.checked(job.path, key, value) for key, value in job.options.items() if key in PRESET_KEYS
    }
    own |= {"page": True} if job.page else {}
    own |= {} if job.keep_top is None else {"keep-top": job.keep_top}
    known = {key: value for key, value in job.options.items() if key in OF_A_FILE}
    if "transcript" in known:
        known["transcript"] = read_transcript(known["transcript"])
    if "reference" in known:
        known["reference"] = job.place(known["reference"])
    if "speaker" in known:
        known["speakers"] = tuple(job.place(name) for name in known.pop("speaker"))
    return replace(resolve(job.preset, own), **known)


def do_file(
    job: JobFile,
    each: Job,
    sessions: Sessions,
    options: RenderOptions,
    given: set[str],
    course: Course,
    sources: list[Path],
) -> FileResult:
    """Render one file of a job; what became of it."""
    if job.existing == "skip" and each.target.exists():
        return FileResult(str(each.source), "skipped", output=str(each.target))
    try:
        chosen = with_sidecar(each, options, given)
        truth = chosen.reference if chosen.reference and chosen.reference.is_file() else each.reference
        session = sessions.of(chosen)
        done = render(
            session,
            each.source,
            each.target,
            annotations=read_annotations(each.source, chosen, session.engine.sample_rate),
            reference=truth,
            progress=course,
            replace=job.existing == "overwrite",
            inputs=sources,
        ).summary
    except CancelledError:
        raise
    except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
        return FileResult(str(each.source), "failed", in_one_line(each.source, error))
    return FileResult(
        str(each.source),
        "rendered",
        output=str(each.target),
        **{name: done[name] for name in ("report", "figure", "page", "top", "uncertain", "seconds")},
    )
