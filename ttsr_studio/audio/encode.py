"""Writing audio files so that what bears the final name is complete, synced and read back."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from ttsr_studio.audio.container.chunks import chunks
from ttsr_studio.audio.container.insert import NOTHING, Insert, lost_chunks, set_format, weave
from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.formats import WIDTHS
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.storage.atomic import hidden, publish, sync_file, sync_folder
from ttsr_studio.storage.checksum import sha256
from ttsr_studio.storage.names import for_libsndfile

_RIFF_LIMIT = 2**32 - 2**20  # room for the other chunks


@dataclass(frozen=True)
class Encoding:
    """What a file is written as: rate in Hz; container and subtype as soundfile names them."""

    rate: int
    channels: int
    container: str
    subtype: str


@dataclass(frozen=True)
class Written:
    """A finished output, and its checksum."""

    path: Path
    frames: int
    sha256: str


def quantised(blocks: Blocks, subtype: str) -> Iterator[np.ndarray]:
    """Yield ``[samples, channels]`` as the file will hold it; the same every time."""
    kind = {"FLOAT": "<f4", "DOUBLE": "<f8"}.get(subtype)
    bits = 8 * WIDTHS[subtype]
    scale = 2.0 ** (bits - 1)
    dither = np.random.default_rng(0)
    for block in blocks:
        if not np.isfinite(block).all():
            raise OutputError("the render holds a value that is not a number; nothing was written")
        if kind:
            yield np.ascontiguousarray(block.T, dtype=kind)
            continue
        data = block.T.astype(np.float64)
        sounding = data != 0.0
        data *= scale
        if bits == 16:
            uniform = dither.random((*data.shape, 2))
            data += (uniform[..., 0] - uniform[..., 1]) * sounding  # digital silence stays silent
        whole = np.clip(np.rint(data), -scale, scale - 1).astype(np.int32)
        yield whole << (32 - bits)


def _encode(path: Path, blocks: Blocks, encoding: Encoding, limit: int) -> int | None:
    """Write the file and return its frames, or None when its audio outgrows ``limit`` bytes."""
    rate, channels, container, subtype = astuple(encoding)
    frames = 0
    with sf.SoundFile(for_libsndfile(path), "w", rate, channels, subtype, format=container) as file:
        for data in quantised(blocks, subtype):
            frames += len(data)
            if container in ("WAV", "WAVEX", "AIFF") and frames * channels * WIDTHS[subtype] > limit:
                return None
            file.write(data)
    for name, start, _ in chunks(path):
        if name == b"PEAK":
            with path.open("r+b") as raw:  # its time of writing would change the checksum of equal renders
                raw.seek(start + 4)
                raw.write(bytes(4))
    return frames


def _difference(path: Path, blocks: Blocks, encoding: Encoding, frames: int) -> str | None:
    """Read the file back; return what differs from ``blocks``, or None."""
    with sf.SoundFile(for_libsndfile(path)) as file:
        if (file.samplerate, file.channels, file.frames) != (encoding.rate, encoding.channels, frames):
            return f"{file.frames} samples in {file.channels} channels at {file.samplerate} Hz"
        kind = {"FLOAT": "float32", "DOUBLE": "float64"}.get(encoding.subtype, "int32")
        for data in quantised(blocks, encoding.subtype):
            if not np.array_equal(file.read(len(data), dtype=kind, always_2d=True), data):
                return "other samples"
    return None


def write_audio(
    target: Path | str,
    blocks: Callable[[], Blocks],
    encoding: Encoding,
    insert: Insert = NOTHING,
    replace: bool = True,
    ready: Callable[[str], None] = lambda checksum: None,
) -> Written:
    """Write ``blocks()`` so that ``target`` is complete, synced and read back, or is not touched at all.

    ``blocks`` is called at least twice and must give the same audio each time. PCM holds nothing beyond full scale: the
    gain is to see to that. 16 bits get TPDF dither (the same one each time). A WAV above 4 GB becomes RF64. Metadata
    to ``insert`` takes a second copy of the file beside the first, so that for a moment there is room needed for both.
    ``ready`` is told the checksum before the file gets its name.
    Raises OutputError, and leaves nothing behind, when the disk is full or the file reads back differently, and without
    ``replace`` when something has the name by then.
    """
    target = Path(target)
    return write_whole(target, lambda temporary: _write(temporary, target, blocks, encoding, insert), replace, ready)


def write_whole(
    target: Path, make: Callable[[Path], int], replace: bool, ready: Callable[[str], None] = lambda checksum: None
) -> Written:
    """Have a file made under a temporary name, and give it its own when it is complete.

    Args:
        make: writes, syncs and reads back the file of the name that it is given; returns its frames.
        ready: is told the checksum before the file gets its name.

    Raises OutputError, see `write_audio`.
    """
    if not target.parent.is_dir():
        raise OutputError(f"{shown(target)}: its folder does not exist; create it or choose another")
    temporary = hidden(target)
    try:
        frames = make(temporary)
        digest = sha256(temporary)
        ready(digest)
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
    return Written(target, frames, digest)


def _write(temporary: Path, target: Path, blocks: Callable[[], Blocks], encoding: Encoding, insert: Insert) -> int:
    """Write, sync and read back under a temporary name; return the frames."""
    limit = _RIFF_LIMIT - insert.size
    size = _encode(temporary, blocks(), encoding, limit)
    if size is None and encoding.container != "AIFF":
        encoding = Encoding(encoding.rate, encoding.channels, "RF64", encoding.subtype)
        size = _encode(temporary, blocks(), encoding, limit)
    if size is None:
        raise OutputError(f"{shown(target)}: AIFF ends at 4 GB; name the output .wav")
    insert = insert.for_rf64() if encoding.container == "RF64" else insert
    set_format(temporary, insert)
    if insert.chunks:
        woven = hidden(target)
        try:
            weave(temporary, woven, insert)
            woven.replace(temporary)
        finally:
            woven.unlink(missing_ok=True)
    sync_file(temporary)
    wrong = _difference(temporary, blocks(), encoding, size)
    wrong = wrong or ("other metadata" if lost_chunks(temporary, insert) else None)
    if wrong:
        raise OutputError(f"{shown(target)}: read back with {wrong}; check the disk and render again")
    return size
