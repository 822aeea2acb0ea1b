"""Which files are rendered together: the mono files of a split stereo recording belong in one render.

Ardour's own import splits a stereo file into `x%L.wav` and `x%R.wav`. Rendered one by one, the two would be scored and
chosen one by one; joined, they share noise and choice, and the image holds.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

Channel = tuple[Path, int]
"""A file and one of its channels, counted from 0."""

BLOCK = 1 << 16
"""Frames that are read at a time."""

RIFF_LIMIT = 0xFFFFFFFF - 128
"""Above this many bytes of audio a WAV file needs 64-bit sizes."""


class JoinError(Exception):
    """Files that cannot be put into one; they are rendered one by one."""


@dataclass(frozen=True)
class Wav:
    """Where and how the audio lies in a WAV file."""

    tag: int
    channels: int
    rate: int
    bits: int
    offset: int
    frames: int

    @property
    def kind(self) -> tuple[int, int, int, int]:
        """What files must agree on to be joined."""
        return self.tag, self.rate, self.bits, self.frames


def group(regions: Iterable[Sequence[Channel]]) -> list[tuple[Path, ...]]:
    """Sort the files that regions play into renders: several mono files that belong together, or one file.

    A region that plays several mono files says best what belongs together; the names say it for the others.
    """
    regions = list(regions)
    paths = list(dict.fromkeys(path for region in regions for path, _ in region))
    wide = {path for region in regions for path, channel in region if channel > 0}
    joined: list[tuple[Path, ...]] = []
    for candidate in [*(tuple(path for path, _ in region) for region in regions), *named_pairs(paths)]:
        taken = {path for unit in joined for path in unit}
        if len(candidate) > 1 and len(set(candidate)) == len(candidate) and not (taken | wide) & set(candidate):
            joined.append(candidate)
    taken = {path for unit in joined for path in unit}
    return joined + [(path,) for path in paths if path not in taken]


def named_pairs(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Pairs by the names that Ardour's import gives: `x%L.wav` and `x%R.wav`."""
    lefts = [path for path in paths if path.stem.endswith("%L")]
    pairs = [(left, left.with_name(f"{left.stem[:-1]}R{left.suffix}")) for left in lefts]
    return [pair for pair in pairs if pair[1] in paths]


def name_of(files: Sequence[Path]) -> str:
    """What a render is named after: the recording, without the mark of its channel."""
    stem = files[0].stem
    return stem[:-2] if len(files) > 1 and stem[-2:-1] == "%" else stem


def join(files: Sequence[Path], target: Path) -> None:
    """Write mono WAV files as the channels of one. Raises JoinError where they do not fit together."""
    heads = [wav_of(path) for path in files]
    for path, head in zip(files, heads, strict=True):
        if head.channels != 1:
            raise JoinError(f"{path.name} has {head.channels} channels")
        if head.kind != heads[0].kind:
            raise JoinError(f"{path.name} and {files[0].name} differ in length, rate or format")
    width = heads[0].bits // 8
    with target.open("wb") as out:
        write_header(out, heads[0], len(files))
        streams = [path.open("rb") for path in files]
        try:
            for stream, head in zip(streams, heads, strict=True):
                stream.seek(head.offset)
            for start in range(0, heads[0].frames, BLOCK):
                frames = min(BLOCK, heads[0].frames - start)
                out.write(interleave([stream.read(frames * width) for stream in streams], width))
        finally:
            for stream in streams:
                stream.close()


def interleave(blocks: Sequence[bytes], width: int) -> bytes:
    """Samples of several channels in turn."""
    mixed = bytearray(sum(map(len, blocks)))
    step = width * len(blocks)
    for channel, block in enumerate(blocks):
        for byte in range(width):
            mixed[channel * width + byte :: step] = block[byte::width]
    return bytes(mixed)


def wav_of(path: Path) -> Wav:
    """Read the head of a WAV or RF64 file. Raises JoinError for anything else."""
    try:
        with path.open("rb") as stream:
            return read_head(path, stream)
    except (OSError, struct.error) as error:
        raise JoinError(f"{path.name} cannot be read as WAV ({error})") from error


def read_head(path: Path, stream: BinaryIO) -> Wav:
    kind, _, form = struct.unpack("<4sI4s", stream.read(12))
    if kind not in (b"RIFF", b"RF64", b"BW64") or form != b"WAVE":
        raise JoinError(f"{path.name} is no WAV file")
    layout: tuple[int, int, int, int] | None = None
    long_size = 0
    while True:
        name, size = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            break
        body = stream.read(size + size % 2)
        if name == b"ds64":
            long_size = struct.unpack_from("<Q", body, 8)[0]
        elif name == b"fmt ":
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
            # The extensible format keeps the real one in the first two bytes of a GUID.
            layout = (struct.unpack_from("<H", body, 24)[0] if tag == 0xFFFE else tag, channels, rate, bits)
    if layout is None or layout[3] % 8 or not layout[1]:
        raise JoinError(f"{path.name} has no usable format")
    offset = stream.tell()
    # While it is recorded, a file may not know its own length yet.
    there = stream.seek(0, 2) - offset
    length = min(long_size if size == 0xFFFFFFFF else size, there)
    return Wav(*layout, offset=offset, frames=length // (layout[1] * layout[3] // 8))


def write_header(out: BinaryIO, head: Wav, channels: int) -> None:
    width = head.bits // 8 * channels
    size = head.frames * width
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, head.tag, channels, head.rate, head.rate * width, width, head.bits)
    if size < RIFF_LIMIT:
        out.write(struct.pack("<4sI4s", b"RIFF", 4 + len(layout) + 8 + size, b"WAVE") + layout)
        out.write(struct.pack("<4sI", b"data", size))
        return
    whole = 4 + 36 + len(layout) + 8 + size
    out.write(struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE"))
    out.write(struct.pack("<4sIQQQI", b"ds64", 28, whole, size, head.frames, 0) + layout)
    out.write(struct.pack("<4sI", b"data", 0xFFFFFFFF))
