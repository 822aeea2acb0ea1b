"""Chunk lists of RIFF, RF64, W64 and AIFF files."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_STREAMED = 0xFFFFFFFF


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
            elif name == b"data" and size == _STREAMED and wide is not None:
                size = wide
            yield name, start, size
            if not 0 <= size <= total - start or not any(name):  # past the end, or zeros up to it
                return
            file.seek(start + size)
            if file.read(4) not in _UNPADDED:
                size += -size % align
            file.seek(start + size)


def _is_chunk_list(path: Path, start: int, end: int) -> bool:
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            name, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\xff"))
            if not (name.isascii() and name.decode("ascii").isprintable()):
                return False
            start += 8 + size + size % 2
    return start == end


FAMILIES = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF", "FLAC": "FLAC"}


BUDGET = 64 << 20


_OWN = {"fmt ", "fact", "ds64", "PEAK", "COMM", "FVER", "STREAMINFO", "SEEKTABLE"}


_PADDING = {"JUNK", "junk", "PAD ", "FLLR", "PADDING"}


@dataclass(frozen=True)
class Chunk:
    """A chunk by its four characters, or a FLAC block by its type; a VORBIS_COMMENT is without its vendor string."""

    name: str
    data: bytes
    early: bool = True  # before the audio

    @property
    def label(self) -> str:
        """What a report calls it: a LIST by its kind, a FLAC application block by its application."""
        kind = self.data[:4] if self.name in ("LIST", "list", "APPLICATION") else b""
        return f"{self.name.strip()} {kind.decode('ascii') if _is_name(kind) else kind.hex()}".strip()


@dataclass
class Contents:
    """What a file holds besides audio.

    Attributes:
        fmt: the first 40 bytes of a WAV's format.
        left_out: {chunk: why it was not read}.
        room: bytes that may still be read.
    """

    fmt: bytes = b""
    chunks: list[Chunk] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    room: int = BUDGET

    def take(self, file: BinaryIO, name: str, declared: int, early: bool) -> None:
        """Read one chunk from where the file stands, or note why not."""
        held = os.fstat(file.fileno()).st_size - file.tell()
        if name in _OWN | _PADDING:
            return
        if declared > held:
            self.refuse(name, f"its header promises {declared} bytes and {held} are there")
        elif declared > self.room:
            self.refuse(name, f"with it there are more than {BUDGET >> 20} MiB of metadata")
        else:
            self.room -= declared
            self.chunks.append(Chunk(name, file.read(declared), early))

    def refuse(self, name: str, why: str) -> None:
        """Note that a chunk is left out."""
        self.left_out[name.strip()] = why
        self.warnings.append(f"{name.strip()}: left out: {why}")


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable()
