"""Files as a client gets them: opened once, never through a link, and one stretch of them where it asks for that."""

import os
import re
import stat
from collections.abc import Iterator
from email.utils import quote
from pathlib import Path
from urllib.parse import quote as percent

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from ttsr_studio.watch.web.view import READING

BLOCK = 1 << 18
RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")

KINDS = {".wav": "audio/wav", ".flac": "audio/flac", ".aif": "audio/aiff", ".aiff": "audio/aiff"}


def sent_file(path: Path, wanted: str | None) -> Response | None:
    """A regular file to be kept, None where there is none.

    Args:
        wanted: what the Range header asks for; several stretches at once are answered with the whole file.
    """
    try:
        handle = os.open(path, READING)
    except OSError:
        return None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        return None
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(path.name),
        "Content-Type": KINDS.get(path.suffix.lower(), "application/octet-stream"),
    }
    first, stop, code = stretch_of(wanted, status.st_size)
    if code == 416:
        os.close(handle)
        return PlainTextResponse("There is no such stretch.\n", 416, {"Content-Range": f"bytes */{status.st_size}"})
    if code == 206:
        headers["Content-Range"] = f"bytes {first}-{stop - 1}/{status.st_size}"
    headers["Content-Length"] = str(stop - first)
    return StreamingResponse(blocks(handle, first, stop), code, headers)


def stretch_of(wanted: str | None, size: int) -> tuple[int, int, int]:
    """First byte, the one after the last, and status code of an answer."""
    match = RANGE.fullmatch(wanted.strip()) if wanted else None
    if match is None:
        return 0, size, 200
    if match[3] is not None:
        first, stop = max(0, size - int(match[3])), size
    else:
        first, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    return (first, stop, 206) if first < stop else (0, 0, 416)


def blocks(handle: int, first: int, stop: int) -> Iterator[bytes]:
    """Bytes of an open file, which is closed at the end."""
    with open(handle, "rb") as file:
        file.seek(first)
        while first < stop and (block := file.read(min(BLOCK, stop - first))):
            first += len(block)
            yield block


def disposition(name: str) -> str:
    """How a file is to be called where it is kept, for old and new readers of the header."""
    plain = quote(re.sub(r"[^ -~]|[\\\"%]", "_", name))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{percent(os.fsencode(name), safe='')}"
