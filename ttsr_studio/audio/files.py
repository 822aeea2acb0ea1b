"""Audio files: probe, streamed reading, resampling, and writing that is complete or not there at all.

Arrays are float32 ``[channels, samples]``, full scale 1.0. Memory is bounded by the block, not by the file.
"""

import contextlib
import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import soundfile as sf
import soxr

from ttsr_studio.errors import InputError, OptionError, OutputError, unknown

RATES = (8000, 384000)
MAX_CHANNELS = 32
_ABSURD = 1e6
_STREAMED = 0xFFFFFFFF
_UNKNOWN = 2**48  # libsndfile says 2**63-1 for a FLAC of unknown length
_MP3_SLACK = 2 * 1152  # encoders count their own info frame
_SALVAGE = "export it again, or use --salvage to render what is there"
_RIFF_LIMIT = 2**32 - 2**20  # room for the other chunks
_WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
_SUFFIXES = {".wav": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".flac": "FLAC"}
_KEPT = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF", "FLAC": "FLAC"}

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


@dataclass(frozen=True)
class Written:
    """A finished output: its checksum, and how many samples were beyond full scale and clipped."""

    path: Path
    frames: int
    sha256: str
    clipped: int


def _shown(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else repr(text)  # a newline in a name must not break the one line


def _bad(path: Path, problem: str) -> InputError:
    return InputError(f"{_shown(path)}: {problem}")


def _identity(path: Path) -> Identity:
    try:
        status = path.stat() if stat.S_ISLNK(path.lstat().st_mode) else path.lstat()
    except OSError as error:
        raise _bad(path, f"cannot be opened ({error.strerror}); check its name and permissions") from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path, "is not a regular file; give an audio file, not a folder, pipe or device")
    return status.st_size, status.st_mtime_ns, status.st_ino


def _chunks(path: Path) -> Iterator[tuple[bytes, int, int]]:
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
    for name, start, declared in _chunks(path):
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
    size = info.channels * _WIDTHS[info.subtype]
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
    if raw_offset is not None and (swapped or layout[1] not in _WIDTHS):
        raise _bad(path, f"has no length in its header and {layout[1]} samples; convert it to WAV first")
    return SourceInfo(path, *layout, identity, warnings, raw_offset)


def _counted(info: SourceInfo, salvage: bool) -> SourceInfo:
    """Correct ``frames`` where the header cannot be trusted."""
    if info.raw_offset is not None:
        size = info.channels * _WIDTHS[info.subtype]
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


