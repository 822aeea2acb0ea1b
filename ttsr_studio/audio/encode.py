"""Writing audio files so that what bears the final name is complete, synced and read back."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from ttsr_studio.audio.container.chunks import chunks
from ttsr_studio.audio.container.insert import NOTHING, Insert, lacks, set_format, weave
from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.formats import WIDTHS
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.storage.atomic import _sync, hidden, publish, sync_folder

_RIFF_LIMIT = 2**32 - 2**20  # room for the other chunks


@dataclass(frozen=True)
class Written:
    """A finished output: its checksum, and how many samples were beyond full scale and clipped."""

    path: Path
    frames: int
    sha256: str
    clipped: int


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
