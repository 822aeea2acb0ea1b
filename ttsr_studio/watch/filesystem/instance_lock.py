"""Which services are alive on a root: each holds a lock that the system lets go when its process ends."""

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ttsr_studio.errors import OptionError, shown

MOST_INSTANCES = 32


@contextmanager
def instance_lock(state: Path) -> Iterator[str]:
    """Hold the lock of one instance of the service on a root; gives the owner's name, which is never used again.

    Raises OptionError when there are as many as there may be.
    """
    for number in range(1, MOST_INSTANCES + 1):
        lock = FileLock(state / f"service-{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        owner = f"service-{number}-{secrets.token_hex(4)}"
        (state / f"service-{number}.owner").write_text(owner)
        try:
            yield owner
        finally:
            lock.release()
        return
    raise OptionError(f"{shown(state)}: {MOST_INSTANCES} services run here already")


def instance_of(owner: str) -> str:
    """ "service-1-4fa2..." -> "service-1"."""
    return owner.rpartition("-")[0]


def ended(state: Path, owners: Iterable[str]) -> list[str]:
    """Those of some owners whose process runs no more."""
    return [owner for owner in owners if not is_alive(state, owner)]


def is_alive(state: Path, owner: str) -> bool:
    lock = FileLock(state / f"{instance_of(owner)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with contextlib.suppress(OSError):
            return (state / f"{instance_of(owner)}.owner").read_text() == owner
        return True
    lock.release()
    return False


def living(state: Path) -> list[str]:
    """Owners whose process runs, by number."""
    found = []
    for path in sorted(state.glob("service-*.owner")):
        with contextlib.suppress(OSError):
            owner = path.read_text()
            if is_alive(state, owner):
                found.append(owner)
    return found
