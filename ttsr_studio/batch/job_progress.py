"""How far a job is, for whoever waits for it."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ttsr_studio.batch.job_file import JobFile
from ttsr_studio.batch.job_schema import VERSION
from ttsr_studio.batch.outcome import CancelledError
from ttsr_studio.errors import OutputError
from ttsr_studio.rendering.inference.progress import Event
from ttsr_studio.storage.atomic import write_atomic

PROGRESS_SECONDS = 0.25


class ProgressFile:
    """Says in a file how far a job is, and looks for the wish to cancel it.

    Args:
        files: how many there are.
        told: is told the same, too.
    """

    def __init__(self, job: JobFile, files: int, told: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.job, self.files, self.number, self.source = job, files, 0, ""
        self.told, self.last, self.stage = told, 0.0, ""

    def begin(self, number: int, source: Path) -> None:
        """Turn to the next file; numbers begin at 1."""
        self.number, self.source = number, str(source)
        self(Event("starting", 0, 1))

    def __call__(self, event: Event) -> None:
        """Take a step of a render. Raises CancelledError when the job was called off."""
        now = time.monotonic()
        if event.stage == self.stage and now - self.last < PROGRESS_SECONDS:
            return
        self.last, self.stage = now, event.stage
        if self.job.cancel and self.job.cancel.exists():
            raise CancelledError("cancelled")
        self.write(event.stage, event.done / event.total if event.total else 0.0, event.fraction)

    def write(self, stage: str, share: float, of_file: float) -> None:
        """Write the progress file, where one is wanted. It is no reason to stop when that fails."""
        data = {
            "progress_version": VERSION,
            "files": self.files,
            "file": self.number,
            "input": self.source,
            "stage": stage,
            "share": round(min(1.0, share), 4),
            "of_all": round(min(1.0, (max(0, self.number - 1) + of_file) / max(1, self.files)), 4),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        if self.told:
            self.told(data)
        if self.job.progress:
            with contextlib.suppress(OutputError):
                write_atomic(self.job.progress, (json.dumps(data) + "\n").encode())
