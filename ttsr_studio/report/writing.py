"""A hidden mark beside an output while a render is written: what is left of one that was killed is known by it.

The mark has the checksum of every audio file before that gets its name, and goes when all that belongs to the render is
there. Audio without a whole report is so a render's own unfinished work where the mark knows it, and somebody else's
where it does not.
"""

import json
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttsr_studio.errors import OutputError
from ttsr_studio.storage.atomic import fit_name, sync_folder, write_atomic
from ttsr_studio.storage.checksum import sha256

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading a file of this tool raises that is none."""
ONCE = r"\.[0-9a-f]{8}\.partial\."
TEMPORARY = re.compile(rf"{ONCE}|\.ttsr-writing$")
SAME_SECONDS = 1.0
"""By which the start of one process may differ, as it is told at two times."""
HALF_WRITTEN_SECONDS = 600.0
"""After which a mark that was never whole is nobody's."""


def mark_of(target: Path) -> Path:
    """Where the mark of a render is while that is written."""
    return target.with_name(fit_name(f".{target.name}.ttsr-writing"))


def begin_writing(target: Path) -> None:
    """Mark that a render is written. Temporary files that a process which ended left of it go. Raises OutputError."""
    known = {name: sums for name, sums in files_in(mark_of(target)).items() if target.with_name(name).exists()}
    clear_temporary(target, hidden_names(target.parent))
    write_mark(target, known)


def note_audio(target: Path, audio: Path, checksum: str) -> None:
    """Mark that a file of a render is about to get its name. Raises OutputError, OSError."""
    known = files_in(mark_of(target))
    write_mark(target, known | {audio.name: [*known.get(audio.name, ()), checksum]})
    sync_folder(target.parent)


def end_writing(target: Path) -> None:
    """Take the mark away: what is there is whole, or is known by its report."""
    with suppress(OSError):
        sync_folder(target.parent)
        mark_of(target).unlink(missing_ok=True)


def leave_writing(target: Path) -> None:
    """Mark that nobody writes a render any more, though not all of it is there."""
    with suppress(OutputError):
        write_mark(target, files_in(mark_of(target)), alive=False)


def unfinished_files(target: Path) -> list[Path]:
    """Audio files that stand as they were written by a render of this name that did not get to its end.

    What another process of this machine writes just now is none.
    """
    if is_at_work(mark_of(target)):
        return []
    found = {target.with_name(name): sums for name, sums in files_in(mark_of(target)).items()}
    return [path for path, sums in found.items() if path.is_file() and sha256(path) in sums]


def files_in(mark: Path) -> dict[str, list[str]]:
    """Names and checksums of a mark; none where there is no such mark."""
    try:
        return {Path(name).name: [str(each) for each in sums] for name, sums in mark_content(mark)["files"].items()}
    except UNREADABLE:
        return {}


def write_mark(target: Path, files: dict[str, list[str]], alive: bool = True) -> None:
    """Write a mark of this process, or of none that is at work. Raises OutputError."""
    from ttsr_studio.storage.marks import this_host  # with psutil, which no help of a command waits for

    process = os.getpid() if alive else None
    told = {"host": this_host(), "process": process, "started": process and started(process), "files": files}
    write_atomic(mark_of(target), json.dumps(told).encode())


def started(process: int) -> float | None:
    """When a process of this machine began, as seconds of the system's clock; None where there is no such process."""
    import psutil

    try:
        return float(psutil.Process(process).create_time())
    except psutil.Error:
        return None


def mark_content(mark: Path) -> dict[str, Any]:
    """What a mark holds. Raises what is in `UNREADABLE`."""
    found: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
    return found


def writer_lives(mark: Path) -> bool | None:
    """Whether the process that a mark is of is at work; None where that cannot be known here. Raises `UNREADABLE`."""
    from ttsr_studio.storage.marks import this_host

    told = mark_content(mark)
    if told["host"] != this_host():
        return None
    if told["process"] is None:
        return False
    now, then = started(int(told["process"])), told.get("started")
    return now is not None and (then is None or abs(now - then) < SAME_SECONDS)


def is_at_work(mark: Path) -> bool:
    """Whether another process of this machine writes a render just now."""
    try:
        return bool(writer_lives(mark)) and mark_content(mark)["process"] != os.getpid()
    except UNREADABLE:
        return False


def is_dead(mark: Path) -> bool:
    """Whether a mark, or what was to become one, is of a process of this machine that has ended."""
    try:
        return writer_lives(mark) is False
    except ValueError:  # killed while it wrote the mark
        with suppress(OSError):
            return time.time() - mark.stat().st_mtime > HALF_WRITTEN_SECONDS
    except UNREADABLE:
        pass
    return False


def hidden_names(folder: Path) -> list[str]:
    """Names in a folder that temporary files and marks may have."""
    try:
        return [name for name in os.listdir(folder) if name.startswith(".") and TEMPORARY.search(name)]
    except OSError:
        return []


def clear_temporary(target: Path, names: Iterable[str]) -> bool:
    """Remove temporary files of a render whose process, of this machine, has ended; returns whether its mark is so.

    Args:
        names: of what lies beside it, as `hidden_names` finds them.
    """
    stem, name, mark = re.escape(target.stem), re.escape(target.name), re.escape(mark_of(target).stem)
    ours = re.compile(rf"\.({stem}(_top\d+|_control|\.ttsr)?|{name}){ONCE}[A-Za-z0-9-]+")
    marks = re.compile(rf"\.{mark}{ONCE}ttsr-writing")
    dead = is_dead(mark_of(target))
    for each in names:
        path = target.with_name(each)
        if (dead and ours.fullmatch(each)) or (marks.fullmatch(each) and is_dead(path)):
            with suppress(OSError):
                path.unlink()
    return dead
