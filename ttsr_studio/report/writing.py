"""A hidden mark beside an output while a render is written: what is left of one that was killed is known by it.

The mark has the checksum of every audio file before that gets its name, and goes when all that belongs to the render is
there. Audio without a whole report is so a render's own unfinished work where the mark knows it, and somebody else's
where it does not.
"""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttsr_studio.storage.atomic import fit_name, sync_folder, write_atomic
from ttsr_studio.storage.checksum import sha256

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading a file of this tool raises that is none."""


def mark_of(target: Path) -> Path:
    """Where the mark of a render is while that is written."""
    return target.with_name(fit_name(f".{target.name}.ttsr-writing"))


def begin_writing(target: Path) -> None:
    """Mark that a render is written. Temporary files that a process which ended left of it go. Raises OutputError."""
    known = {name: sums for name, sums in files_in(mark_of(target)).items() if target.with_name(name).exists()}
    if known or mark_of(target).exists():
        clear_temporary(target)
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


def unfinished_files(target: Path) -> list[Path]:
    """Audio files that stand as they were written by a render of this name that did not get to its end."""
    found = {target.with_name(name): sums for name, sums in files_in(mark_of(target)).items()}
    return [path for path, sums in found.items() if path.is_file() and sha256(path) in sums]


def files_in(mark: Path) -> dict[str, list[str]]:
    """Names and checksums of a mark; none where there is no such mark."""
    try:
        return {Path(name).name: [str(each) for each in sums] for name, sums in mark_content(mark)["files"].items()}
    except UNREADABLE:
        return {}


def write_mark(target: Path, files: dict[str, list[str]]) -> None:
    """Write a mark of this process. Raises OutputError."""
    from ttsr_studio.storage.marks import this_host  # with psutil, which no help of a command waits for

    told = {"host": this_host(), "process": os.getpid(), "files": files}
    write_atomic(mark_of(target), json.dumps(told).encode())


def mark_content(mark: Path) -> dict[str, Any]:
    """What a mark holds. Raises what is in `UNREADABLE`."""
    found: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
    return found


def clear_temporary(target: Path) -> None:
    """Remove temporary files of a render whose process, of this machine, has ended."""
    import psutil

    from ttsr_studio.storage.marks import this_host

    stem, name = re.escape(target.stem), re.escape(target.name)
    once = r"\.[0-9a-f]{8}\.partial\.[A-Za-z0-9-]+"
    ours = re.compile(rf"\.({stem}(_top\d+|_control|\.ttsr)?|\.{name}){once}")
    with suppress(*UNREADABLE):
        told = mark_content(mark_of(target))
        if told["host"] == this_host() and not psutil.pid_exists(told["process"]):
            for path in target.parent.iterdir():
                if ours.fullmatch(path.name):
                    path.unlink(missing_ok=True)
