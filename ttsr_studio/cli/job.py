"""`ttsr render --job`: a job file instead of flags (docs/studio/jobs.md)."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from ttsr_studio.batch.job_file import FileResult, answers, clear_old, read_job, write_answers
from ttsr_studio.batch.job_run import carry_out
from ttsr_studio.batch.run import CancelledError
from ttsr_studio.cli.interrupt import INTERRUPTED
from ttsr_studio.errors import TtsrError, of_a_file, on_one_line

CODES = {"done": 0, "failed": 1, "refused": 2, "cancelled": INTERRUPTED}


def run_job(path: Path) -> None:
    """Do a job and end the process with its exit code."""
    result, done = answers(path)
    message, status, results = "", "refused", list[FileResult]()
    try:
        with terminated_as_interrupted():
            job = read_job(path)
            clear_old(job.result, job.done, job.progress)
            status, results = carry_out(job)
    except (CancelledError, KeyboardInterrupt):
        status = "cancelled"
    except TtsrError as error:
        message = on_one_line(str(error))
    except OSError as error:
        message = of_a_file(error) if error.filename else str(error)
    finally:
        code = CODES[status]
        message = message or "; ".join(each.reason for each in results if each.status == "failed")
        failed = write_answers(result, done, code, message, status, results)
    if message or failed:
        click.echo(f"Error: {message or failed}" if code == 2 else message or failed, err=True)
    sys.exit(2 if failed else code)


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
