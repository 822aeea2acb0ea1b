"""Audio files: probe, streamed reading, resampling, and writing that is complete or not there at all.

Arrays are float32 ``[channels, samples]``, full scale 1.0. Memory is bounded by the block, not by the file.
"""

import contextlib
import io
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from ttsr_studio.errors import InputError, shown

RATES = (8000, 384000)
MAX_CHANNELS = 32
_ABSURD = 1e6
_STREAMED = 0xFFFFFFFF
_UNKNOWN = 2**48  # libsndfile says 2**63-1 for a FLAC of unknown length
_MP3_SLACK = 2 * 1152  # encoders count their own info frame
_SALVAGE = "export it again, or use --salvage to render what is there"
WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}

Blocks = Iterable[np.ndarray]
Identity = tuple[int, int, int]


@dataclass(frozen=True)
class SourceInfo:
    """What a readable file holds; ``frames`` is what can be read, ``warnings`` is for the report."""

    path: Path
    container: str
    subtype: str
    rate: int
    channels: int
    frames: int
    identity: Identity  # size, modification time in ns, inode
    warnings: tuple[str, ...] = ()
    raw_offset: int | None = None


def _bad(path: Path, problem: str) -> InputError:
    return InputError(f"{shown(path)}: {problem}")


def _identity(path: Path) -> Identity:
    try:
        status = path.stat() if stat.S_ISLNK(path.lstat().st_mode) else path.lstat()
    except OSError as error:
        raise _bad(path, f"cannot be opened ({error.strerror}); check its name and permissions") from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path, "is not a regular file; give an audio file, not a folder, pipe or device")
    return status.st_size, status.st_mtime_ns, status.st_ino


