"""What a job file says is done."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from ttsr_studio.batch.by_app import can_do, running_app
from ttsr_studio.batch.existing import clear_killed, refuse_existing
from ttsr_studio.batch.job_by_app import results_by_app, skipped_result
from ttsr_studio.batch.job_file import FileResult, JobFile, refuse_shared
from ttsr_studio.batch.job_progress import ProgressFile
from ttsr_studio.batch.outcome import FileOutcome
from ttsr_studio.batch.plan import Job, plan_jobs, plan_named
from ttsr_studio.batch.run import BatchRun
from ttsr_studio.config import presets
from ttsr_studio.config.option_fields import FIELDS, PRESET_KEYS, held_by
from ttsr_studio.config.resolve import read_transcript, refuse_without_effect, resolve, with_sidecar
from ttsr_studio.errors import OptionError, shown, unknown
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import Watch
from ttsr_studio.report.paths import page_name, renders_of, report_paths

ToldOfProgress = Callable[[dict[str, Any]], None]
Status = Literal["done", "failed", "cancelled"]
ADVICE = 'set "existing" to "overwrite" or "skip", or name another "output"'


def carry_out(
    job: JobFile, told: ToldOfProgress | None = None
) -> tuple[Literal["done", "failed", "cancelled"], list[FileResult]]:
    """Render what a job names; "done", "failed" or "cancelled", and what became of every file.

    Args:
        told: is told of its progress, as the progress file is.

    Raises OptionError or MissingError for a job that cannot be begun.
    """
    given = given_by(job)
    options = resolve(job.preset, given)
    refuse_without_effect(options, given)
    if options.page and not job.report:
        raise OptionError(f'{shown(job.path)}: page shows the report; leave "report" out')
    named = job.outputs
    jobs = plan_named(job.inputs, named, options) if named else plan_jobs(job.inputs, job.output, options)
    refuse_answers_in_the_way(job, jobs, options)
    if job.existing == "refuse":
        refuse_existing(jobs, options, ADVICE)
    elif job.existing == "skip":
        clear_killed(jobs)
    progress = ProgressFile(job, len(jobs), told)
    progress.write("starting", 0.0, 0.0)
    app = running_app() if job.app and job.report and can_do(job.preset, job.options, jobs) else None
    results = results_by_app(job, jobs, app, progress) if app else []
    if len(results) < len(jobs):
        left = jobs[len(results) :]
        results += [file_result(each) for each in render_here(job, left, options, given, progress)]
    known = {result.status for result in results}
    if "cancelled" not in known:
        progress.write("done", 1.0, 1.0)
    return "cancelled" if "cancelled" in known else "failed" if "failed" in known else "done", results


def render_here(
    job: JobFile, jobs: list[Job], options: RenderOptions, given: Collection[str], progress: ProgressFile
) -> Iterator[FileOutcome]:
    """Render the last files of a job in this process."""
    from ttsr_studio.rendering.inference.session import Session, Sessions  # a refusal does not wait for torch

    before = progress.files - len(jobs)

    def begin(number: int, each: Job) -> Watch:
        progress.begin(before + number + 1, each.source)
        return progress

    run = BatchRun(
        Sessions(Session(options)),
        lambda each: with_sidecar(each.source, options, {*given, "keep-top", "page"}),
        begin,
        replace=job.existing == "overwrite",
        skip_existing=job.existing == "skip",
        report=job.report,
    )
    return run.over(jobs, [each.source for each in jobs])


def given_by(job: JobFile) -> dict[str, Any]:
    """Options that a job sets, by name. Raises OptionError for what is unknown or of another kind."""
    for key, value in job.options.items():
        if key not in held_by("job"):
            raise OptionError(f"{job.path}: options: {unknown('option', key, held_by('job'))}")
        if key not in PRESET_KEYS:
            refuse_option_kind(job.path, key, value)
    given = {
        key: presets.checked(job.path, key, value) if key in PRESET_KEYS else value
        for key, value in job.options.items()
    }
    given |= {"page": True} if job.page else {}
    given |= {} if job.keep_top is None else {"keep-top": job.keep_top}
    if "transcript" in given:
        given["transcript"] = read_transcript(given["transcript"])
    if "reference" in given:
        given["reference"] = job.place(given["reference"])
    if "speaker" in given:
        given["speaker"] = tuple(job.place(name) for name in given["speaker"])
    return given


def refuse_option_kind(path: Path, key: str, value: Any) -> None:
    """Raise OptionError for a value of another kind than an option takes that no preset sets."""
    field = FIELDS[key]
    kind = list if field.several else str if field.kind is Path else field.kind
    if not isinstance(value, kind):
        raise OptionError(f"{path}: options: {key} takes {'a list of files' if kind is list else kind.__name__}")


def refuse_answers_in_the_way(job: JobFile, jobs: list[Job], options: RenderOptions) -> None:
    """Raise OptionError where an answer of the job has the name of an input or an output."""
    answers = {"result": job.result, "progress": job.progress, "cancel": job.cancel, "done": job.done}
    for each in jobs:
        outputs = [*renders_of(each.target, options), *report_paths(each.target), page_name(each.target)]
        written = {f"output {path.name}": path for path in outputs}
        refuse_shared(job.path, {f"input {shown(each.source)}": each.source, **written, **answers})


def file_result(outcome: FileOutcome) -> FileResult:
    """What became of a file, as the result of a job has it."""
    source, target = str(outcome.job.source), str(outcome.job.target)
    if outcome.rendered is None:
        if outcome.there:
            return skipped_result(outcome.job, outcome.there)
        return FileResult(source, outcome.status, outcome.reason, outcome.fault)
    told = outcome.rendered[1].summary
    names = ("report", "figure", "page", "top", "uncertain", "notices", "seconds")
    return FileResult(source, "rendered", output=target, **{name: told[name] for name in names})
