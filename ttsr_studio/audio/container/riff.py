"""Inside the chunks of a WAV: LISTs, and the numbers that a big-endian one (RIFX) has the other way round."""

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ttsr_studio.audio.container.contents import Chunk, Contents

_FORMAT = "2H2I4HI"
# Where the numbers of a chunk are, for those that RIFX has the other way round; what follows them is text.
_FIELDS = {
    "bext": "338s2IH64s5H", "cart": "680sI4sI4sI4sI4sI4sI4sI4sI4sI", "acid": "I2HIIHHI",
    "labl": "I", "note": "I", "file": "II", "ltxt": "II4s4H",
}  # fmt: skip
_ENDLESS = ("iXML", "axml", "_PMX", "id3 ", "ID3 ", "inst")


def items(data: bytes, order: str = "<") -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start, size) of the chunks in a LIST; raise ValueError at one that is longer than the LIST."""
    at = 4
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if at + 8 + size > len(data):
            raise ValueError("a chunk in it is longer than it")
        yield name, at + 8, size
        at += 8 + size + size % 2


def turn(contents: Contents) -> None:
    """Make the chunks of a RIFX what a RIFF has; those that are not understood stay as they are, with a warning."""
    contents.chunks = [_turned_chunk(chunk, contents) for chunk in contents.chunks]
    if len(contents.fmt) >= struct.calcsize(_FORMAT):
        contents.fmt = _turned(_FORMAT, contents.fmt)


def _turned_chunk(chunk: Chunk, contents: Contents) -> Chunk:
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
    if name in ("cue ", "smpl", "plst"):
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