def chunks(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the content, declared size) of a WAV, RF64 or AIFF; nothing for other files."""
    with path.open("rb") as file:
        head = file.read(12)
        order = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}.get(head[:4])
        wide = None
        while order and len(header := file.read(8)) == 8:
            name, size = struct.unpack(f"{order}4sI", header)
            start = file.tell()
            if name == b"ds64":
                wide = struct.unpack("<8xQ", file.read(16))[0]
            elif name == b"data" and size == _STREAMED and wide is not None:
                size = wide
            yield name, start, size
            file.seek(start + size + size % 2)


def _is_chunk_list(path: Path, start: int, end: int) -> bool:
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            name, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\xff"))
            if not (name.isascii() and name.decode("ascii").isprintable()):
                return False
            start += 8 + size + size % 2
    return start == end


def _inspect(path: Path, size: int, salvage: bool) -> tuple[int | None, tuple[str, ...]]:
    """Return (offset of audio that its header does not count, warnings); raise InputError when cut short."""
    for name, start, declared in chunks(path):
        held = size - start
        if name not in (b"data", b"SSND"):
            continue
        if declared == _STREAMED:
            return None, ("the header gives no length (0xFFFFFFFF): read to the end of the file",)
        if declared == 0 and name == b"data" and held > 0 and not _is_chunk_list(path, start, size):
            return start, ("the header gives no length (0): read to the end of the file",)
        if declared > held and not salvage:
            problem = f"cut short: its header promises {declared} bytes of audio and {max(held, 0)} are there"
            raise _bad(path, f"{problem}; {_SALVAGE}")
        return None, (f"cut short: {held} of {declared} bytes of audio are there",) if declared > held else ()
    return None, ()


def _decode(path: Path, frames: int, block: int) -> Iterator[np.ndarray]:
    done = 0
    with sf.SoundFile(os.fsencode(path)) as file:
        # never past `frames`: a decoder that meets damage loses the whole block
        while len(samples := file.read(min(block, frames - done), dtype="float32", always_2d=True)):
            done += len(samples)
            yield np.ascontiguousarray(samples.T)


def _decode_raw(info: SourceInfo, block: int) -> Iterator[np.ndarray]:
    size = info.channels * WIDTHS[info.subtype]
    raw = {"samplerate": info.rate, "channels": info.channels, "subtype": info.subtype, "endian": "LITTLE"}
    with info.path.open("rb") as file:
        file.seek(info.raw_offset or 0)
        while len(data := file.read(block * size)) >= size:
            whole = io.BytesIO(data[: len(data) // size * size])
            samples, _ = sf.read(whole, dtype="float32", always_2d=True, format="RAW", **raw)
            yield np.ascontiguousarray(samples.T)


def _decodable(info: SourceInfo) -> int:
    frames = 0
    with contextlib.suppress(sf.SoundFileError):  # damage is where the count ends
        for block in _decode(info.path, info.frames, 1024):
            frames += block.shape[1]
    return frames


def _header(path: Path, identity: Identity, salvage: bool) -> SourceInfo:
    try:
        raw_offset, warnings = _inspect(path, identity[0], salvage)
        with sf.SoundFile(os.fsencode(path)) as file:
            layout = file.format, file.subtype, file.samplerate, file.channels, file.frames
            swapped = file.endian == "BIG"
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror}); check its permissions") from error
    except (sf.SoundFileError, struct.error) as error:
        reason = getattr(error, "error_string", "broken header").rstrip(".")
        raise _bad(path, f"is not audio that can be read ({reason}); convert it to WAV first") from error
    if raw_offset is not None and (swapped or layout[1] not in WIDTHS):
        raise _bad(path, f"has no length in its header and {layout[1]} samples; convert it to WAV first")
    return SourceInfo(path, *layout, identity, warnings, raw_offset)


def _counted(info: SourceInfo, salvage: bool) -> SourceInfo:
    """Correct ``frames`` where the header cannot be trusted."""
    if info.raw_offset is not None:
        size = info.channels * WIDTHS[info.subtype]
        return replace(info, frames=(info.identity[0] - info.raw_offset) // size)
    if not (salvage or info.container == "MP3" or info.frames >= _UNKNOWN):
        return info
    frames = _decodable(info)
    if info.frames >= _UNKNOWN:
        warnings = (*info.warnings, "the header gives no length: read to the end of the file")
    elif info.frames - frames <= _MP3_SLACK * (info.container == "MP3"):
        warnings = info.warnings
    else:
        problem = f"cut short: {frames} of {info.frames} samples can be decoded"
        if not salvage:
            raise _bad(info.path, f"{problem}; {_SALVAGE}")
        warnings = (*info.warnings, problem)
    return replace(info, frames=frames, warnings=warnings)


def probe(path: Path | str, salvage: bool = False) -> SourceInfo:
    """Look at a file's header (MP3, whose headers err, is decoded); raise InputError when it cannot be used.

    With ``salvage`` a file that is cut short passes with a warning, and ``frames`` is what can be decoded.
    """
    path = Path(path)
    identity = _identity(path)
    if identity[0] == 0:
        raise _bad(path, "is empty (0 bytes); export it again")
    info = _header(path, identity, salvage)
    if not RATES[0] <= info.rate <= RATES[1]:
        raise _bad(path, f"has a rate of {info.rate} Hz; convert it to one from {RATES[0]} to {RATES[1]} Hz")
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise _bad(path, f"has {info.channels} channels; split it into files of at most {MAX_CHANNELS}")
    info = _counted(info, salvage)
    if info.frames == 0:
        raise _bad(path, "is empty: it holds no audio; export it again")
    return info


def _check_unchanged(info: SourceInfo) -> None:
    if _identity(info.path) != info.identity:
        raise _bad(info.path, "changed while it was read; render it again when it is finished")


def _check_values(info: SourceInfo, block: np.ndarray, start: int) -> None:
    good = np.abs(block) <= _ABSURD  # False for NaN too
    if not good.all():
        sample = int(np.argmin(good.all(axis=0)))
        channel = int(np.argmin(good[:, sample]))
        value = f"channel {channel + 1}, sample {start + sample} is {block[channel, sample]:g}"
        raise _bad(info.path, f"{value}, which is not audio; repair or export it again")


def read_blocks(info: SourceInfo, frames: int = 65536, salvage: bool = False) -> Iterator[np.ndarray]:
    """Yield the audio as float32 ``[channels, <= frames]``.

    Raises InputError for NaN, infinite or absurd values, for a file that ends early (unless ``salvage``),
    and for one that was replaced since `probe`.
    """
    _check_unchanged(info)
    raw = info.raw_offset is not None
    blocks = _decode_raw(info, frames) if raw else _decode(info.path, info.frames, frames)
    done, reason = 0, "ends early"
    while done < info.frames:
        try:
            block = next(blocks, None)
        except sf.SoundFileError as error:
            block, reason = None, f"is damaged ({error})"
        if block is None:
            break
        _check_values(info, block, done)
        done += block.shape[1]
        yield block
    _check_unchanged(info)
    if done < info.frames and not salvage:
        problem = f"{reason}: {done} of {info.frames} samples could be read"
        raise _bad(info.path, f"{problem}; {_SALVAGE}")
