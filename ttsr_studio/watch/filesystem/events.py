"""Events of the file system. They only wake a scan early: what counts is what the scan sees."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from ttsr_studio.watch.event_log import EventLog
from ttsr_studio.watch.filesystem.root import RESERVED, Root

WAKING_EVENTS = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent]
"""Not those of reading, which scans cause themselves."""


class Wake(FileSystemEventHandler):
    """What wakes the service: `scan` when files changed, `work` when there may be work; and which files changed."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.scan, self.work = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._touched: set[str] = set()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take an event of the file system."""
        changed = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        paths = [os.path.relpath(path, self.root.path) for path in changed]
        outside = [path for path in paths if path.split(os.sep)[0] not in RESERVED]
        if outside:
            with self._lock:
                self._touched.update(outside)
            self.scan.set()

    def everyone(self) -> None:
        """Wake whoever waits."""
        self.scan.set()
        self.work.set()

    def touched(self) -> set[str]:
        """Files that something happened to since the last call."""
        with self._lock:
            touched, self._touched = self._touched, set()
        return touched


@contextmanager
def watch_events(wake: Wake, log: EventLog) -> Iterator[None]:
    """Have events of a root wake the service while entered; where there are none, that is logged and it polls."""
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="watchdog")  # one a new folder
    logging.getLogger("watchdog").addHandler(logging.NullHandler())  # or Python prints what it says of its own end
    observer = Observer()
    try:
        observer.schedule(wake, str(wake.root.path), recursive=True, event_filter=WAKING_EVENTS)
        observer.start()
    except OSError as error:
        log("no events", reason=f"{error.strerror or error}; the tree is looked through by the clock only")
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        observer.join(5)
