"""What services that ended, and damaged databases, leave behind."""

import contextlib
import os
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from ttsr_studio.storage.marks import clear_stale
from ttsr_studio.watch.context import ServiceContext
from ttsr_studio.watch.filesystem.instance_lock import ended, living
from ttsr_studio.watch.filesystem.root import is_ignored
from ttsr_studio.watch.publish import Publisher
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import JobState
from ttsr_studio.watch.queue.store import DamagedError


def open_sound_queue(context: ServiceContext) -> Queue:
    """The queue; made anew when its database is damaged, which the folders allow, and the damaged one is kept.

    Raises DamagedError for one that others use.
    """
    root = context.root
    with FileLock(root.state / "start.lock"):
        try:
            queue = context.open_queue()
            queue.check()
            return queue
        except DamagedError as error:
            if [owner for owner in living(root.state) if owner != context.owner]:
                raise DamagedError(f"{error}; stop the other services on this root, then start one") from error
            kept = set_aside(root.database)
            context.log("database damaged", reason=root.without_root(str(error)), kept=kept.name)
            return context.open_queue()


def set_aside(database: Path) -> Path:
    """Rename a damaged database and what belongs to it."""
    when = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    kept = database.with_name(f"{database.name}.damaged-{when}")
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            database.with_name(database.name + ending).rename(kept.with_name(kept.name + ending))
    return kept


def tidy_up(context: ServiceContext, queue: Queue) -> None:
    """Take back what ended services left behind, and move the sources that still have to be."""
    owners = {row.owner for row in queue.jobs([JobState.RUNNING]) if row.owner}
    reclaimed = queue.reclaim(ended(context.root.state, owners - {context.owner}))
    if reclaimed:
        context.log("taken back", jobs=reclaimed)
        context.wake.work.set()
    for folder, names, _ in os.walk(context.root.path):
        names[:] = [name for name in names if not is_ignored(name)]
        clear_stale(Path(folder))  # of renders from a command line
    publisher = Publisher(context.root)
    publisher.sweep({row.token for row in queue.jobs([JobState.RUNNING]) if row.token})
    for row in queue.unmoved():
        with contextlib.suppress(OSError):
            publisher.move(row)
            queue.moved(row.id)
