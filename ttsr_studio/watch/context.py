"""What the parts of a running service share."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ttsr_studio.rendering.tasks import RenderWorker
from ttsr_studio.watch.event_log import EventLog
from ttsr_studio.watch.filesystem.events import Wake
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.folder_config import FolderRules
from ttsr_studio.watch.policy import StopRequest, WatchPolicy
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.store import DamagedError
from ttsr_studio.watch.web.options import PageOptions

_T = TypeVar("_T")

TROUBLE_SECONDS = 5.0


@dataclass(frozen=True)
class ServiceOptions:
    """How a service runs.

    Attributes:
        poll: seconds between two scans of the whole tree, by which alone it goes then; None for one every minute and
            events between them, or on a network share, which has none, one every 10 seconds.
        settle: seconds without a change after which a file is complete.
        once: end when everything is done.
        jobs: workers.
        grace: seconds that jobs at hand get when the service is stopped.
        lease: seconds for which a job is taken.
        workers: makes what renders, given a file for what that prints; None for processes of this machine.
        page: how the page is served; None for no page.
    """

    poll: float | None = None
    settle: float = 5.0
    once: bool = False
    jobs: int = 1
    grace: float = 30.0
    lease: float = 60.0
    page: PageOptions | None = None
    workers: Callable[[Path], RenderWorker] | None = None
    policy: WatchPolicy = field(default_factory=WatchPolicy)


@dataclass(frozen=True)
class ServiceContext:
    """What the parts of a running service share.

    Attributes:
        owner: name of this run of the service.
        saying: held by the thread that says why all of them wait, so that it is said once.
    """

    owner: str
    root: Root
    rules: FolderRules
    options: ServiceOptions
    log: EventLog
    stop: StopRequest
    wake: Wake
    clock: Clock
    saying: threading.Lock = field(default_factory=threading.Lock)

    def open_queue(self) -> Queue:
        """The queue, for one thread."""
        return Queue(self.root.database, self.clock, self.options.lease)

    def patiently(self, step: Callable[[], _T]) -> _T | None:
        """Do a step; where a disk or the database cannot be used at the moment, say so and wait a while instead.

        Raises DamagedError where it is the database that is wrong.
        """
        try:
            return step()
        except (sqlite3.OperationalError, OSError) as error:
            self.log("trouble", reason=self.root.without_root(str(error)))
            self.stop.asked.wait(TROUBLE_SECONDS)
        except sqlite3.DatabaseError as error:
            raise DamagedError(f"{self.root.database}: {error}; start again, which makes a new one") from error
        return None
