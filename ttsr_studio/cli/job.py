"""`ttsr render --job`: a job file instead of flags (docs/studio/jobs.md)."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

import click

from ttsr_studio.batch.fault import EXIT_CODES, Fault, fault_of, worst
from ttsr_studio.batch.job_file import FileResult, JobResult, answers, clear_old, read_job, write_answers
from ttsr_studio.batch.job_lock import BusyError, held
from ttsr_studio.batch.job_run import carry_out
from ttsr_studio.batch.outcome import CancelledError
from ttsr_studio.batch.path_map import AS_THEY_ARE
from ttsr_studio.batch.path_rules import read_rules
from ttsr_studio.batch.python_words import OUTPUT
from ttsr_studio.cli.interrupt import INTERRUPTED
from ttsr_studio.cli.openjd_words import OpenJdWords
from ttsr_studio.errors import TtsrError, in_one_line, of_a_file, on_one_line

CODES = {"done": 0, "failed": 1, "refused": 2, "cancelled": INTERRUPTED}

JobEnding = tuple[Literal["done", "failed", "cancelled", "refused"], str, Fault | None, list[FileResult]]
"""Status, message, fault, and what became of every file."""


@dataclass(frozen=True)
class JobFlags:
    """What stands beside `--job`.

    Attributes:
        openjd: whether progress is printed as Open Job Description has it.
        by_fault: whether exit codes tell whose fault a failure is.
        rules: a file of rules by which paths in the job are changed.
    """

    openjd: bool = False
    by_fault: bool = False
    rules: Path | None = None

    def code(self, status: str, fault: Fault | None) -> int:
        """The exit code of a job."""
        code = CODES[status]
        if self.by_fault and fault and (status == "failed" or fault in ("surroundings", "crash")):
            return EXIT_CODES[fault]
        return code


def run_job(path: Path, flags: JobFlags) -> None:
    """Do a job and end the process with its exit code."""
    words = OpenJdWords() if flags.openjd else None
    try:
        with held(path):  # its answers are written while it is
            code = done_and_told(path, flags, words)
    except BusyError as error:
        code = told_code((None, None), ("refused", on_one_line(str(error)), "surroundings", []), flags, words)
    sys.exit(code)


def done_and_told(path: Path, flags: JobFlags, words: OpenJdWords | None) -> int:
    """Do a job, write its answers, and say what is wrong; returns its exit code."""
    places: tuple[Path | None, Path | None] = None, None
    ending: JobEnding = "cancelled", "", None, []
    try:
        with terminated_as_interrupted():
            paths = read_rules(flags.rules) if flags.rules else AS_THEY_ARE
            places = answers(path, paths)
            job = read_job(path, paths)
            clear_old(job.result, job.done, job.progress)
            status, results = carry_out(job, words)
            failed = [each for each in results if each.status == "failed"]
            ending = status, "; ".join(each.reason for each in failed), worst(each.fault for each in failed), results
    except (CancelledError, KeyboardInterrupt):
        pass
    except Exception as error:
        ending = job_refusal(path, error)
    return told_code(places, ending, flags, words)


def job_refusal(path: Path, error: Exception) -> JobEnding:
    """The ending of a job that could not be begun."""
    fault = fault_of(error)
    if fault == "input":  # no file was opened yet
        fault = "settings"
    if fault == "settings" and not path.exists():
        fault = "surroundings"  # the share may not be mounted here
    if isinstance(error, TtsrError):
        message = on_one_line(str(error))
    elif isinstance(error, OSError):
        message = of_a_file(error) if error.filename else str(error)
    else:
        message = in_one_line(path, error)
    return "refused", message, fault, []


def told_code(
    places: tuple[Path | None, Path | None], ending: JobEnding, flags: JobFlags, words: OpenJdWords | None
) -> int:
    """Write the answers of a job and say what is wrong; returns its exit code.

    Args:
        places: of its result and its done file.
    """
    status, message, fault, results = ending
    message = OUTPUT.sub('"output"', message)
    results = [replace(each, reason=OUTPUT.sub('"output"', each.reason)) for each in results]
    code, unwritten = flags.code(status, fault), flags.code("refused", "surroundings")
    failed = write_answers(*places, JobResult(status, code, message, fault, results), unwritten)
    if message or failed:
        click.echo(f"Error: {message or failed}" if status == "refused" else message or failed, err=True)
    code = unwritten if failed else code
    if code and words:
        words.fail(message or failed or status)
    return code


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
