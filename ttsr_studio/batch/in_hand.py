"""Three files at a time: while one is searched, the next is read and the last is written, in threads beside it."""

import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from ttsr_studio.batch.fault import fault_of
from ttsr_studio.batch.outcome import CancelledError, FileOutcome
from ttsr_studio.batch.plan import Job
from ttsr_studio.errors import NothingToAddError, TakenError, TtsrError, in_one_line
from ttsr_studio.rendering.inference.progress import Event, Watch

MEANWHILE = "another run made it meanwhile"

if TYPE_CHECKING:
    from ttsr_studio.batch.run import BatchRun
    from ttsr_studio.rendering.pipeline import FileRender


class Relay:
    """Passes the steps of a render on to who watches now: nobody before it is turned to, and after it is left."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self._last: Event | None = None
        self._over = False

    def __call__(self, event: Event) -> None:
        """Take a step. Raises CancelledError where nobody wants it any more."""
        if self._over:
            raise CancelledError("nobody waits for this file any more")
        self._last = event
        if self.watch:
            self.watch(event)

    def show(self, watch: Watch) -> None:
        """From here on somebody watches; what they missed is told by its last step."""
        self.watch = watch
        if self._last:
            watch(self._last)

    def call_off(self) -> None:
        """End the render at its next step."""
        self._over = True


@dataclass(frozen=True)
class FileInHand:
    """A file that was turned to.

    Attributes:
        reading: is done when it is read; None before anybody does that.
    """

    job: Job
    render: "FileRender"
    relay: Relay
    reading: "Future[None] | None" = None

    def leave(self) -> None:
        """Do no more with it."""
        if self.reading:
            self.relay.call_off()
            wait([self.reading])
        self.render.close()


class FilesInHand:
    """The files of a run that are in hand: one that is read, one that is searched, one that is written.

    Args:
        inputs: sources that stay, whatever was rendered to their names before.
    """

    def __init__(self, run: "BatchRun", inputs: Collection[Path]) -> None:
        self.run, self.inputs = run, inputs
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="ttsr-file")
        self.next: FileInHand | None = None
        self.file: FileInHand | None = None
        self.last: Future[FileOutcome] | None = None
        self.targets: set[Path] = set()

    def __enter__(self) -> "FilesInHand":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self.next, self.file):
            if file:
                file.leave()
        self.pool.shutdown()

    def search(self, job: Job, progress: Watch, following: Sequence[Job]) -> FileOutcome | None:
        """Search a file, and have the one that follows read meanwhile; what befell it, None where nothing did."""
        if self.next is None and self.last:
            wait([self.last])  # another engine may be loaded, which takes the place of that file's
        failed = done_or_failed(job, lambda: self._searched(job, progress, following))
        if failed and self.file:
            self.file.leave()
            self.file = None
        return failed

    def _searched(self, job: Job, progress: Watch, following: Sequence[Job]) -> FileOutcome | None:
        if self.next and self.next.job != job:  # what was read ahead was left out, as its output had appeared
            self.leave_next()
        self.file, self.next = self.next or self.run.turn_to(job, self.inputs), None
        self.targets.add(job.target.absolute())
        self.file.relay.show(progress)
        if self.file.reading:
            self.file.reading.result()
        else:
            self.file.render.read()
        if there := self.run.left(job):  # it appeared while this was read
            return FileOutcome(job, "skipped", there=there)
        self._read_ahead(following)
        self.file.render.search()
        return None

    def _read_ahead(self, following: Sequence[Job]) -> None:
        """Begin to read the next file, unless its options want another engine, or it is what we are writing."""
        stop = self.run.stop
        if not following or (stop and stop.asked) or self.run.left(following[0], draw=False):
            return
        (job,) = following
        try:
            if job.source.absolute() in self.targets or not self.run.sessions.serves(self.run.options_of(job)):
                return
            file = self.run.turn_to(job, self.inputs)
        except Exception:  # at its turn it is tried again, and told
            return
        self.next = FileInHand(job, file.render, file.relay, self.pool.submit(file.render.read))

    def leave_next(self) -> None:
        """Read no more of the next file."""
        if self.next:
            self.next.leave()
        self.next = None

    def write(self) -> FileOutcome:
        """Write the file that was searched, here."""
        assert self.file is not None
        file, self.file = self.file, None
        return written(file, self.run.skip_existing)

    def write_beside(self) -> None:
        """Write the file that was searched, in a thread."""
        assert self.file is not None
        file, self.file = self.file, None
        file.relay.watch = None
        self.last = self.pool.submit(written, file, self.run.skip_existing)

    def telling(self, watch: Watch) -> Watch:
        """The same watch, at whose steps the run is told of the last file once that is written."""
        told: Future[FileOutcome] | None = None

        def see(event: Event) -> None:
            nonlocal told
            if (last := self.last) and last is not told and last.done() and not last.exception():
                told = last
                self.run.written(last.result())
            watch(event)

        return see

    def take_last(self) -> FileOutcome | None:
        """What became of the file that is written in a thread; waits for it. None where there is none."""
        outcome = self.last.result() if self.last else None
        self.last = None
        return outcome


def written(file: FileInHand, skip_existing: bool) -> FileOutcome:
    """Write a file that was searched: what became of it."""
    request = file.render.run.request
    try:
        if skip_existing and not request.replace and request.target.exists():
            return FileOutcome(file.job, "skipped", there=MEANWHILE)
        done = done_or_failed(file.job, file.render.write, skip_existing)
    finally:
        file.render.close()
    if isinstance(done, FileOutcome):
        return done
    return FileOutcome(file.job, "rendered", rendered=(file.render.run.session, done))


Done = TypeVar("Done")


def done_or_failed(job: Job, work: Callable[[], Done], skip_existing: bool = False) -> Done | FileOutcome:
    """Do a file's work; what befell it where it failed. Raises CancelledError.

    Args:
        skip_existing: whether it is skipped where something else has made its output meanwhile.
    """
    try:
        return work()
    except CancelledError:
        raise
    except NothingToAddError as error:
        return FileOutcome(job, "skipped", str(error))
    except Exception as error:  # one file's trouble, foreseen or not, must not stop the others
        if skip_existing and isinstance(error, TakenError):
            return FileOutcome(job, "skipped", there=MEANWHILE)
        foreseen = isinstance(error, TtsrError)
        trace = () if foreseen else "".join(traceback.format_exception(error)).splitlines()
        fault = fault_of(error, job.source)
        return FileOutcome(job, "failed", in_one_line(job.source, error), fault, trace=trace)
