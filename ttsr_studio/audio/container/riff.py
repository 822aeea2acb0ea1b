"""Chunks of WAV, RF64 and AIFF files and metadata blocks of FLAC: read within bounds, and woven into a written file.

A source is never opened for writing. Memory is bounded by the metadata kept (64 MiB at most), never by a size that a
file declares. Chunks of a big-endian WAV (RIFX) are given as a little-endian one has them.
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ttsr_studio.audio.container.chunks import BUDGET, Chunk, Contents, _is_name, chunks
from ttsr_studio.audio.container.flac import _read_blocks

_BLOCK = 1 << 20
_MOST_CHUNKS = 10000
_AUDIO = (b"data", b"SSND")


def read_contents(path: Path, audio_to_end: bool = False, room: int = BUDGET) -> Contents:
    """Read what a WAV, RF64, RIFX, AIFF or FLAC holds besides audio; broken chunks are left out with a warning.

    ``audio_to_end`` says that all after the header of the audio is audio, as in a file whose header gives no length.
    """
    with path.open("rb") as file:
        head = file.read(4)
        contents = Contents(room=room)
        if head in (b"fLaC", b"ID3\x02", b"ID3\x03", b"ID3\x04"):
            _read_blocks(file, contents)
        else:
            _read_chunks(file, path, contents, audio_to_end)
    if head == b"RIFX":
        contents.chunks = [_turned_chunk(chunk, contents) for chunk in contents.chunks]
        contents.fmt = _turned("2H2I4HI", contents.fmt) if len(contents.fmt) >= 24 else contents.fmt
    return contents


def _read_chunks(file: BinaryIO, path: Path, contents: Contents, audio_to_end: bool) -> None:
    early = True
    for name, start, declared in chunks(path):
        if name in _AUDIO:
            early = False
            if audio_to_end:
                return
            continue
        if not any(name):  # zeros to fill the last sector
            return
        if not _is_name(name) or len(contents.chunks) + len(contents.warnings) == _MOST_CHUNKS:
            contents.warnings.append(f"left out from byte {start - 8} on: no chunks, or too many of them")
            return
        file.seek(start)
        if name == b"fmt ":
            contents.fmt = file.read(min(declared, 40))
        contents.take(file, name.decode("ascii"), declared, early)


def items(data: bytes, order: str = "<") -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, size) of the chunks in a LIST; raise ValueError at one that is longer than the LIST."""
    at = 4
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if at + 8 + size > len(data):
            raise ValueError("a chunk in it is longer than it")
        yield name, at + 8, size
        at += 8 + size + size % 2


# Where the numbers of a chunk are, for those that RIFX has the other way round; what follows them is text.
_FIELDS = {
    "bext": "338s2IH64s5H", "cart": "680sI4sI4sI4sI4sI4sI4sI4sI4sI", "acid": "I2HIIHHI",
    "labl": "I", "note": "I", "file": "II", "ltxt": "II4s4H",
}  # fmt: skip
_ENDLESS = ("iXML", "axml", "_PMX", "id3 ", "ID3 ", "inst")


def _turned_chunk(chunk: Chunk, contents: Contents) -> Chunk:
    """A chunk of a RIFX as RIFF has it; one that is not understood stays as it is, with a warning."""
    try:
        return replace(chunk, data=_turned_data(chunk.name, chunk.data))
    except (ValueError, struct.error) as error:
        why = str(error) if isinstance(error, ValueError) else "it ends early"
        contents.warnings.append(f"{chunk.label}: carried as it is, big-endian: {why}")
        return chunk


def _turned_data(name: str, data: bytes) -> bytes:
    if name in ("LIST", "list"):
        out = bytearray(data)
        for item, start, size in items(data, ">"):
            struct.pack_into("<I", out, start - 4, size)
            layout = _FIELDS.get(item.decode("latin-1")) if data[:4] == b"adtl" else None
            if layout:
                out[start : start + size] = _turned(layout, data[start : start + size])
        return bytes(out)
    if name in ("cue ", "smpl"):
        words = np.frombuffer(data, ">u4", len(data) // 4).astype("<u4")
        if name == "cue ":
            words[3::6] = words[3::6].byteswap()  # fccChunk is text
        end = 4 * len(words)
        end = min(end, 36 + 24 * int(words[7])) if name == "smpl" and len(words) > 7 else end
        return words.tobytes()[:end] + data[end:]
    if name in _FIELDS or name in _ENDLESS:
        return _turned(_FIELDS.get(name, ""), data)
    raise ValueError("its layout is not known here")


def _turned(layout: str, data: bytes) -> bytes:
    size = struct.calcsize(f">{layout}")
    return struct.pack(f"<{layout}", *struct.unpack_from(f">{layout}", data)) + data[size:]
