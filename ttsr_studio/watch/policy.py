"""The policy by which jobs are done: what may be spent, and how patient the service is."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ttsr_studio.options import RenderOptions
from ttsr_studio.rendering.tasks import Limits

MOST_CRASHES = 3
"""Workers that may crash over one file: as asked, with smaller batches, with the smallest (and on the CPU)."""

EASED_BATCH = 8
"""Rows at once after a first crash, where nothing else was asked for."""


@dataclass(frozen=True)
class Backoff:
    """Seconds before something is tried again: three times longer every time, up to the longest."""

    first: float = 5.0
    longest: float = 3600.0

    def wait(self, tries: int) -> float:
        return min(self.longest, self.first * 3.0**tries)


AROUND_A_FILE = Backoff()
WRONG_SETTINGS = Backoff(longest=600.0)
NO_DISK_SPACE = Backoff(first=60.0)


@dataclass(frozen=True)
class WatchPolicy:
    """How jobs are done.

    Attributes:
        cpu: whether a render may go to the CPU when the device fails.
        keep_free: bytes of the disk that stay free.
        notify: program and arguments that are run with the path of every report or note; none when empty.
        limits: of every worker.
        device: that renders run on.
    """

    cpu: bool = True
    keep_free: int = 500_000_000
    notify: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    device: str = "auto"


class StopRequest:
    """How the service is asked to end: first no further jobs, then by a time, then at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.deadline: float | None = None

    def ask(self, grace: float) -> None:
        """End when the jobs at hand are done, or in so many seconds."""
        self.asked.set()
        self.deadline = time.monotonic() + grace

    @property
    def overdue(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline


def ease(options: RenderOptions, crashes: int, cpu: bool) -> RenderOptions:
    """Options that ask less of the machine, the more workers have crashed over a job."""
    if crashes == 0:
        return options
    if crashes + 1 < MOST_CRASHES:
        return replace(options, batch=max(1, options.batch // 4) if options.batch else EASED_BATCH)
    return replace(options, batch=1, device="cpu" if cpu else options.device)


def fingerprint(options: RenderOptions, beside: Path) -> str:
    """Checksum of everything that a render depends on besides the content of its source.

    Where it runs and in what batches is left out.
    """
    values: Mapping[str, Any] = {
        key: value for key, value in options.to_json().items() if key not in ("device", "batch", "low_vram")
    }
    known = b""
    with contextlib.suppress(FileNotFoundError):
        known = beside.read_bytes()
    data = json.dumps(values, sort_keys=True, default=str).encode() + b"\0" + known
    return hashlib.sha256(data).hexdigest()
