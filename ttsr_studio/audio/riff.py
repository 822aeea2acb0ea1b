"""Chunks of WAV, RF64 and AIFF files and metadata blocks of FLAC: read within bounds, and woven into a written file.

A source is never opened for writing. Memory is bounded by the metadata kept (64 MiB at most), never by a size that a
file declares. Chunks of a big-endian WAV (RIFX) are given as a little-endian one has them.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf

from ttsr_studio.audio.files import chunks

FAMILIES = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF", "FLAC": "FLAC"}
BUDGET = 64 << 20
_BLOCK = 1 << 20
_MOST_CHUNKS = 10000
_AUDIO = (b"data", b"SSND")
_OWN = {"fmt ", "fact", "ds64", "PEAK", "COMM", "FVER", "STREAMINFO", "SEEKTABLE"}
_PADDING = {"JUNK", "junk", "PAD ", "FLLR", "PADDING"}
# RFC 9639, section 8.1
_FLAC_TYPES = ("STREAMINFO", "PADDING", "APPLICATION", "SEEKTABLE", "VORBIS_COMMENT", "CUESHEET", "PICTURE")


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


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable()


def _blocks(file: BinaryIO) -> Iterator[tuple[str, int]]:
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
        yield _FLAC_TYPES[kind] if kind < len(_FLAC_TYPES) else f"block {kind}", size
        file.seek(start + size)


def _read_blocks(file: BinaryIO, contents: Contents) -> None:
    for name, declared in _blocks(file):
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


class _Seekable(io.BytesIO):
    """Bytes in which a seek to before their start fails as on a disk, and raises nothing into libsndfile."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return -1 if whence == os.SEEK_SET and offset < 0 else super().seek(offset, whence)


def legible(family: str, inserted: list[Chunk]) -> bool:
    """Whether soundfile finds the audio of a WAV or AIFF with these chunks; some broken ones make it miss it."""
    plain = io.BytesIO()
    sf.write(plain, np.zeros(8), 48000, format=family, subtype="PCM_16")
    data, whole = plain.getvalue(), _Seekable()
    audio = data.index(b"SSND" if family == "AIFF" else b"data")
    order = ">" if family == "AIFF" else "<"
    whole.write(data[:audio])
    _write_chunks(whole, order, [chunk for chunk in inserted if chunk.early])
    whole.write(data[audio:])
    _write_chunks(whole, order, [chunk for chunk in inserted if not chunk.early])
    whole.seek(0)
    try:
        return bool(sf.info(whole).frames == 8)
    except sf.SoundFileError:
        return False


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


def unpacked(blocks: list[Chunk]) -> list[Chunk]:
    """The chunks of a WAV that a FLAC's "riff" blocks hold, without those that describe its audio."""
    found, early = [], True
    for block in blocks:
        if block.label != "APPLICATION riff" or len(block.data) < 12:
            continue
        name, size = struct.unpack_from("<4sI", block.data, 4)
        early = early and name != b"data"
        text = name.decode("latin-1")
        if text in _OWN | _PADDING | {"RIFF", "RF64", "data"} or 12 + size > len(block.data):
            continue
        if _is_name(name):
            found.append(Chunk(text, block.data[12 : 12 + size], early))
    return found


def reframed(blocks: list[Chunk], rate: int, frames: int, width: int, bits: int) -> list[Chunk]:
    """Size, format and length among a FLAC's "riff" blocks as a WAV of that audio has them; ``width`` is of a frame.

    `flac --keep-foreign-metadata` puts a WAV's chunks there, one a block: "riff", name, size, content.
    """
    held = sum(len(block.data) - 4 for block in blocks if block.label == "APPLICATION riff")
    audio = width * frames
    sizes = {b"RIFF": held - 8 + audio + audio % 2, b"data": audio}
    out = []
    for block in blocks:
        data, name = bytearray(block.data), block.data[4:8]
        if block.label == "APPLICATION riff" and len(data) >= 12:
            if name in sizes:
                struct.pack_into("<I", data, 8, min(sizes[name], 0xFFFFFFFF))
            elif name == b"fmt " and len(data) >= 28:
                struct.pack_into("<IIHH", data, 16, rate, rate * width, width, bits)
                if len(data) >= 52:  # WAVE_FORMAT_EXTENSIBLE: valid bits
                    struct.pack_into("<H", data, 30, bits)
            elif name == b"fact" and len(data) >= 16:
                struct.pack_into("<I", data, 12, min(frames, 0xFFFFFFFF))
        out.append(replace(block, data=bytes(data)))
    return out


