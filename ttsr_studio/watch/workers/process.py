"""The process that renders: the engine stays loaded, and whatever goes wrong in here ends here.

It is told what to do through a pipe, says all the time where it stands, and ends when its parent does.
"""

import hashlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from ttsr_studio.errors import Cause, ChangedError, TtsrError, cause_of
from ttsr_studio.options import RenderOptions

Done = TypeVar("Done")

REPORT_SECONDS = 0.25
"""Between two reports of progress."""

LOG_BYTES = 1_000_000
UNEXPECTED = 70
"""Exit code after an error that nobody foresaw."""


@dataclass(frozen=True)
class RenderTask:
    """One render, as the worker is told.

    Attributes:
        source, target: where it lies, and where the render is to be written for now.
        options: of the render.
    """

    source: Path
    target: Path
    options: RenderOptions


class Ready:
    """The process has imported what it needs."""


@dataclass(frozen=True)
class WorkerProgress:
    """Where the work stands: `done` of `total` of a stage; total 0 when that is not known."""

    stage: str
    done: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class HashDone:
    """The checksum of a source."""

    sha256: str


@dataclass(frozen=True)
class RenderDone:
    """A render lies at its target: its checksum, and what there is to say of it in a line."""

    sha256: str
    line: str


@dataclass(frozen=True)
class TaskFailed:
    """Why there is no answer, in a line."""

    cause: Cause
    line: str


def work(pipe: Connection, leash: Connection, log: Path, sharing: int) -> None:
    """The main function of the process: answer tasks until the pipe closes.

    Args:
        leash: never written to; it breaks when the parent ends, however that comes about.
        log: takes what libraries print and what the system says of a crash.
        sharing: workers that share the machine's cores; `OMP_NUM_THREADS`, where it is set, holds for each.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the parent decides what becomes of the job
    threading.Thread(target=end_with_parent, args=(leash,), daemon=True).start()
    redirect(log)
    import torch

    from ttsr_studio.rendering.inference.session import Sessions

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // sharing))
    sessions = Sessions()
    pipe.send(Ready())
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        answer = hash_source(pipe, task) if isinstance(task, Path) else render_source(pipe, task, sessions)
        pipe.send(answer)
        if isinstance(answer, TaskFailed) and answer.cause is Cause.CRASH:
            raise SystemExit(UNEXPECTED)  # what an error of the device leaves behind is not to be trusted


def end_with_parent(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def redirect(log: Path) -> None:
    """Send standard output and error to a file, with a trace of every crash; nothing there may disturb the pipe."""
    import faulthandler

    full = log.exists() and log.stat().st_size > LOG_BYTES
    file = os.open(log, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if full else os.O_APPEND), 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    faulthandler.enable()


class ProgressReporter:
    """Says where the work stands, now and then."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.stage, self.at = pipe, "", 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage != self.stage or now - self.at >= REPORT_SECONDS:
            self.stage, self.at = stage, now
            self.pipe.send(WorkerProgress(stage, done, total))


def hash_source(pipe: Connection, source: Path) -> HashDone | TaskFailed:
    """The checksum of a file."""

    def read() -> HashDone:
        report, digest, total = ProgressReporter(pipe), hashlib.sha256(), source.stat().st_size
        with source.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                report("hashing", file.tell(), total)
        return HashDone(digest.hexdigest())

    return guarded(source, read)


def render_source(pipe: Connection, task: RenderTask, sessions: Any) -> RenderDone | TaskFailed:
    """Render a file to its target."""

    def make() -> RenderDone:
        from ttsr_studio.config.annotations import read_annotations
        from ttsr_studio.rendering.pipeline import render
        from ttsr_studio.rendering.request import RenderRequest

        report = ProgressReporter(pipe)
        report("loading", 0, 1)
        session = sessions.of(task.options)
        report("reading", 0, 1)
        done = render(
            session,
            RenderRequest(
                task.source,
                task.target,
                annotations=read_annotations(task.source, task.options, session.engine.sample_rate),
                reference=task.options.reference,
            ),
            progress=lambda event: report(event.stage, event.done, event.total),
        )
        return RenderDone(done.summary["sha256"], done.line)

    return guarded(task.source, make)


def guarded(source: Path, step: Callable[[], Done]) -> Done | TaskFailed:
    """Do a step; whatever it raises becomes a failure, with what it is about and in one line."""
    try:
        return step()
    except ChangedError as error:
        return TaskFailed(Cause.CHANGED, str(error))
    except TtsrError as error:
        return TaskFailed(cause_of(error), str(error))
    except OSError as error:
        return TaskFailed(cause_of(error), f"{source}: {error.strerror or error}")
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = " ".join(str(error).split())[:500]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return TaskFailed(Cause.CRASH, f"{type(error).__name__}: {what} (at {where})")
