"""Starts a worker when there is work; ends it when it hangs, takes too much memory, or is not needed."""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import psutil

from ttsr_studio.rendering.tasks import (
    CrashedError,
    HashDone,
    Limits,
    OnProgress,
    RenderDone,
    RenderTask,
    StoppedError,
    WorkerProgress,
    refuse_failure,
)
from ttsr_studio.watch.workers.process import UNEXPECTED, Ready, SideTask, work

POLL_SECONDS = 0.2
MEASURE_SECONDS = 1.0
"""Between two measurements of memory."""

IDLE_SECONDS = 900.0
"""After so long without work the engine is unloaded."""


class Worker:
    """A process that was just started."""

    def __init__(self, log: Path, sharing: int) -> None:
        context = multiprocessing.get_context("spawn")
        theirs: Connection
        their_leash: Connection
        self.pipe, theirs = context.Pipe()
        their_leash, self.leash = context.Pipe(duplex=False)
        given = (theirs, their_leash, log, sharing)
        self.process: SpawnProcess = context.Process(target=work, args=given, daemon=True)
        self.process.start()
        theirs.close()
        their_leash.close()
        self.ready = False

    def stop(self) -> None:
        """End the process, whatever it does."""
        with contextlib.suppress(ValueError, OSError):
            self.process.kill()
        self.process.join(10)
        self.pipe.close()
        self.leash.close()

    def memory(self) -> int:
        """Bytes of resident memory, 0 when the process is gone."""
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def ending(self) -> str:
        """How the process ended, in words."""
        self.process.join(5)
        code = self.process.exitcode
        if code is None:
            return "lost its connection"
        if code == UNEXPECTED:
            return "ended after an error"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"ended with exit code {code}"


class Supervisor:
    """Keeps one worker at a time, for one thread of the service.

    Args:
        log: file for what the worker and its libraries print.
    """

    def __init__(self, log: Path, limits: Limits) -> None:
        self.log, self.limits = log, limits
        self.worker: Worker | None = None

    def stop(self) -> None:
        """End the worker, whatever it does."""
        if self.worker:
            self.worker.stop()
        self.worker = None

    def ready(self, go_on: Callable[[], bool]) -> bool:
        """A process is started with the first task, and costs nothing until then."""
        return go_on()

    def trouble(self, due: bool) -> str | None:
        """There is always this machine."""
        return None

    def rest(self, seconds: float) -> None:
        """Unload the engine after a long time without work."""
        if seconds > IDLE_SECONDS:
            self.stop()

    def hash(self, source: Path, on_progress: OnProgress) -> str:
        """The sha256 of a file. Raises what `render` does."""
        answer = self._ask(source, 0, on_progress)
        assert isinstance(answer, HashDone)
        return answer.sha256

    def render(self, task: RenderTask, on_progress: OnProgress) -> RenderDone:
        """Have a render made.

        Raises:
            TaskFailedError: it cannot be made.
            CrashedError: the process ended, hung or took too much memory; it is gone then.
            StoppedError: `on_progress` returned False; the process is gone then, as after whatever that raises.
        """
        answer = self._ask(task, task.source.stat().st_size if task.source.exists() else 0, on_progress)
        assert isinstance(answer, RenderDone)
        return answer

    def side(self, task: SideTask, on_progress: OnProgress) -> Any:
        """Have something else done; gives its answer. Raises what `render` does."""
        return self._ask(task, task.source.stat().st_size if task.source.is_file() else 0, on_progress)

    def _ask(self, task: RenderTask | SideTask | Path, size: int, on_progress: OnProgress) -> Any:
        if self.worker is None or not self.worker.process.is_alive():
            self.stop()
            self.worker = Worker(self.log, self.limits.sharing)
        worker = self.worker
        try:
            if worker.ready:
                worker.pipe.send(task)
            answer = self._answer(worker, task, size, on_progress)
        except (EOFError, OSError) as error:
            how = worker.ending()
            self.stop()
            raise CrashedError(how) from error
        except BaseException:
            self.stop()  # it is at work still
            raise
        refuse_failure(answer, self.stop)
        return answer

    def _answer(self, worker: Worker, task: RenderTask | SideTask | Path, size: int, on_progress: OnProgress) -> Any:
        """Wait for the answer, keeping an eye on silence and memory."""
        last_message = measured = time.monotonic()
        last = WorkerProgress("starting")
        while True:
            if worker.pipe.poll(POLL_SECONDS):
                message = worker.pipe.recv()
                last_message = time.monotonic()
                if isinstance(message, Ready):
                    worker.ready = True
                    worker.pipe.send(task)
                elif isinstance(message, WorkerProgress):
                    last = message
                else:
                    return message
            now = time.monotonic()
            self.limits.refuse_silence(last, now - last_message, size)
            if now - measured > MEASURE_SECONDS:
                measured = now
                self.limits.refuse_memory(worker.memory())
            if not on_progress(last):
                raise StoppedError
