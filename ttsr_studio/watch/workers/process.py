"""The process that renders: the engine stays loaded, and whatever goes wrong in here ends here.

It is told what to do through a pipe, says all the time where it stands, and ends when its parent does.
"""

import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ttsr_studio.errors import Cause
from ttsr_studio.rendering.tasks import (
    HashDone,
    ProgressReporter,
    RenderDone,
    RenderTask,
    TaskFailed,
    Workplace,
    guarded,
    hash_file,
    render_task,
)

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Sessions

LOG_BYTES = 1_000_000
UNEXPECTED = 70
"""Exit code after an error that nobody foresaw."""


@dataclass(frozen=True)
class SideTask(ABC):
    """Something else that is done where the engine and the decoders are, so that it cannot hurt the service.

    Attributes:
        source: the file that it is about.
    """

    source: Path

    @abstractmethod
    def answer(self) -> Any:
        """Do it. Raises TtsrError or OSError where it cannot be done."""


class Ready:
    """The process has imported what it needs."""


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
        if isinstance(task, SideTask):
            answer = guarded(task.source, task.answer)
        else:
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


def hash_source(pipe: Connection, source: Path) -> HashDone | TaskFailed:
    """The checksum of a file."""
    return guarded(source, lambda: hash_file(source, ProgressReporter(pipe.send)))


def render_source(pipe: Connection, task: RenderTask, sessions: "Sessions") -> RenderDone | TaskFailed:
    """Render a file to its target."""

    def make() -> RenderDone:
        from ttsr_studio.config.annotations import read_annotations

        done = render_task(task, Workplace(sessions, ProgressReporter(pipe.send), read_annotations))
        return RenderDone(done.summary["sha256"], done.line)

    return guarded(task.source, make)
