"""Metadata blocks of FLAC files."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from ttsr_studio.audio.container.chunks import UNKNOWN_SIZE, is_name
from ttsr_studio.audio.container.contents import BUDGET, OF_THE_AUDIO, PADDING, Chunk, Contents

BLOCK_TYPES = ("STREAMINFO", "PADDING", "APPLICATION", "SEEKTABLE", "VORBIS_COMMENT", "CUESHEET", "PICTURE")
"""Names of the types by number (RFC 9639, section 8.1)."""


def id3_tag(file: BinaryIO) -> bytes:
    """The ID3v2 tag at a file's start, b"" where there is none or where it is longer than the file or 64 MiB."""
    file.seek(0)
    head = file.read(10)
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    tag = head + file.read(min(size, BUDGET)) if head[:3] == b"ID3" and len(head) == 10 else b""
    return tag if len(tag) == 10 + size else b""


def metadata_blocks(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield (type, declared size) of a FLAC's blocks, the file standing at the content; then it stands at the audio."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(start)
    last = file.read(4) != b"fLaC"
    while not last and len(header := file.read(4)) == 4:
        last, kind, size = bool(header[0] >> 7), header[0] & 127, int.from_bytes(header[1:], "big")
        start = file.tell()
        yield BLOCK_TYPES[kind] if kind < len(BLOCK_TYPES) else f"block {kind}", size
        file.seek(start + size)


def read_metadata_blocks(file: BinaryIO, contents: Contents) -> None:
    """Add a FLAC's metadata; a VORBIS_COMMENT that is broken is left out, with a warning."""
    for name, declared in metadata_blocks(file):
        contents.take(file, name, declared, True)
    for at, chunk in enumerate(contents.chunks):
        if chunk.name == "VORBIS_COMMENT":
            vendor = int.from_bytes(chunk.data[:4], "little")
            contents.chunks[at] = replace(chunk, data=chunk.data[4 + vendor :])
    for chunk in [c for c in contents.chunks if c.name == "VORBIS_COMMENT" and comments(c.data) is None]:
        contents.chunks.remove(chunk)
        contents.refuse(chunk.name, "it is broken")


def comments(block: bytes) -> list[bytes] | None:
    """The comments ("ARTIST=…") of a VORBIS_COMMENT (RFC 9639, 8.6) without its vendor string; None if broken."""
    found, at = [], 4
    for _ in range(int.from_bytes(block[:4], "little")):
        size = int.from_bytes(block[at : at + 4], "little")
        if at + 4 + size > len(block):
            return None
        found.append(block[at + 4 : at + 4 + size])
        at += 4 + size
    return found if len(block) >= 4 else None


def unpacked(held: list[Chunk]) -> list[Chunk]:
    """The chunks of a WAV that a FLAC's "riff" blocks hold, without those that describe its audio."""
    found, early = [], True
    for block in held:
        if block.label != "APPLICATION riff" or len(block.data) < 12:
            continue
        name, size = struct.unpack_from("<4sI", block.data, 4)
        early = early and name != b"data"
        text = name.decode("latin-1")
        if text in OF_THE_AUDIO | PADDING | {"RIFF", "RF64", "data"} or 12 + size > len(block.data):
            continue
        if is_name(name):
            found.append(Chunk(text, block.data[12 : 12 + size], early))
    return found


def reframed(held: list[Chunk], rate: int, frames: int, width: int, bits: int) -> list[Chunk]:
    """Size, format and length among a FLAC's "riff" blocks as a WAV of that audio has them; ``width`` is of a frame.

    `flac --keep-foreign-metadata` puts a WAV's chunks there, one a block: "riff", name, size, content.
    """
    foreign = sum(len(block.data) - 4 for block in held if block.label == "APPLICATION riff")
    audio = width * frames
    sizes = {b"RIFF": foreign - 8 + audio + audio % 2, b"data": audio}
    out = []
    for block in held:
        data, name = bytearray(block.data), block.data[4:8]
        if block.label == "APPLICATION riff" and len(data) >= 12:
            if name in sizes:
                struct.pack_into("<I", data, 8, min(sizes[name], UNKNOWN_SIZE))
            elif name == b"fmt " and len(data) >= 28:
                struct.pack_into("<IIHH", data, 16, rate, rate * width, width, bits)
                if len(data) >= 52:  # WAVE_FORMAT_EXTENSIBLE: valid bits
                    struct.pack_into("<H", data, 30, bits)
            elif name == b"fact" and len(data) >= 16:
                struct.pack_into("<I", data, 12, min(frames, UNKNOWN_SIZE))
        out.append(replace(block, data=bytes(data)))
    return out
