"""Room on the disks that renders need."""

import shutil
import tempfile
from pathlib import Path

from ttsr_studio.audio.formats import KEPT
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.outcome import EndedError, Ending, Outcome
from ttsr_studio.watch.policy import NO_DISK_SPACE
from ttsr_studio.watch.queue.store import JobRecord

ROOM_LOSSY, ROOM = 40, 16
"""Bytes that a render may need, on disk and for a while, for every byte of its source."""


def shortage(root: Root, keep_free: int) -> str | None:
    """Why the disk is too full to begin anything, None when it is not. Raises OSError.

    Args:
        keep_free: bytes that stay free.
    """
    free = shutil.disk_usage(root.path).free
    if free >= keep_free:
        return None
    return f"waits for disk space: {free / 1e6:.0f} MB are free, {keep_free / 1e6:.0f} are kept free"


def refuse_without_room(root: Root, claim: JobRecord) -> None:
    """End a job whose render might not fit on the disks that it needs. Raises EndedError."""
    factor = ROOM if Path(claim.path).suffix.lower() in KEPT else ROOM_LOSSY
    needed = claim.size * factor
    for folder, where in ((root.path, "here"), (Path(tempfile.gettempdir()), "for temporary files")):
        free = shutil.disk_usage(folder).free
        if free < needed:
            room = f"{free / 1e6:.0f} MB are free {where}, up to {needed / 1e6:.0f} may be needed"
            raise EndedError(Outcome(Ending.RETRY, f"waits for disk space: {room}", backoff=NO_DISK_SPACE))