class Scratch:
    """A temporary float32 file that windows are read from; it has no name, so nothing is left if we die."""

    def __init__(self, channels: int, directory: Path | None = None) -> None:
        self.channels = channels
        self.frames = 0
        self._where = Path(directory or tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=self._where, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutputError:
        problem = f"no room for temporary audio ({error.strerror})"
        return OutputError(f"{_shown(self._where)}: {problem}; free space or set TMPDIR")

    def append(self, block: np.ndarray) -> None:
        """Add ``[channels, samples]`` at the end; raise OutputError when the disk is full."""
        if not block.size:
            return
        data = np.ascontiguousarray(block.T, dtype="<f4").data.cast("B")
        try:
            self._file.seek(0, os.SEEK_END)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise self._full(error) from error
        self.frames += block.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return float32 ``[channels, stop - start]``, zeros outside the file; ``start`` may be negative."""
        out = np.zeros((self.channels, max(stop - start, 0)), np.float32)
        first, last = max(start, 0), min(stop, self.frames)
        if first < last:
            self._file.seek(first * self.channels * 4)
            data = np.empty((last - first, self.channels), "<f4")
            view = data.data.cast("B")
            while view:
                view = view[self._file.readinto(view) :]
            out[:, first - start : last - start] = data.T
        return out

    def blocks(self, frames: int = 65536) -> Iterator[np.ndarray]:
        """Yield everything as ``[channels, <= frames]``; may be called again."""
        for start in range(0, self.frames, frames):
            yield self.read(start, min(start + frames, self.frames))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def resample_blocks(blocks: Blocks, rate_in: int, rate_out: int, channels: int, frames_in: int) -> Iterator[np.ndarray]:
    """Yield ``blocks`` at the new rate, without delay: ``ceil(frames_in * rate_out / rate_in)`` in all."""
    if rate_in == rate_out:
        yield from blocks
        return
    total = -(-frames_in * rate_out // rate_in)
    stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
    done = 0
    # soxr rounds the length down: more silence makes it give the last sample too
    silence = np.zeros((channels, 2 * rate_in // rate_out + 2), np.float32)
    for block, last in _and_last(blocks, silence):
        out = stream.resample_chunk(np.ascontiguousarray(block.T), last=last)[: total - done]
        done += len(out)
        if len(out):
            yield np.ascontiguousarray(out.T)
    if done < total:
        yield np.zeros((channels, total - done), np.float32)


def _and_last(blocks: Blocks, last: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    for block in blocks:
        yield block, False
    yield last, True


def output_format(info: SourceInfo, depth: str, suffix: str | None = None) -> tuple[str, str, str]:
    """Return (container, subtype, file suffix) of the output.

    ``depth`` is "source", "16", "24" or "32f"; ``suffix`` forces a container. Lossy becomes 24-bit WAV.
    Raises OptionError for unknown names and for a depth that the container cannot hold.
    """
    if depth != "source" and depth not in _DEPTHS:
        raise unknown("bit depth", depth, ["source", *_DEPTHS])
    if suffix is not None and suffix.lower() not in _SUFFIXES:
        raise unknown("output suffix", suffix, _SUFFIXES)
    family = _SUFFIXES[suffix.lower()] if suffix else _KEPT.get(info.container, "WAV")
    container = info.container if _KEPT.get(info.container) == family else family
    own = info.path.suffix
    if suffix is None:
        default = next(key for key, value in _SUFFIXES.items() if value == family)
        suffix = own if _SUFFIXES.get(own.lower()) == family else default
    if depth == "source":
        kept = info.subtype if info.container in _KEPT and info.subtype in _WIDTHS else "PCM_24"
        subtype = {"PCM_U8": "PCM_16", "ULAW": "PCM_24", "ALAW": "PCM_24"}.get(kept, kept)
        subtype = "PCM_16" if info.subtype == "PCM_S8" else subtype
    else:
        subtype = _DEPTHS[depth]
    if container == "FLAC" and subtype not in ("PCM_16", "PCM_24"):
        raise OptionError(f"FLAC holds 16 or 24 bits, not {subtype}: name the output .wav, or use --depth 24")
    return container, subtype, suffix


def fit_name(name: str, limit: int = 255) -> str:
    """Return ``name``, its stem shortened and marked with a hash when it is longer than ``limit`` bytes."""
    data = os.fsencode(name)
    if len(data) <= limit:
        return name
    suffix = os.path.splitext(data)[1]
    suffix = suffix if len(suffix) <= 16 else b""
    tail = b"~" + hashlib.sha256(data).hexdigest()[:8].encode() + suffix
    end = limit - len(tail)
    while end and data[end] & 0xC0 == 0x80:  # not within a UTF-8 character
        end -= 1
    return os.fsdecode(data[:end] + tail)


def _encoded(blocks: Blocks, subtype: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (``[samples, channels]`` as the file will hold it, samples clipped); the same every time."""
    kind = {"FLOAT": "<f4", "DOUBLE": "<f8"}.get(subtype)
    bits = 8 * _WIDTHS[subtype]
    scale = 2.0 ** (bits - 1)
    dither = np.random.default_rng(0)
    for block in blocks:
        if not np.isfinite(block).all():
            raise OutputError("the render holds a value that is not a number; nothing was written")
        if kind:
            yield np.ascontiguousarray(block.T, dtype=kind), 0
            continue
        data = block.T.astype(np.float64)
        clipped = int(np.count_nonzero(np.abs(data) > 1.0))
        sounding = data != 0.0
        data *= scale
        if bits == 16:
            uniform = dither.random((*data.shape, 2))
            data += (uniform[..., 0] - uniform[..., 1]) * sounding  # digital silence stays silent
        whole = np.clip(np.rint(data), -scale, scale - 1).astype(np.int32)
        yield whole << (32 - bits), clipped


def _encode(
    path: Path, blocks: Blocks, rate: int, channels: int, container: str, subtype: str
) -> tuple[int, int] | None:
    """Write the file and return (frames, samples clipped), or None when it outgrows a 32-bit header."""
    frames = clipped = 0
    with sf.SoundFile(os.fsencode(path), "w", rate, channels, subtype, format=container) as file:
        for data, over in _encoded(blocks, subtype):
            frames += len(data)
            clipped += over
            if container in ("WAV", "WAVEX", "AIFF") and frames * channels * _WIDTHS[subtype] > _RIFF_LIMIT:
                return None
            file.write(data)
    for name, start, _ in _chunks(path):
        if name == b"PEAK":
            with path.open("r+b") as raw:  # its time of writing would change the checksum of equal renders
                raw.seek(start + 4)
                raw.write(bytes(4))
    return frames, clipped


def _verify(path: Path, blocks: Blocks, rate: int, channels: int, frames: int, subtype: str) -> str | None:
    """Read the file back; return what differs from ``blocks``, or None."""
    with sf.SoundFile(os.fsencode(path)) as file:
        if (file.samplerate, file.channels, file.frames) != (rate, channels, frames):
            return f"{file.frames} samples in {file.channels} channels at {file.samplerate} Hz"
        kind = {"FLOAT": "float32", "DOUBLE": "float64"}.get(subtype, "int32")
        for data, _ in _encoded(blocks, subtype):
            if not np.array_equal(file.read(len(data), dtype=kind, always_2d=True), data):
                return "other samples"
    return None


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network shares cannot sync a folder
            raise
    finally:
        os.close(handle)


def _hidden(target: Path) -> Path:
    tail = f".{secrets.token_hex(4)}.partial{target.suffix}"
    return target.with_name("." + fit_name(target.stem, 254 - len(os.fsencode(tail))) + tail)


def write_atomic(
    target: Path | str,
    blocks: Callable[[], Blocks],
    rate: int,
    channels: int,
    container: str,
    subtype: str,
) -> Written:
    """Write ``blocks()`` so that ``target`` is complete, synced and read back, or is not touched at all.

    ``blocks`` is called at least twice and must give the same audio each time. PCM is clipped at full scale,
    16 bits get TPDF dither (the same one each time). A WAV above 4 GB becomes RF64.
    Raises OutputError, and leaves nothing behind, when the disk is full or the file reads back differently.
    """
    target = Path(target)
    if not target.parent.is_dir():
        raise OutputError(f"{_shown(target)}: its folder does not exist; create it or choose another")
    temporary = _hidden(target)
    try:
        size = _encode(temporary, blocks(), rate, channels, container, subtype)
        if size is None and container != "AIFF":
            size = _encode(temporary, blocks(), rate, channels, "RF64", subtype)
        if size is None:
            raise OutputError(f"{_shown(target)}: AIFF ends at 4 GB; name the output .wav")
        _sync(temporary, os.O_RDWR)
        wrong = _verify(temporary, blocks(), rate, channels, size[0], subtype)
        if wrong:
            raise OutputError(f"{_shown(target)}: read back with {wrong}; check the disk and render again")
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        temporary.replace(target)
        _sync(target.parent, os.O_RDONLY)
    except (OSError, sf.SoundFileError) as error:
        free = shutil.disk_usage(target.parent).free // 10**6
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        problem = f"could not be written ({reason.rstrip('.')}; {free} MB free)"
        todo = "free space, check permissions or choose another folder"
        raise OutputError(f"{_shown(target)}: {problem}: {todo}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Written(target, size[0], digest, size[1])
