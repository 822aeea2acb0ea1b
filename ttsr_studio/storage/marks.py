"""Hidden files and folders that say that a process is at work in a folder; those of processes that ended are stale."""

import contextlib
import os
import re
import secrets
import shutil
import socket
from pathlib import Path

import psutil

STALE_SECONDS = 600.0
"""After which what another machine does not touch any more is stale: its processes cannot be asked for."""

OURS = re.compile(r"\.{1,2}ttsr-farm-(?:(.+)-(\d+)-)?[0-9a-f]{16}(?:\..*)?")


def mark_name() -> str:
    """A name that is used once, from which shows which process it is of."""
    return f".ttsr-farm-{this_host()}-{os.getpid()}-{secrets.token_hex(8)}"


def this_host() -> str:
    """Within which numbers of processes mean the same: a machine, or a container on one."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "_", socket.gethostname())[:40]
    try:
        return f"{host}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return host


def clear_stale(folder: Path) -> None:
    """Remove what processes that were killed left in a folder, as far as that can be."""
    with contextlib.suppress(OSError):
        found = [path for path in folder.iterdir() if OURS.fullmatch(path.name)]
        newest = max((path.lstat().st_mtime for path in found), default=0.0)
        for path in found:
            if is_stale(path, newest):
                remove_mark(path)


def is_stale(path: Path, newest: float) -> bool:
    """Whether the process that a mark is of has ended.

    Args:
        newest: time of the folder's newest mark, by the clock of its file system.
    """
    named = OURS.fullmatch(path.name)
    if named and named[1] == this_host() and not psutil.pid_exists(int(named[2])):
        return True
    return newest - path.lstat().st_mtime > STALE_SECONDS


def remove_mark(path: Path) -> None:
    """Remove a mark, which may be a folder; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
