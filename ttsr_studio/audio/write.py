"""Writing audio files so that what bears the final name is complete, synced and read back."""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from ttsr_studio.audio.files import WIDTHS, Blocks, SourceInfo, chunks
from ttsr_studio.audio.riff import FAMILIES, NOTHING, Insert, lacks, set_format, weave
from ttsr_studio.errors import OptionError, OutputError, shown, unknown

_RIFF_LIMIT = 2**32 - 2**20  # room for the other chunks
_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
_SUFFIXES = {".wav": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".flac": "FLAC"}


@dataclass(frozen=True)
class Written:
    """A finished output: its checksum, and how many samples were beyond full scale and clipped."""

    path: Path
    frames: int
    sha256: str
    clipped: int


def output_format(info: SourceInfo, depth: str, suffix: str | None = None) -> tuple[str, str, str]:
    """Return (container, subtype, file suffix) of the output.

    ``depth`` is "source", "16", "24" or "32f"; ``suffix`` forces a container. Lossy becomes 24-bit WAV.
    Raises OptionError for unknown names and for a depth that the container cannot hold.
    """
    if depth != "source" and depth not in _DEPTHS:
        raise unknown("bit depth", depth, ["source", *_DEPTHS])
    if suffix is not None and suffix.lower() not in _SUFFIXES:
        raise unknown("output suffix", suffix, _SUFFIXES)
    family = _SUFFIXES[suffix.lower()] if suffix else FAMILIES.get(info.container, "WAV")
    container = info.container if FAMILIES.get(info.container) == family else family
    own = info.path.suffix
    if suffix is None:
        default = next(key for key, value in _SUFFIXES.items() if value == family)
        suffix = own if _SUFFIXES.get(own.lower()) == family else default
    if depth == "source":
        kept = info.subtype if info.container in FAMILIES and info.subtype in WIDTHS else "PCM_24"
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
    bits = 8 * WIDTHS[subtype]
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
    path: Path, blocks: Blocks, rate: int, channels: int, container: str, subtype: str, limit: int
) -> tuple[int, int] | None:
    """Write the file and return (frames, samples clipped), or None when its audio outgrows ``limit`` bytes."""
    frames = clipped = 0
    with sf.SoundFile(os.fsencode(path), "w", rate, channels, subtype, format=container) as file:
        for data, over in _encoded(blocks, subtype):
            frames += len(data)
            clipped += over
            if container in ("WAV", "WAVEX", "AIFF") and frames * channels * WIDTHS[subtype] > limit:
                return None
            file.write(data)
    for name, start, _ in chunks(path):
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


def sync_folder(folder: Path) -> None:
    """Make sure that names given in a folder outlive a power cut. Raises OSError."""
    if os.name != "nt":  # which cannot open folders
        _sync(folder, os.O_RDONLY)


def hidden(target: Path) -> Path:
    """A name beside a file that is used once, starts with a dot and ends as the file does."""
    tail = f".{secrets.token_hex(4)}.partial{target.suffix}"
    return target.with_name("." + fit_name(target.stem, 254 - len(os.fsencode(tail))) + tail)


def publish(temporary: Path, target: Path, replace: bool) -> None:
    """Give a finished file its name. Raises OutputError where the name is taken and is not to be replaced, OSError."""
    taken = OutputError(
        f"{shown(target)}: something else has made it meanwhile; it is left as it is; render again to another name"
    )
    if not replace:
        try:
            os.link(temporary, target)  # unlike a rename, this never takes a name from another file
            return
        except FileExistsError:
            raise taken from None
        except OSError:  # a file system without links
            if target.exists():
                raise taken from None
    temporary.replace(target)


def write_audio(
    target: Path | str,
    blocks: Callable[[], Blocks],
    rate: int,
    channels: int,
    container: str,
    subtype: str,
    insert: Insert = NOTHING,
    replace: bool = True,
) -> Written:
    """Write ``blocks()`` so that ``target`` is complete, synced and read back, or is not touched at all.

    ``blocks`` is called at least twice and must give the same audio each time. PCM is clipped at full scale,
    16 bits get TPDF dither (the same one each time). A WAV above 4 GB becomes RF64. Metadata to ``insert`` takes a
    second copy of the file beside the first, so that for a moment there is room needed for both.
    Raises OutputError, and leaves nothing behind, when the disk is full or the file reads back differently, and without
    ``replace`` when something has the name by then.
    """
    target = Path(target)
    if not target.parent.is_dir():
        raise OutputError(f"{shown(target)}: its folder does not exist; create it or choose another")
    temporary, woven = hidden(target), hidden(target)
    limit = _RIFF_LIMIT - insert.size
    try:
        size = _encode(temporary, blocks(), rate, channels, container, subtype, limit)
        if size is None and container != "AIFF":
            container = "RF64"
            size = _encode(temporary, blocks(), rate, channels, container, subtype, limit)
        if size is None:
            raise OutputError(f"{shown(target)}: AIFF ends at 4 GB; name the output .wav")
        insert = insert.for_rf64() if container == "RF64" else insert
        set_format(temporary, insert)
        if insert.chunks:
            weave(temporary, woven, insert)
            woven.replace(temporary)
        _sync(temporary, os.O_RDWR)
        wrong = _verify(temporary, blocks(), rate, channels, size[0], subtype)
        wrong = wrong or ("other metadata" if lacks(temporary, insert) else None)
        if wrong:
            raise OutputError(f"{shown(target)}: read back with {wrong}; check the disk and render again")
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        publish(temporary, target, replace)
        sync_folder(target.parent)
    except (OSError, sf.SoundFileError) as error:
        free = shutil.disk_usage(target.parent).free // 10**6
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        problem = f"could not be written ({reason.rstrip('.')}; {free} MB free)"
        todo = "free space, check permissions or choose another folder"
        raise OutputError(f"{shown(target)}: {problem}: {todo}") from error
    finally:
        temporary.unlink(missing_ok=True)
        woven.unlink(missing_ok=True)
    return Written(target, size[0], digest, size[1])
