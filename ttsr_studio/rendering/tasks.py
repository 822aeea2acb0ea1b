"""A render as a task: what a worker is told and answers, wherever it runs, and what may go wrong with it.

The tasks are plain data and pickle, so that the same function does them in this process, in another, or on another
machine. Whoever has tasks done goes by the `Cause` of a failure: whether the file, its settings or the surroundings
are to blame decides whether it is tried again.
"""

import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from ttsr_studio.errors import Cause, ChangedError, TtsrError, cause_of
from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.inference.progress import CancellationToken

if TYPE_CHECKING:
    from ttsr_studio.rendering.inference.session import Sessions
    from ttsr_studio.rendering.summary import Rendered
    from ttsr_studio.verifiers.protocol import Annotations

Done = TypeVar("Done")

REPORT_SECONDS = 0.25
"""Between two reports of progress."""

START_SECONDS = 300.0
"""For a process to start and import what it needs; disks can be slow after a boot."""

DECODE_SECONDS = 10.0
DECODE_BYTES = 2e6
"""A decoder may be silent for 10 s, and for one more for every 2 MB of the file."""


@dataclass(frozen=True)
class RenderTask:
    """One render, as a worker is told.

    Attributes:
        source, target: where it lies, and where the render is to be written.
        options: of the render.
        reference: ground truth for oracle verifiers.
        report: whether the report is written.
        replace: whether an output of this name may be replaced.
        inputs: other sources, which stay whatever was rendered to their names before.
    """

    source: Path
    target: Path
    options: RenderOptions
    reference: Path | None = None
    report: bool = True
    replace: bool = True
    inputs: tuple[Path, ...] = ()


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
    """Why there is no answer, in a line.

    Attributes:
        trace: lines on where a failure that nobody foresaw happened.
    """

    cause: Cause
    line: str
    trace: tuple[str, ...] = ()


class CrashedError(Exception):
    """The worker ended, or had to be ended; the text says how."""


class StoppedError(Exception):
    """The work was called off from outside."""


class LostError(Exception):
    """The machine that did the work, or its worker, went away, which says nothing of the file; the text says how.

    Attributes:
        machine: whether it was the whole machine; a worker alone may have ended over the file after all.
    """

    def __init__(self, how: str, machine: bool) -> None:
        super().__init__(how)
        self.machine = machine


class TaskFailedError(Exception):
    """The worker cannot do what it was asked; the text says why, `cause` what that is about."""

    def __init__(self, failure: TaskFailed) -> None:
        super().__init__(failure.line)
        self.failure, self.cause = failure, failure.cause


OnProgress = Callable[[WorkerProgress], bool]
"""Told where the work stands, several times a second; answers whether to go on."""


class RenderWorker(Protocol):
    """Does the tasks of one thread, in a process of this machine or on another."""

    def ready(self, go_on: Callable[[], bool]) -> bool:
        """Whether it can be given a task now, after what that takes; False as well once `go_on` answers so."""
        ...

    def trouble(self, due: bool) -> str | None:
        """Why no worker can do anything at the moment, in a line; None where that is not so.

        Args:
            due: whether there is something to do.
        """
        ...

    def rest(self, seconds: float) -> None:
        """Nothing has been there to do for so long: what is not worth keeping is let go."""
        ...

    def hash(self, source: Path, on_progress: OnProgress) -> str:
        """The sha256 of a file. Raises what `render` does."""
        ...

    def render(self, task: RenderTask, on_progress: OnProgress) -> RenderDone:
        """Have a render made.

        Raises:
            TaskFailedError: it cannot be made.
            CrashedError: the worker ended, hung or took too much memory; it is gone then.
            LostError: the worker or its machine went away, of which the file knows nothing.
            StoppedError: `on_progress` returned False; the worker is gone then, as after whatever that raises.
        """
        ...

    def stop(self) -> None:
        """End the worker, whatever it does."""
        ...


def refuse_failure(answer: object, stop: Callable[[], None]) -> None:
    """Raise TaskFailedError for a task that failed, CrashedError after `stop` where its worker is not to be trusted."""
    if isinstance(answer, TaskFailed):
        if answer.cause is Cause.CRASH:
            stop()
            raise CrashedError(answer.line)
        raise TaskFailedError(answer)


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    Attributes:
        silence: seconds without any progress.
        memory: bytes of resident memory; None for no limit.
        sharing: workers that share the machine's cores.
    """

    silence: float = 900.0
    memory: int | None = None
    sharing: int = 1

    def refuse_silence(self, last: WorkerProgress, seconds: float, size: int) -> None:
        """Raise CrashedError for a worker that has said nothing for so long.

        Args:
            last: what it said then.
            size: bytes of the file that it works on.
        """
        if last.stage == "reading":
            allowed, what = DECODE_SECONDS + size / DECODE_BYTES, "the decoder hung"
        elif last.stage in ("starting", "loading"):
            allowed, what = max(START_SECONDS, self.silence), "hung while it was started"
        else:
            allowed, what = self.silence, f"hung while {last.stage}"
        if seconds > allowed:
            raise CrashedError(f"{what}: no progress for {seconds:.0f} s")

    def refuse_memory(self, taken: int) -> None:
        """Raise CrashedError for a worker that takes so many bytes."""
        most = self.memory
        if most is not None and taken > most:
            raise CrashedError(f"took more memory than it may: {taken / 1e9:.1f} of {most / 1e9:.1f} GB")


@dataclass(frozen=True)
class Workplace:
    """What a worker keeps from task to task.

    Attributes:
        sessions: what is loaded.
        report: told where the work stands: stage, done, total.
        annotate: what is known of a file, of its options, at a rate in Hz.
        stop: where somebody says that it is enough.
    """

    sessions: "Sessions"
    report: Callable[[str, float, float], None]
    annotate: "Callable[[Path, RenderOptions, int], Annotations]"
    stop: CancellationToken = field(default_factory=CancellationToken)


class ProgressReporter:
    """Passes on where the work stands, now and then."""

    def __init__(self, send: Callable[[WorkerProgress], None]) -> None:
        self.send, self.stage, self.at = send, "", 0.0

    def __call__(self, stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        if stage != self.stage or now - self.at >= REPORT_SECONDS:
            self.stage, self.at = stage, now
            self.send(WorkerProgress(stage, done, total))


def hash_file(source: Path, report: Callable[[str, float, float], None]) -> HashDone:
    """The checksum of a file. Raises OSError."""
    digest, total = hashlib.sha256(), source.stat().st_size
    with source.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            report("hashing", file.tell(), total)
    return HashDone(digest.hexdigest())


def render_task(task: RenderTask, place: Workplace) -> "Rendered":
    """Render a file to its target. Raises what `rendering.pipeline.render` and `Session` raise."""
    from ttsr_studio.rendering.pipeline import render
    from ttsr_studio.rendering.request import RenderRequest

    place.report("loading", 0, 1)
    session = place.sessions.of(task.options)
    place.report("reading", 0, 1)
    request = RenderRequest(
        task.source,
        task.target,
        annotations=place.annotate(task.source, task.options, session.engine.sample_rate),
        reference=task.reference or task.options.reference,
        report=task.report,
        replace=task.replace,
        inputs=task.inputs,
    )
    return render(session, request, lambda event: place.report(event.stage, event.done, event.total), place.stop)


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
        trace = tuple("".join(traceback.format_exception(error)).splitlines())
        return TaskFailed(Cause.CRASH, f"{type(error).__name__}: {what} (at {where})", trace)
