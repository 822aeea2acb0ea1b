"""A worker under watch: started when there is work, ended when it hangs, takes too much memory, or is not needed."""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ttsr_studio.watch.workers.process import UNEXPECTED, Said, Task, work

LOOK_SECONDS = 0.2
MEMORY_SECONDS = 1.0
START_SECONDS = 300.0
"""For a process to start and import what it needs; disks can be slow after a boot."""

DECODE_SECONDS = 10.0
DECODE_BYTES = 2e6
"""A decoder may be silent for 10 s, and for one more for every 2 MB of the file."""


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    Attributes:
        silence: seconds without any progress.
        memory: bytes of resident memory; None for no limit.
    """

    silence: float = 900.0
    memory: int | None = None


class DeadError(Exception):
    """The worker ended, or had to be ended; the text says how."""


class StoppedError(Exception):
    """The work was called off from outside."""


class Worker:
    """One process that renders, for one thread of the service.

    Args:
        log: file for what it and its libraries print.
    """

    def __init__(self, log: Path, limits: Limits) -> None:
        self.log, self.limits = log, limits
        self.process: multiprocessing.process.BaseProcess | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def start(self) -> None:
        """Start the process where it does not run; its imports go on while the caller does."""
        if self.process and self.process.is_alive():
            return
        self.stop()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        their_leash, self.leash = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(theirs, their_leash, self.log), daemon=True)
        self.process.start()
        theirs.close()
        their_leash.close()
        self.ready = False

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self.process is None:
            return
        with contextlib.suppress(ValueError, OSError):
            self.process.kill()
        self.process.join(10)
        for end in (self.pipe, self.leash):
            end.close()
        self.process = None

    def hash(self, source: Path, told: Callable[[Said], bool]) -> Said:
        """The checksum of a file, as `render` answers."""
        return self._ask(source, 0, told)

    def render(self, task: Task, told: Callable[[Said], bool]) -> Said:
        """Have a task done.

        Args:
            told: is told where the work stands, several times a second; answers whether to go on.

        Raises:
            DeadError: the process ended, hung or took too much memory; it is gone then.
            StoppedError: `told` said so; the process is gone then.
        """
        return self._ask(task, task.source.stat().st_size if task.source.exists() else 0, told)

    def _ask(self, what: Task | Path, size: int, told: Callable[[Said], bool]) -> Said:
        self.start()
        assert self.process
        try:
            if self.ready:
                self.pipe.send(what)
            return self._answer(what, size, told)
        except (EOFError, OSError) as error:
            raise DeadError(self._ending()) from error
        except (DeadError, StoppedError):
            self.stop()
            raise

    def _answer(self, what: Task | Path, size: int, told: Callable[[Said], bool]) -> Said:
        """Wait for the answer, keeping an eye on silence and memory."""
        heard = measured = time.monotonic()
        last = Said("stage", stage="starting")
        while True:
            if self.pipe.poll(LOOK_SECONDS):
                said: Said = self.pipe.recv()
                heard = time.monotonic()
                if said.what == "ready":
                    self.ready = True
                    self.pipe.send(what)
                elif said.what == "stage":
                    last = said
                else:
                    return said
            now = time.monotonic()
            self._refuse_silence(last, now - heard, size)
            if now - measured > MEMORY_SECONDS:
                measured = now
                self._refuse_memory()
            if not told(last):
                raise StoppedError

    def _refuse_silence(self, last: Said, silence: float, size: int) -> None:
        if last.stage == "reading":
            allowed, what = DECODE_SECONDS + size / DECODE_BYTES, "the decoder hung"
        elif last.stage in ("starting", "loading"):
            allowed, what = max(START_SECONDS, self.limits.silence), "hung while it was started"
        else:
            allowed, what = self.limits.silence, f"hung while {last.stage}"
        if silence > allowed:
            raise DeadError(f"{what}: no progress for {silence:.0f} s")

    def _refuse_memory(self) -> None:
        if self.limits.memory is None or self.pid is None:
            return
        with contextlib.suppress(psutil.Error):
            taken = psutil.Process(self.pid).memory_info().rss
            if taken > self.limits.memory:
                raise DeadError(f"took more memory than it may: {taken / 1e9:.1f} of {self.limits.memory / 1e9:.1f} GB")

    def _ending(self) -> str:
        """How the process ended, in words."""
        assert self.process
        self.process.join(5)
        code = self.process.exitcode
        self.stop()
        if code is None:
            return "lost its connection"
        if code == UNEXPECTED:
            return "ended after an error"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"ended with exit code {code}"