@dataclass(frozen=True)
class Insert:
    """What is put into a written file.

    Attributes:
        mask, valid_bits: speakers and bits in use of WAVE_FORMAT_EXTENSIBLE; None leaves what soundfile wrote.
    """

    chunks: tuple[Chunk, ...] = ()
    mask: int | None = None
    valid_bits: int | None = None

    @property
    def size(self) -> int:
        """Bytes that it adds to a WAV or AIFF."""
        return sum(8 + len(chunk.data) + len(chunk.data) % 2 for chunk in self.chunks)

    def for_rf64(self) -> "Insert":
        """The same with nothing of odd length before the audio: libsndfile 1.2 does not skip an RF64's pad bytes."""
        return replace(self, chunks=tuple(map(_even, self.chunks)))


def _even(chunk: Chunk) -> Chunk:
    if len(chunk.data) % 2 == 0 or not chunk.early:
        return chunk
    text = chunk.name in ("bext", "iXML")  # which may end in a NUL
    return replace(chunk, data=chunk.data + b"\0") if text else replace(chunk, early=False)


NOTHING = Insert()


def set_format(path: Path, insert: Insert) -> None:
    """Set speakers and valid bits of a written WAVE_FORMAT_EXTENSIBLE (Microsoft, WAVEFORMATEXTENSIBLE), in place."""
    for name, start, size in chunks(path):
        if name == b"fmt " and size >= 40:
            with path.open("r+b") as file:
                if insert.valid_bits is not None:
                    file.seek(start + 18)
                    file.write(struct.pack("<H", insert.valid_bits))
                if insert.mask is not None:
                    file.seek(start + 20)
                    file.write(struct.pack("<I", insert.mask))


def weave(plain: Path, woven: Path, insert: Insert) -> None:
    """Copy a file that soundfile wrote, with chunks put in before its audio and at its end, and sizes that fit."""
    with plain.open("rb") as source, woven.open("xb") as target:
        if source.read(4) == b"fLaC":
            _weave_blocks(source, target, insert)
        else:
            _weave_chunks(source, plain, target, insert)


def _weave_chunks(source: BinaryIO, plain: Path, target: BinaryIO, insert: Insert) -> None:
    source.seek(0)
    head = source.read(12)
    order = ">" if head.startswith(b"FORM") else "<"
    target.write(head)
    for name, start, size in chunks(plain):
        if name in _AUDIO:
            _write_chunks(target, order, [chunk for chunk in insert.chunks if chunk.early])
        source.seek(start - 8)
        _copy(source, target, 8 + size + size % 2)
    _write_chunks(target, order, [chunk for chunk in insert.chunks if not chunk.early])
    total = target.tell() - 8
    # EBU Tech 3306: RF64 has its size in ds64, which comes first
    target.seek(20 if head.startswith(b"RF64") else 4)
    target.write(struct.pack("<Q", total) if head.startswith(b"RF64") else struct.pack(f"{order}I", total))


def _write_chunks(target: BinaryIO, order: str, inserted: list[Chunk]) -> None:
    for chunk in inserted:
        target.write(struct.pack(f"{order}4sI", chunk.name.encode("ascii"), len(chunk.data)))
        target.write(chunk.data + bytes(len(chunk.data) % 2))


def _weave_blocks(source: BinaryIO, target: BinaryIO, insert: Insert) -> None:
    own = [(name, source.read(size)) for name, size in _blocks(source)]
    audio = source.tell()
    written = dict(own).get("VORBIS_COMMENT", bytes(8))
    vendor = written[: 4 + int.from_bytes(written[:4], "little")]
    replaced = {"VORBIS_COMMENT"} & {chunk.name for chunk in insert.chunks}
    blocks = [(name, data) for name, data in own if name not in replaced]
    blocks += [(c.name, vendor + c.data if c.name == "VORBIS_COMMENT" else c.data) for c in insert.chunks]
    target.write(b"fLaC")
    for number, (name, data) in enumerate(blocks):
        kind = _FLAC_TYPES.index(name) if name in _FLAC_TYPES else int(name.removeprefix("block "))
        last = (number == len(blocks) - 1) << 7
        target.write(bytes([last | kind]) + len(data).to_bytes(3, "big") + data)
    source.seek(audio)
    _copy(source, target, None)


def _copy(source: BinaryIO, target: BinaryIO, size: int | None) -> None:
    """Copy ``size`` bytes, or all that is left, a block at a time."""
    while size is None or size > 0:
        block = source.read(_BLOCK if size is None else min(_BLOCK, size))
        if not block:
            return
        target.write(block)
        size = None if size is None else size - len(block)


def lacks(path: Path, insert: Insert) -> bool:
    """Whether a file does not read back with just the chunks that were put in."""
    if not insert.chunks:
        return False
    own = {"VORBIS_COMMENT"} - {chunk.name for chunk in insert.chunks}
    held = [chunk for chunk in read_contents(path, room=1 << 32).chunks if chunk.name not in own]
    return held != sorted(insert.chunks, key=lambda chunk: not chunk.early)
