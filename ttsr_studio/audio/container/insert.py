"""Metadata woven into a written file, around its audio."""

import io
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf

from ttsr_studio.audio.container.chunks import AUDIO_CHUNKS, chunks
from ttsr_studio.audio.container.contents import Chunk
from ttsr_studio.audio.container.flac import BLOCK_TYPES, metadata_blocks
from ttsr_studio.audio.container.read import read_contents

_COPIED_AT_ONCE = 1 << 20


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


NOTHING = Insert()


class _Seekable(io.BytesIO):
    """Bytes in which a seek to before their start fails as on a disk, and raises nothing into libsndfile."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return -1 if whence == os.SEEK_SET and offset < 0 else super().seek(offset, whence)


def _even(chunk: Chunk) -> Chunk:
    if len(chunk.data) % 2 == 0 or not chunk.early:
        return chunk
    text = chunk.name in ("bext", "iXML")  # which may end in a NUL
    return replace(chunk, data=chunk.data + b"\0") if text else replace(chunk, early=False)


def legible(family: str, inserted: list[Chunk]) -> bool:
    """Whether soundfile finds the audio of a WAV or AIFF with these chunks; some broken ones make it miss it."""
    plain, sound = io.BytesIO(), np.arange(1, 65) / 128
    sf.write(plain, sound, 48000, format=family, subtype="PCM_16")
    data, whole = plain.getvalue(), _Seekable()
    audio = data.index(b"SSND" if family == "AIFF" else b"data")
    order = ">" if family == "AIFF" else "<"
    whole.write(data[:audio])
    _write_chunks(whole, order, [chunk for chunk in inserted if chunk.early])
    whole.write(data[audio:])
    _write_chunks(whole, order, [chunk for chunk in inserted if not chunk.early])
    whole.seek(0)
    try:
        return np.array_equal(sf.read(whole)[0], sound)
    except sf.SoundFileError:
        return False


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
        if name in AUDIO_CHUNKS:
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
    own = [(name, source.read(size)) for name, size in metadata_blocks(source)]
    audio = source.tell()
    written = dict(own).get("VORBIS_COMMENT", bytes(8))
    vendor = written[: 4 + int.from_bytes(written[:4], "little")]
    replaced = {"VORBIS_COMMENT"} & {chunk.name for chunk in insert.chunks}
    whole = [(name, data) for name, data in own if name not in replaced]
    whole += [(c.name, vendor + c.data if c.name == "VORBIS_COMMENT" else c.data) for c in insert.chunks]
    target.write(b"fLaC")
    for number, (name, data) in enumerate(whole):
        kind = BLOCK_TYPES.index(name) if name in BLOCK_TYPES else int(name.removeprefix("block "))
        last = (number == len(whole) - 1) << 7
        target.write(bytes([last | kind]) + len(data).to_bytes(3, "big") + data)
    source.seek(audio)
    _copy(source, target, None)


def _copy(source: BinaryIO, target: BinaryIO, size: int | None) -> None:
    """Copy ``size`` bytes, or all that is left, a block at a time."""
    while size is None or size > 0:
        block = source.read(_COPIED_AT_ONCE if size is None else min(_COPIED_AT_ONCE, size))
        if not block:
            return
        target.write(block)
        size = None if size is None else size - len(block)


def lost_chunks(path: Path, insert: Insert) -> bool:
    """Whether a file does not read back with just the chunks that were put in."""
    if not insert.chunks:
        return False
    own = {"VORBIS_COMMENT"} - {chunk.name for chunk in insert.chunks}
    held = [chunk for chunk in read_contents(path, room=1 << 32).chunks if chunk.name not in own]
    return held != sorted(insert.chunks, key=lambda chunk: not chunk.early)
