"""Where the audio of a file of chunks lies, and a decoder that is shown that alone."""

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import soundfile as sf

from ttsr_studio.audio.container.chunks import (
    AUDIO_CHUNKS,
    UNKNOWN_SIZE,
    beyond_chunks,
    chunks,
    is_chunk_list,
    is_pipe_size,
)
from ttsr_studio.audio.container.counting import mp3_count
from ttsr_studio.errors import InputError, shown
from ttsr_studio.storage.names import for_libsndfile

_WAVS = (b"RIFF", b"RF64", b"BW64", b"RIFX")
_OWN = re.compile(rb"(RIFF|RF64|BW64|RIFX)....WAVE|FORM....AIF|\.snd|riff\x2e\x91\xcf\x11", re.DOTALL)
_LONGEST_FORMAT = 4096


def bad_file(path: Path, problem: str) -> InputError:
    """The error for a file that cannot be used."""
    return InputError(f"{shown(path)}: {problem}")


@dataclass(frozen=True)
class AudioPart:
    """Where the audio of a file of chunks lies; ``declared`` is None when its header gives no length."""

    kind: bytes
    fmt: bytes
    start: int
    declared: int | None
    held: int

    def plain_header(self, size: int) -> bytes:
        """The header of a WAV, or RF64, of the same format and ``size`` bytes of audio, and nothing else."""
        order = ">" if self.kind == b"RIFX" else "<"
        wide = order == "<" and (self.kind != b"RIFF" or size > UNKNOWN_SIZE - 2**16)
        ds64 = struct.pack("<4sI3QI", b"ds64", 28, size, size, 0, 0) if wide else b""
        declared = UNKNOWN_SIZE if wide else size
        fmt = struct.pack(f"{order}4sI", b"fmt ", len(self.fmt)) + self.fmt + bytes(len(self.fmt) % 2)
        head = struct.pack(f"{order}4sI4s", b"RF64" if wide else self.kind, declared, b"WAVE")
        return head + ds64 + fmt + struct.pack(f"{order}4sI", b"data", declared)


class _Plain(io.RawIOBase):
    """A header, and then a stretch of a file."""

    def __init__(self, file: BinaryIO, head: bytes, start: int, size: int) -> None:
        self._file, self._head, self._skip = file, head, start - len(head)
        self._size, self._at = len(head) + size, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        room = max(min(len(buffer), self._size - self._at), 0)
        data = self._head[self._at : self._at + room]
        if len(data) < room:
            self._file.seek(self._skip + self._at + len(data))
            data += self._file.read(room - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def find_audio(path: Path) -> AudioPart | None:
    """Find the audio in a file of chunks; None for other files."""
    with path.open("rb") as file:
        kind, fmt, size = file.read(4), b"", os.fstat(file.fileno()).st_size
        if kind == b"RIFF" and file.read(8)[4:] not in (b"WAVE", b""):
            return None  # AVI
        for name, start, declared in chunks(path):
            if name == b"fmt " and kind in _WAVS and not fmt:
                file.seek(start)
                fmt = file.read(min(declared, _LONGEST_FORMAT))
            elif name in AUDIO_CHUNKS and (fmt or kind not in _WAVS):
                held = max(size - start, 0)
                streamed = declared == 0 < held and name == b"data" and not is_chunk_list(path, start, size)
                streamed = streamed or (name == b"SSND" and declared in (0, 8) and beyond_chunks(path) > 0)
                unknown = streamed or declared < 0 or declared == UNKNOWN_SIZE or is_pipe_size(declared, held)
                return AudioPart(kind, fmt, start, None if unknown else declared, held)
    if kind in _WAVS:
        raise bad_file(path, "is not audio that can be read (no format with audio after it); export it again")
    return None


def is_native(path: Path) -> bool:
    """Whether a file is of a format that soundfile reads, so that nothing else is asked when it is broken."""
    with path.open("rb") as file:
        return _OWN.match(file.read(16)) is not None


@contextlib.contextmanager
def sound_file(path: Path, to_end: bool = False) -> Iterator[sf.SoundFile]:
    """Open a decoder; `to_end` takes all from where the audio starts, whatever the header says.

    Of a WAV it is shown the format and the audio: other chunks can hang it (libsndfile #1118).
    """
    audio = find_audio(path)
    with contextlib.ExitStack() as stack:
        source: _Plain | str | bytes = for_libsndfile(path)
        if audio:
            size = audio.held if audio.declared is None or to_end else min(audio.declared, audio.held)
            whole, head = stack.enter_context(path.open("rb")), b""
            if audio.kind in _WAVS:
                head = audio.plain_header(size)
            elif audio.kind == b"caff" and audio.declared != size and audio.start <= _LONGEST_FORMAT:
                head = whole.read(audio.start - 8) + struct.pack(">q", size)  # libsndfile refuses one that is cut
            elif audio.kind in (b".snd", b"FORM") and audio.declared not in (size, None):
                at = 8 if audio.kind == b".snd" else audio.start - 4
                head = whole.read(audio.start)
                head = head[:at] + struct.pack(">I", min(size, UNKNOWN_SIZE)) + head[at + 4 :]
            source = _Plain(whole, head, audio.start, size) if head else source
        elif to_end and (count := mp3_count(path)):
            whole, start = stack.enter_context(path.open("rb")), len(count.head)
            source = _Plain(whole, count.head, start, path.stat().st_size - start)
        yield stack.enter_context(sf.SoundFile(source))
