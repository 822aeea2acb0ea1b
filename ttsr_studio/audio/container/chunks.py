"""Chunk lists of RIFF, RF64, W64 and AIFF files."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

UNKNOWN_SIZE = 0xFFFFFFFF
"""What a chunk of 32 bits declares that was streamed, or whose size is elsewhere."""

AUDIO_CHUNKS = (b"data", b"SSND")

_RIFF = (12, "<4sI", 0, 2)
_LAYOUTS = {  # bytes before the first chunk; a chunk's header; bytes of it that the chunk's size counts; alignment
    b"RIFF": _RIFF,
    b"RF64": _RIFF,
    b"BW64": _RIFF,
    b"RIFX": (12, ">4sI", 0, 2),
    b"FORM": (12, ">4sI", 0, 2),
    b"riff": (40, "<4s12xq", 24, 8),  # W64
    b"caff": (8, ">4sq", 0, 1),
}
_UNPADDED = (b"fmt ", b"data", b"LIST", b"bext", b"COMM", b"SSND")  # where a writer forgot the pad byte


def chunks(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the content, declared size) of a WAV, RF64, W64, AIFF, CAF or AU, else nothing."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b".snd" and len(head) == 12:
            yield b"data", *struct.unpack(">4xII", head)
        first, header, counted, align = _LAYOUTS.get(head[:4], (0, "", 0, 1))
        width, total, wide = struct.calcsize(header), os.fstat(file.fileno()).st_size, None
        file.seek(first)
        while first and len(found := file.read(width)) == width:
            name, size = struct.unpack(header, found)
            start, size = file.tell(), size - counted
            if name == b"ds64":
                wide = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            elif name == b"data" and size == UNKNOWN_SIZE and wide is not None:
                size = wide
            yield name, start, size
            if not 0 <= size <= total - start or not any(name):  # past the end, or zeros up to it
                return
            file.seek(start + size)
            if file.read(4) not in _UNPADDED:
                size += -size % align
            file.seek(start + size)


def is_chunk_list(path: Path, start: int, end: int) -> bool:
    """Whether a stretch of a RIFF file is chunks from its first byte to its last."""
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            name, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\xff"))
            if not is_name(name):
                return False
            start += 8 + size + size % 2
    return start == end


def is_pipe_size(declared: int, held: int) -> bool:
    """Whether a size is what programs declare that write into a pipe, and the file holds less.

    sox: 0x7FFFF000, whole frames of it, or 0x7F000000 for AIFF; arecord: 2**31; ffmpeg, lame and others: 2**32 - 1, or
    that less the header.
    """
    return held < declared and any(
        abs(declared - size) < 1 << 16 for size in (0x7F000000, 1 << 31, 1 << 32, 1 << 63, 1 << 64)
    )


_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
_LEAST_OUTSIDE = 4096


def beyond_chunks(path: Path) -> int:
    """Bytes of a file behind its last chunk, as far as they may be audio: no zeros, no tags, no crumbs."""
    end, total = 0, path.stat().st_size
    for name, start, size in chunks(path):
        if not is_name(name) or not 0 <= size <= total - start:
            break
        end = start + size
    if not end or total - end < _LEAST_OUTSIDE:
        return 0
    with path.open("rb") as file:
        file.seek(end)
        head = file.read(1 << 16)
    return 0 if head.startswith(_TAGS) or head[1:].startswith(_TAGS) or not any(head) else total - end


def is_name(name: bytes) -> bool:
    """Whether these bytes can be the name of a chunk: printable ASCII."""
    return name.isascii() and name.decode("ascii").isprintable()
