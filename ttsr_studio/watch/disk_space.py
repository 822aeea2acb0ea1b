"""Room on the disks that renders need."""

import shutil
import tempfile
from pathlib import Path

from ttsr_studio.audio.formats import KEPT, VIDEO_SUFFIXES
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.outcome import EndedError, Ending, Outcome
from ttsr_studio.watch.policy import NO_DISK_SPACE
from ttsr_studio.watch.queue.store import JobRecord

ROOM_LOSSY, ROOM = 40, 16
"""Bytes that a render may need, on disk and for a while, for every byte of its source."""

MOST_SOUND = 500_000_000
"""Bytes of lossy audio that a video is taken to have at the most: four hours at 256 kbit/s."""


def shortage(root: Root, keep_free: int) -> str | None:
    """Why the disk is too full to begin anything, None when it is not. Raises OSError.

    Args:
        keep_free: bytes that stay free.
    """
    free = shutil.disk_usage(root.path).free
    if free >= keep_free:
        return None
    return f"waits for disk space: {free / 1e6:.0f} MB are free, {keep_free / 1e6:.0f} are kept free"


def room_for(path: Path, size: int) -> int:
    """Bytes that the render of a source of so many may need."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:  # copied and put in order; how much of it is sound is not known
        return 3 * size + ROOM_LOSSY * min(size, MOST_SOUND)
    return size * (ROOM if suffix in KEPT else ROOM_LOSSY)


def refuse_without_disk(root: Root, claim: JobRecord) -> None:
    """End a job whose render might not fit on the disks that it needs. Raises EndedError."""
    needed = room_for(Path(claim.path), claim.size)
    for folder, where in ((root.path, "here"), (Path(tempfile.gettempdir()), "for temporary files")):
        free = shutil.disk_usage(folder).free
        if free < needed:
            room = f"{free / 1e6:.0f} MB are free {where}, up to {needed / 1e6:.0f} may be needed"
            raise EndedError(Outcome(Ending.RETRY, f"waits for disk space: {room}", backoff=NO_DISK_SPACE))
