"""On which terms jobs are done: what may be spent, when to stop, and how a job may come to nothing."""

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
from ttsr_studio.watch.workers.supervisor import Limits

MOST_DEATHS = 3
"""Workers that may die of one file: as asked, with smaller batches, with the smallest (and on the CPU)."""

FIRST_WAIT, LONGEST_WAIT = 5.0, 3600.0
SETTINGS_WAIT = 600.0
"""Seconds before something that is around a file is tried again: three times longer every time, up to an hour; with
settings that are wrong, up to ten minutes."""


@dataclass(frozen=True)
class Terms:
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


class Stop:
    """How the service is asked to end: first no further jobs, then by a time, then at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.at: float | None = None

    def ask(self, grace: float) -> None:
        """End when the jobs at hand are done, or in so many seconds."""
        self.asked.set()
        self.at = time.monotonic() + grace

    @property
    def now(self) -> bool:
        return self.at is not None and time.monotonic() >= self.at


class RetryError(Exception):
    """A job cannot be done now, and may be later."""

    def __init__(self, reason: str, longest: float = LONGEST_WAIT, first: float = FIRST_WAIT) -> None:
        super().__init__(reason)
        self.longest, self.first = longest, first


class FailedError(Exception):
    """A job cannot be done; the text is the reason."""


class LostError(Exception):
    """The job is somebody else's by now, or cancelled."""


def ease(options: RenderOptions, deaths: int, cpu: bool) -> RenderOptions:
    """Options that ask less of the machine, the more workers have died of a job."""
    if deaths == 0:
        return options
    if deaths + 1 < MOST_DEATHS:
        return replace(options, batch=max(1, options.batch // 4))
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
