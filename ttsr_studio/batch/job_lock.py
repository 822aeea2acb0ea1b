"""One process does a job at a time, on whatever machine of those that see the file."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ttsr_studio.errors import TtsrError, shown

PATIENCE_SECONDS = 2.0
"""Somebody who only looks whether a job is being done holds it for a moment."""


class BusyError(TtsrError):
    """Another process does this job."""


@contextlib.contextmanager
def held(job: Path) -> Iterator[None]:
    """Hold a job; what ends the process lets it go. Raises BusyError.

    Where the file system has no locks, nothing is held. The file itself is locked, so that nothing is left beside it.
    """
    handle = open_job(job)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while handle is not None and not locked(handle, shared=False):
            if time.monotonic() > end:
                raise BusyError(f"{shown(job)}: another process is doing this job; it is left to that one")
            time.sleep(0.05)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_held(job: Path) -> bool:
    """Whether a process holds a job now."""
    handle = open_job(job, write=False)
    if handle is None:
        return False
    try:
        return not locked(handle, shared=True)
    finally:
        os.close(handle)


def open_job(job: Path, write: bool = True) -> int | None:
    """A file to be locked, for writing where that is allowed, since NFS wants it so; None where it cannot be."""
    if sys.platform == "win32" or not job.is_file():  # there a lock would keep others from reading
        return None
    for flags in (os.O_RDWR, os.O_RDONLY) if write else (os.O_RDONLY,):
        with contextlib.suppress(OSError):
            return os.open(job, flags)
    return None


def locked(handle: int, shared: bool) -> bool:
    """Take a lock; False where somebody else has it, True as well where there are no locks."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
