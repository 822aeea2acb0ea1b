"""Events of the file system. They only wake a scan early: what counts is what the scan sees."""

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

from ttsr_studio.watch.event_log import Journal
from ttsr_studio.watch.filesystem.root import RESERVED, Tree

TELLING = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent]
"""Not those of reading, which scans cause themselves."""


class Wake(FileSystemEventHandler):
    """What wakes the service: `scan` when the tree changed, `work` when there may be work; and which files changed."""

    def __init__(self) -> None:
        self.scan, self.work = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self.root = ""

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take an event of the tree."""
        paths = [os.path.relpath(os.fsdecode(path), self.root) for path in (event.src_path, event.dest_path) if path]
        outside = [path for path in paths if path.split(os.sep)[0] not in RESERVED]
        if outside:
            with self._lock:
                self._touched.update(outside)
            self.scan.set()

    def touched(self) -> set[str]:
        """Files that something happened to since the last call."""
        with self._lock:
            touched, self._touched = self._touched, set()
        return touched


@contextmanager
def watch_tree(tree: Tree, wake: Wake, polling: bool, journal: Journal) -> Iterator[None]:
    """Have events of a tree wake the service, unless it polls; where that cannot be had, it polls, too."""
    wake.root = str(tree.root)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="watchdog")  # one a new folder
    observer = None
    if not polling:
        observer = Observer()
        try:
            observer.schedule(wake, str(tree.root), recursive=True, event_filter=TELLING)
            observer.start()
        except OSError as error:
            journal("no events", reason=f"{error.strerror or error}; the tree is looked through by the clock only")
            observer = None
    try:
        yield
    finally:
        if observer:
            observer.stop()
            observer.join(5)
