"""Files that are written whole or not at all."""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from ttsr_studio.errors import OutputError, TakenError, shown
from ttsr_studio.storage.names import ON_WINDOWS


def fit_name(name: str, limit: int = 255) -> str:
    """Return ``name``, its stem shortened and marked with a hash when it is longer than ``limit`` bytes."""
    data = os.fsencode(name)
    if len(data) <= limit:
        return name
    suffix = os.path.splitext(data)[1]
    suffix = suffix if len(suffix) <= 16 else b""
    tail = b"~" + hashlib.sha256(data).hexdigest()[:8].encode() + suffix
    end = limit - len(tail)
    while end and data[end] & 0xC0 == 0x80:  # not within a UTF-8 character
        end -= 1
    return os.fsdecode(data[:end] + tail)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network shares cannot sync a folder
            raise
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make sure that what was written to a file outlives a power cut. Raises OSError."""
    _sync(path, os.O_RDWR)


def sync_folder(folder: Path) -> None:
    """Make sure that names given in a folder outlive a power cut. Raises OSError."""
    if os.name != "nt":  # which cannot open folders
        _sync(folder, os.O_RDONLY)


def hidden(target: Path) -> Path:
    """A name beside a file that is used once, starts with a dot and ends as the file does."""
    tail = f".{secrets.token_hex(4)}.partial{target.suffix}"
    return target.with_name("." + fit_name(target.stem, 254 - len(os.fsencode(tail))) + tail)


def publish(temporary: Path, target: Path, replace: bool) -> None:
    """Give a finished file its name. Raises TakenError where the name is taken and is not to be replaced, OSError."""
    taken = TakenError(
        f"{shown(target)}: something else has made it meanwhile; it is left as it is; render again to another name"
    )
    if not replace:
        try:
            os.link(temporary, target)  # unlike a rename, this never takes a name from another file
            return
        except FileExistsError:
            raise taken from None
        except OSError:  # a file system without links
            if target.exists():
                raise taken from None
    rename(temporary, target)


def rename(
    temporary: Path, target: Path, windows: bool = ON_WINDOWS, pause: Callable[[float], None] = time.sleep
) -> None:
    """Give a file another name, in the place of what has it. Raises OSError.

    On Windows a name cannot be taken while a program has the file open, as virus scanners have for a moment: it is
    tried again for two seconds.
    """
    for seconds in (0.05, 0.15, 0.3, 0.5, 1.0) if windows else ():
        try:
            temporary.replace(target)
            return
        except PermissionError:
            pause(seconds)
    temporary.replace(target)


def write_atomic(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, sync, and rename over `path`. Raises OutputError."""
    temporary = hidden(path)
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {shown(path)}: {error.strerror}; check the folder and its free space"
        ) from error
