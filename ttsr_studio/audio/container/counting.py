"""Where streams without chunks really end, whatever their header counts: FLAC, MP3, Ogg."""

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ttsr_studio.audio.container.flac import metadata_blocks

_LONGEST_PAGE = 65307
_FLAC_TAIL = 1 << 20
_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)
_FLAC_BLOCKS = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{c: 256 << c - 8 for c in range(8, 16)}}
_MP3_BITRATES = {  # kbit/s, layers III and II of MPEG 1, and both of MPEG 2
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 0): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_LOST = 1 << 16


def ogg_end(path: Path) -> str | None:
    """How an Ogg file ends, "cut" in a page, or "open" after one that is not marked as the last; None for other ends.

    See RFC 3533, section 6.
    """
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return None
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * _LONGEST_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "cut"
    return None if page[5] & 4 else "open"


def is_chained(path: Path) -> bool:
    """Whether an Ogg file holds one stream behind the other (RFC 3533, section 4), of which libsndfile reads one."""
    with path.open("rb") as file:
        begun = False
        while len(page := file.read(27)) == 27 and page[:4] == b"OggS":
            first = bool(page[5] & 2)
            if first and begun:
                return True
            begun = begun or not first
            file.seek(sum(file.read(page[26])), os.SEEK_CUR)
    return False


def flac_end(path: Path) -> int:
    """The sample after the last that a FLAC's last frame header counts (RFC 9639, 9.1); 0 where none is found.

    The end of the file alone is read. Bytes that look like a header by chance make it a guess.
    """
    with path.open("rb") as file:
        info = _stream_info(file)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(file.tell(), size - _FLAC_TAIL))
        tail = file.read()
    starts = [found.start() for found in _FLAC_SYNC.finditer(tail)]
    return max((_flac_frame_end(tail[at : at + 16], info) for at in starts), default=0)


def _stream_info(file: BinaryIO) -> bytes:
    """STREAMINFO; the file then stands at the audio."""
    info = b""
    for name, size in metadata_blocks(file):
        if name == "STREAMINFO" and not info:
            info = file.read(min(size, 34))
    return info.ljust(34, b"\0")


def _flac_frame_end(head: bytes, info: bytes) -> int:
    """The sample after a frame that begins with these bytes; 0 where they are no header of this stream's."""
    head = head.ljust(16, b"\0")
    if head[3] & 1 or head[4] == 0xFF:
        return 0
    channels, code = (info[12] >> 1 & 7) + 1, head[3] >> 4
    if (code + 1 if code < 8 else 2 if code < 11 else 0) != channels:
        return 0
    more = max(0, 7 - (head[4] ^ 0xFF).bit_length())  # bytes of a number coded like UTF-8
    if head[4] >= 0x80 and (more < 1 or any(byte >> 6 != 2 for byte in head[5 : 5 + more])):
        return 0
    number = head[4] & (0x7F if head[4] < 0x80 else 0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 63
    at, kind = 5 + more, head[2] >> 4
    width = {6: 1, 7: 2}.get(kind, 0)
    block = int.from_bytes(head[at : at + width], "big") + 1 if width else _FLAC_BLOCKS.get(kind, 0)
    at += width + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if not block or at >= len(head) or _crc8(head[:at]) != head[at]:
        return 0
    fixed = int.from_bytes(info[:2], "big")
    return (number if head[1] & 1 else number * fixed) + block


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 7 * (value >> 7)) & 0xFF
    return value


@dataclass(frozen=True)
class Mp3Count:
    """Frames of an MP3.

    Attributes:
        frames: those that hold audio.
        samples: of each.
        declared: what its header (Xing, Info) counts, 0 for nothing; None where there is no such header.
        head: the file up to that count, and the count as it should be; b"" without a header.
    """

    frames: int
    samples: int
    declared: int | None
    head: bytes


def mp3_count(path: Path) -> Mp3Count | None:
    """Count the frames of an MP3 by their headers (ISO 11172-3, 2.4.1.3); None where they cannot be counted."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _mp3_frames(data, _behind_id3(data))
        first = next(walk, None)
        if first is None:
            return None
        start, size, samples = first
        frames = 1 + sum(1 for _ in walk)
        tag = re.search(rb"Xing|Info", data[start : start + min(size, 64)])
        if tag is None:
            return Mp3Count(frames, samples, None, b"")
        at = start + tag.start()
        counts = data[at + 7] & 1
        declared = int.from_bytes(data[at + 8 : at + 12], "big") if counts else 0
        head = data[: at + 8] + (frames - 1).to_bytes(4, "big") if counts else b""
        return Mp3Count(frames - 1, samples, declared, head)


def _behind_id3(data: mmap.mmap) -> int:
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        size = data[at + 6 : at + 10]
        at += 10 + sum((byte & 127) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
    return at


def _mp3_frames(data: mmap.mmap, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, bytes, samples) of frames, from the first two on that follow one another."""
    kind, lost = b"", 0
    while at + 4 <= len(data) and lost < _MP3_LOST:
        head = data[at : at + 4]
        size, samples = _mp3_frame(head)
        follows = at + size + 4 > len(data) or _mp3_frame(data[at + size : at + size + 4])[0] > 0
        alike = not kind or (head[1] & 0xFE, head[2] & 0x0C) == (kind[1] & 0xFE, kind[2] & 0x0C)
        if size and alike and (follows or (kind and not lost)):
            if at + size <= len(data):
                yield at, size, samples
            kind, lost = head, 0
            at += size
        else:
            found = data.find(b"\xff", at + 1)
            lost += (found if found >= 0 else len(data)) - at
            at = found if found >= 0 else len(data)


def _mp3_frame(head: bytes) -> tuple[int, int]:
    """(bytes, samples) of a frame of layer III or II; (0, 0) where it is none, or of a free bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] >> 5 != 7:
        return 0, 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in (1, 2) or bitrate in (0, 15) or rate == 3:
        return 0, 0
    samples = 576 if layer == 1 and version != 3 else 1152
    kilobits = _MP3_BITRATES[(3, layer) if version == 3 else (2, 0)][bitrate]
    return samples * kilobits * 125 // _MP3_RATES[version][rate] + (head[2] >> 1 & 1), samples
