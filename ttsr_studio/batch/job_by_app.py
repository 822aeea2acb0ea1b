"""A job file done by the running app: its results are those that it would have here."""

from collections.abc import Mapping
from typing import Any

from ttsr_studio.batch.by_app import AppGoneError, AppRun, RunningApp
from ttsr_studio.batch.existing import output_there
from ttsr_studio.batch.job_file import FileResult, JobFile
from ttsr_studio.batch.job_progress import ProgressFile
from ttsr_studio.batch.outcome import CancelledError
from ttsr_studio.batch.plan import Job
from ttsr_studio.config.resolve import read_transcript
from ttsr_studio.errors import TtsrError, in_one_line, shown

OVER = ("done", "failed", "cancelled")


def results_by_app(job: JobFile, jobs: list[Job], app: RunningApp, progress: ProgressFile) -> list[FileResult]:
    """What became of files that a running app rendered, in their order; what it did not get to is left out."""
    values = {"preset": job.preset, **values_for_app(job)}
    run, results = AppRun(app, values, job.existing, job.cancel), list[FileResult]()
    try:
        sent = [send(run, each, job) for each in jobs]
        for number, (each, file) in enumerate(zip(jobs, sent, strict=True), 1):
            progress.number, progress.source = number, str(each.source)
            results.append(file if isinstance(file, FileResult) else follow_one(run, each, file, progress))
    except AppGoneError:
        run.call_off()
    except (CancelledError, KeyboardInterrupt):
        run.call_off()
        results += [FileResult(str(rest.source), "cancelled") for rest in jobs[len(results) :]]
    return results


def values_for_app(job: JobFile) -> dict[str, Any]:
    """What a job sets, as a sidecar has it."""
    given = dict(job.options) | ({"page": True} if job.page else {})
    given |= {} if job.keep_top is None else {"keep-top": job.keep_top}
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    return given


def send(run: AppRun, each: Job, job: JobFile) -> FileResult | int:
    """A file's number in the app, or what became of it where it is not sent. Raises AppGoneError."""
    if job.existing == "skip" and (there := output_there(each.target, job.report).left):
        return skipped_result(each, there)
    try:
        return run.send(each)
    except AppGoneError:
        raise
    except TtsrError as error:
        return FileResult(str(each.source), "failed", in_one_line(each.source, error), "input")


def skipped_result(each: Job, there: str) -> FileResult:
    """What became of a file whose output exists and is left; `there` says more where that is not all."""
    more = there.partition("; ")[2]
    reason = f"{shown(each.target)}: {more}" if more else ""
    return FileResult(str(each.source), "skipped", reason, output=str(each.target))


def follow_one(run: AppRun, each: Job, number: int, progress: ProgressFile) -> FileResult:
    """What became of a file, when it is over; says meanwhile how far it is. Raises AppGoneError, CancelledError."""
    while True:
        told = run.look(number)
        share = told["share"] or 0.0
        progress.write(stage_of(told), share, 1.0 if told["state"] == "done" else 0.9 * share)
        if told["state"] in OVER:
            outcome = run.outcome(each, told)
            if outcome.status == "rendered":
                return FileResult(str(each.source), "rendered", output=str(each.target), **outcome.told)
            if outcome.status == "skipped":
                return FileResult(str(each.source), "skipped", outcome.reason)
            return FileResult(str(each.source), "failed", outcome.reason, "input")


def stage_of(told: Mapping[str, Any]) -> str:
    """A stage that a job's progress knows."""
    stage = str(told["progress"] or "").partition(" ")[0]
    return stage if stage in ("reading", "searching", "writing") else "searching" if stage else "starting"
