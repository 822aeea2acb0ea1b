"""Whether a service runs on a root and looks through it, for HEALTHCHECK and monitoring."""

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ttsr_studio.errors import OptionError, OutputError, shown
from ttsr_studio.storage.atomic import write_atomic
from ttsr_studio.watch.filesystem.instance_lock import instance_of, living
from ttsr_studio.watch.filesystem.root import Root, find_root
from ttsr_studio.watch.queue.clock import Clock
from ttsr_studio.watch.queue.store import DamagedError, Store

SLACK_SECONDS = 120.0
"""A look through a large tree may take so long, and so may what else comes up between two of them."""

BEAT_SECONDS = 5.0


@dataclass(frozen=True)
class LastLook:
    """When a service looked through its root last, by the clock that only runs forward, and how often it means to."""

    owner: str
    boot: str
    steady: float
    poll: float


class Heartbeat:
    """Writes down that a service has looked through its root.

    Args:
        owner: name of this run of the service.
        poll: seconds between two looks.
    """

    def __init__(self, root: Root, owner: str, poll: float, clock: Clock) -> None:
        self.path, self.owner, self.poll, self.clock = look_file(root, owner), owner, poll, clock
        self.due = -1.0

    def beat(self) -> None:
        """Say that the root was looked through just now; a disk that is full is told of elsewhere."""
        now = self.clock.now()
        if now.steady < self.due:
            return
        look = LastLook(self.owner, now.boot, now.steady, self.poll)
        with suppress(OutputError):
            write_atomic(self.path, json.dumps(asdict(look)).encode())
            self.due = now.steady + BEAT_SECONDS


def look_file(root: Root, owner: str) -> Path:
    return root.state / f"{instance_of(owner)}.look"


def health(path: Path, clock: Clock) -> tuple[bool, str]:
    """Whether a service runs on a root and looks through it, and one line that says so, or what is wrong."""
    try:
        root = find_root(path)
        seconds = [age for owner in living(root.state) if (age := seconds_since_look(root, owner, clock)) is not None]
        running = len(living(root.state))
        if not root.available:
            return False, f"{shown(root.path)}: the root is away; is its disk or share mounted?"
        if not running:
            return False, f"{shown(root.path)}: no service runs here"
        if not seconds:
            return False, f"{shown(root.path)}: a service runs, but has not looked through the folder in time"
        return True, f"{running} running, looked {min(seconds):.0f} s ago; {queue_line(root)}"
    except (OptionError, DamagedError, OSError, sqlite3.Error) as error:
        return False, str(error)


def seconds_since_look(root: Root, owner: str, clock: Clock) -> float | None:
    """How long ago a service looked through its root; None when it did not, or not in time."""
    try:
        look = LastLook(**json.loads(look_file(root, owner).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    now = clock.now()
    age = now.steady - look.steady
    return age if (look.owner, look.boot) == (owner, now.boot) and age < 2 * look.poll + SLACK_SECONDS else None


def queue_line(root: Root) -> str:
    """What the database says in a few words. Raises DamagedError, sqlite3.Error or OSError where it cannot."""
    with closing(Store(root.database, view=True)) as store:
        words = [f"{count} {state}" for state, count in store.counts().items()]
        told = [f"{name}: {store.fact(name)}" for name in ("paused", "waiting") if store.fact(name)]
    return "; ".join([", ".join(words), *told])
