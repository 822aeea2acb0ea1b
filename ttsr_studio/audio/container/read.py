"""Chunks of WAV, RF64 and AIFF files and metadata blocks of FLAC, read within bounds.

A source is never opened for writing. Memory is bounded by the metadata kept (64 MiB at most), never by a size that a
file declares. Chunks of a big-endian WAV (RIFX) are given as a little-endian one has them.
"""

from pathlib import Path
from typing import BinaryIO

from ttsr_studio.audio.container.chunks import AUDIO_CHUNKS, chunks, is_name
from ttsr_studio.audio.container.contents import BUDGET, Contents
from ttsr_studio.audio.container.flac import read_metadata_blocks
from ttsr_studio.audio.container.riff import turn

_MOST_CHUNKS = 10000


def read_contents(path: Path, audio_to_end: bool = False, room: int = BUDGET) -> Contents:
    """Read what a WAV, RF64, RIFX, AIFF or FLAC holds besides audio; broken chunks are left out with a warning.

    ``audio_to_end`` says that all after the header of the audio is audio, as in a file whose header gives no length.
    """
    with path.open("rb") as file:
        head = file.read(4)
        contents = Contents(room=room)
        if head in (b"fLaC", b"ID3\x02", b"ID3\x03", b"ID3\x04"):
            read_metadata_blocks(file, contents)
        else:
            _read_chunks(file, path, contents, audio_to_end)
    if head == b"RIFX":
        turn(contents)
    return contents


def _read_chunks(file: BinaryIO, path: Path, contents: Contents, audio_to_end: bool) -> None:
    early = True
    for name, start, declared in chunks(path):
        if name in AUDIO_CHUNKS:
            early = False
            if audio_to_end:
                return
            continue
        if not any(name):  # zeros to fill the last sector
            return
        if not is_name(name) or len(contents.chunks) + len(contents.warnings) == _MOST_CHUNKS:
            contents.warnings.append(f"left out from byte {start - 8} on: no chunks, or too many of them")
            return
        file.seek(start)
        if name == b"fmt ":
            contents.fmt = file.read(max(0, min(declared, 40)))
        contents.take(file, name.decode("ascii"), declared, early)
