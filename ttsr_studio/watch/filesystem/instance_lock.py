"""Which services are alive on a root: each holds a lock that the system lets go when its process ends."""

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ttsr_studio.errors import OptionError, shown

SLOTS = 32


@contextmanager
def take_slot(state: Path) -> Iterator[str]:
    """Hold a place among the services of a root; gives the owner's name, which is never used again.

    Raises OptionError when all places are taken.
    """
    for number in range(1, SLOTS + 1):
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
    raise OptionError(f"{shown(state)}: {SLOTS} services run here already")


def slot_of(owner: str) -> str:
    """ "service-1-4fa2..." -> "service-1"."""
    return owner.rpartition("-")[0]


def ended(state: Path, owners: Iterable[str]) -> list[str]:
    """Those of some owners whose process runs no more."""
    return [owner for owner in owners if not is_alive(state, owner)]


def is_alive(state: Path, owner: str) -> bool:
    lock = FileLock(state / f"{slot_of(owner)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with contextlib.suppress(OSError):
            return (state / f"{slot_of(owner)}.owner").read_text() == owner
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
