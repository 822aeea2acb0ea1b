"""What a file holds besides audio: chunks of RIFF and AIFF, blocks of FLAC, read within a budget."""

import os
from dataclasses import dataclass, field
from typing import BinaryIO

from ttsr_studio.audio.container.chunks import is_name

BUDGET = 64 << 20
"""Bytes of metadata that are read of a file."""

OF_THE_AUDIO = {"fmt ", "fact", "ds64", "PEAK", "COMM", "FVER", "STREAMINFO", "SEEKTABLE"}
"""Chunks and blocks that describe the audio: whoever writes the file makes them anew."""

PADDING = {"JUNK", "junk", "PAD ", "FLLR", "PADDING"}


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
        return f"{self.name.strip()} {kind.decode('ascii') if is_name(kind) else kind.hex()}".strip()


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
        if name in OF_THE_AUDIO | PADDING:
            return
        if not 0 <= declared <= held:
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
