"""The process that renders: the engine stays loaded, and whatever goes wrong in here ends here.

It is told what to do through a pipe, says all the time where it stands, and ends when its parent does.
"""

import errno
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
from typing import Any, Literal

from ttsr_studio.errors import ChangedError, InputError, MissingError, OptionError, TtsrError
from ttsr_studio.options import RenderOptions

BEAT_SECONDS = 0.25
"""Between two words of where it stands."""

Kind = Literal["input", "settings", "changed", "around", "crash"]
"""What a failure is about: the file, its settings, another file by now, what is around it, or the process itself."""

AROUND = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "EBUSY", "EAGAIN"),
        *("ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENODEV", "ENXIO"),
    )
    if hasattr(errno, name)
}
"""What the system says when a file is not to blame, and waiting may help."""

LOG_BYTES = 1_000_000
UNEXPECTED = 70
"""Exit code after an error that nobody foresaw."""


@dataclass(frozen=True)
class Task:
    """One render, as the worker is told.

    Attributes:
        source, target: where it lies, and where the render is to be written for now.
        options: of the render.
    """

    source: Path
    target: Path
    options: RenderOptions


@dataclass(frozen=True)
class Said:
    """A word of the worker: `what` is "stage", "hashed", "rendered" or "failed"."""

    what: Literal["ready", "stage", "hashed", "rendered", "failed"]
    stage: str = ""
    done: float = 0.0
    total: float = 0.0
    sha256: str = ""
    line: str = ""
    kind: Kind = "input"


def work(pipe: Connection, leash: Connection, log: Path) -> None:
    """The main function of the process: answer tasks until the pipe closes.

    Args:
        leash: never written to; it breaks when the parent ends, however that comes about.
        log: takes what libraries print and what the system says of a crash.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the parent decides what becomes of the job
    threading.Thread(target=end_with_parent, args=(leash,), daemon=True).start()
    redirect(log)
    from ttsr_studio.render.inference.session import Sessions

    sessions = Sessions()
    pipe.send(Said("ready"))
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        if isinstance(task, Path):
            answer_hash(pipe, task)
        else:
            answer_render(pipe, task, sessions)


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


class Beat:
    """Says where the work stands, now and then."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.stage, self.at = pipe, "", 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage != self.stage or now - self.at >= BEAT_SECONDS:
            self.stage, self.at = stage, now
            self.pipe.send(Said("stage", stage=stage, done=done, total=total))


def answer_hash(pipe: Connection, source: Path) -> None:
    """Say the checksum of a file."""

    def read() -> Said:
        beat, digest, total = Beat(pipe), hashlib.sha256(), source.stat().st_size
        with source.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                beat("hashing", file.tell(), total)
        return Said("hashed", sha256=digest.hexdigest())

    pipe.send(guarded(source, read))


def answer_render(pipe: Connection, task: Task, sessions: Any) -> None:
    """Render, and say how it went."""

    def make() -> Said:
        from ttsr_studio.config.annotations import read_annotations
        from ttsr_studio.render.pipeline import render

        beat = Beat(pipe)
        beat("loading", 0, 1)
        session = sessions.of(task.options)
        beat("reading", 0, 1)
        done = render(
            session,
            task.source,
            task.target,
            annotations=read_annotations(task.source, task.options, session.engine.sample_rate),
            reference=task.options.reference,
            progress=lambda event: beat(event.stage, event.done, event.total),
        )
        return Said("rendered", line=done.line, sha256=done.summary["sha256"])

    said = guarded(task.source, make)
    pipe.send(said)
    if said.what == "failed" and said.kind == "crash":
        raise SystemExit(UNEXPECTED)  # what an error of the device leaves behind is not to be trusted


def guarded(source: Path, step: Callable[[], Said]) -> Said:
    """Do a step; whatever it raises becomes a word, with what it is about and in one line."""
    try:
        return step()
    except ChangedError as error:
        return Said("failed", kind="changed", line=str(error))
    except (OSError, TtsrError) as error:
        return Said("failed", kind=blame(error), line=in_words(source, error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = " ".join(str(error).split())[:500]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Said("failed", kind="crash", line=f"{type(error).__name__}: {what} (at {where})")


def in_words(source: Path, error: OSError | TtsrError) -> str:
    if isinstance(error, TtsrError):
        return str(error)
    return f"{source}: {error.strerror or error}"


def blame(error: OSError | TtsrError) -> Kind:
    """What an error is about, by what the system said where it did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in AROUND:
            return "around"
        cause = cause.__cause__
    if isinstance(error, MissingError | OptionError):
        return "settings"
    return "input" if isinstance(error, InputError | OSError) else "around"
