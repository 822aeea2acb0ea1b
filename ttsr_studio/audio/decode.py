"""Audio files: probe, streamed reading, resampling, and writing that is complete or not there at all.

Arrays are float32 ``[channels, samples]``, full scale 1.0. Memory is bounded by the block, not by the file.
"""

import contextlib
import glob
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile as sf

from ttsr_studio.audio.container.chunks import beyond_chunks
from ttsr_studio.audio.container.counting import flac_end, is_chained, mp3_count, ogg_end
from ttsr_studio.audio.container.sound import AudioPart, bad_file, find_audio, is_native, sound_file
from ttsr_studio.audio.libav.media import Media, NotMediaError, look, read
from ttsr_studio.errors import ChangedError, InputError, shown

RATE_RANGE = (8000, 384000)
MAX_CHANNELS = 32
_ABSURD = 1e6
_UNKNOWN = 2**48  # libsndfile says 2**63-1 for a FLAC of unknown length
_MP3_SLACK = 2 * 1152  # encoders count their own info frame
_MP3_DELAY = 2 * 1152  # what encoders put before and after the audio, and do not count
_NO_LENGTH = "the header gives no length: read to the end of the file"
_SALVAGE = "export it again, or use --salvage to render what is there"


Blocks = Iterable[np.ndarray]
Identity = tuple[int, int, int]


@dataclass(frozen=True)
class SourceInfo:
    """What a readable file holds; ``frames`` is what can be read, ``warnings`` is for the report.

    ``raw_offset`` is where the audio starts when no header gives its length: all from there on is audio; ``media``
    is the stream of a file that FFmpeg reads, None where soundfile does.
    """

    path: Path
    container: str
    subtype: str
    rate: int
    channels: int
    frames: int
    identity: Identity  # size, modification time in ns, inode
    warnings: tuple[str, ...] = ()
    raw_offset: int | None = None
    media: Media | None = None

    @property
    def format(self) -> str:
        """Container and codec in words."""
        codec = self.media.codec.upper() if self.media and self.container != "FLAC" else self.subtype
        return f"{self.container} {codec}"


class _NotNativeError(Exception):
    """soundfile does not read a file; `refusal` is for the user where nothing else reads it."""

    def __init__(self, refusal: InputError) -> None:
        self.refusal = refusal


def name_advice(path: Path) -> str:
    """What to do about a file that is not there, or cannot be looked at."""
    pattern = str(path)
    gone = [folder for folder in path.parents if not folder.exists()]
    if gone and not glob.has_magic(pattern):
        return f"the folder {shown(gone[-1])} is not there: check its name, and that its disk or share is mounted"
    if not glob.has_magic(pattern):
        return "check its name and permissions"
    found = next(glob.iglob(pattern), None)
    quoted = "leave the quotes out, so that the shell makes names of it" if found else "no name fits it"
    return f"{quoted}; or give the folder, which takes all below it"


def _identity(path: Path) -> Identity:
    try:
        status = path.stat() if stat.S_ISLNK(path.lstat().st_mode) else path.lstat()
    except OSError as error:
        raise bad_file(path, f"cannot be opened ({error.strerror}); {name_advice(path)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise bad_file(path, "is not a regular file; give an audio file, not a folder, pipe or device")
    return status.st_size, status.st_mtime_ns, status.st_ino


def _inspect(path: Path, audio: AudioPart | None, salvage: bool) -> tuple[str, ...]:
    """Return warnings; raise InputError when the audio is cut short, or goes on outside what its header says."""
    end = None if audio else ogg_end(path)
    if audio:
        if audio.declared is None:
            return (_NO_LENGTH,)
        outside = beyond_chunks(path) if audio.declared <= audio.held else 0
        if audio.declared <= audio.held and not outside:
            return ()
        if outside:
            whole = audio.declared + outside
            problem = f"its header counts {audio.declared} bytes of audio, {outside} of {whole} lie outside it"
        else:
            problem = f"cut short: its header promises {audio.declared} bytes of audio and {audio.held} are there"
    elif end == "open":
        return ("its last page is not marked as the last, as in a recording that was broken off: read to the end",)
    elif end == "cut":
        problem = "cut short: its end is missing"
    else:
        return ()
    if not salvage:
        raise bad_file(path, f"{problem}; {_SALVAGE}")
    return (problem,)


def _decode(info: SourceInfo, block: int) -> Iterator[np.ndarray]:
    done, frames = 0, info.frames
    with sound_file(info.path, info.raw_offset is not None) as file:
        # never past `frames`: a decoder that meets damage loses the whole block
        while len(samples := file.read(min(block, frames - done), dtype="float32", always_2d=True)):
            done += len(samples)
            yield np.ascontiguousarray(samples.T)


def _decodable(info: SourceInfo) -> int:
    frames = 0
    with contextlib.suppress(sf.SoundFileError):  # damage is where the count ends
        for block in _decode(info, 1024):
            frames += block.shape[1]
    return frames


def _header(path: Path, identity: Identity, salvage: bool) -> SourceInfo:
    audio = None
    try:
        audio = find_audio(path)
        warnings = _inspect(path, audio, salvage)
        to_end = audio is not None and (audio.declared is None or bool(beyond_chunks(path) and salvage))
        with sound_file(path, to_end) as file:
            layout = file.format, file.subtype, file.samplerate, file.channels, file.frames
    except OSError as error:
        raise bad_file(path, f"cannot be read ({error.strerror}); check its permissions") from error
    except sf.SoundFileError as error:
        todo = "export it again" if audio else "convert it to WAV first"
        # what libsndfile says of an MP3 without a whole frame
        reason = "nothing to decode" if "regular file" in error.error_string else error.error_string.rstrip(".")
        refusal = bad_file(path, f"is not audio that can be read ({reason}); {todo}")
        raise refusal if is_native(path) else _NotNativeError(refusal) from error
    return SourceInfo(path, *layout, identity, warnings, audio.start if audio and to_end else None)


def _by_ffmpeg(info: SourceInfo, salvage: bool, warning: str) -> SourceInfo:
    """A FLAC, MP3 or Ogg as FFmpeg reads it, which finds its end, and goes on behind damage.

    Raises InputError for damage.
    """
    try:
        media = look(info.path, None, salvage)
    except NotMediaError as error:
        raise bad_file(info.path, f"is not audio that can be read; {_SALVAGE}") from error
    if (media.rate, media.channels) != (info.rate, info.channels):
        problem = f"holds {media.rate} Hz, {media.channels} channels, its header says {info.rate} Hz, {info.channels}"
        raise bad_file(info.path, f"{problem}; export it again")
    return replace(info, frames=media.frames, warnings=(*info.warnings, warning, *media.warnings), media=media)


def _uncounted(info: SourceInfo, there: int, salvage: bool) -> str:
    """What is wrong with a header that counts less than there is; raises InputError unless ``salvage``."""
    places = f"{info.frames / info.rate:.2f} of {there / info.rate:.2f} s"
    problem = f"its header counts {info.frames} samples and {there} are there ({places})"
    if not salvage:
        raise bad_file(info.path, f"{problem}; {_SALVAGE}")
    return problem


def _whole_flac(info: SourceInfo, salvage: bool) -> SourceInfo:
    """A FLAC whose last frame lies beyond what its header counts; FFmpeg reads on to the end."""
    if info.frames >= _UNKNOWN:
        return _by_ffmpeg(info, salvage, _NO_LENGTH)
    if flac_end(info.path) <= info.frames:
        return info
    whole = _by_ffmpeg(info, salvage, "")
    if whole.frames <= info.frames:
        return info
    problem = _uncounted(info, whole.frames, salvage)
    return replace(whole, warnings=tuple(problem if told == "" else told for told in whole.warnings))


def _whole_mp3(info: SourceInfo, salvage: bool) -> SourceInfo:
    """An MP3 whose header counts fewer frames than there are, or counts none, so that libsndfile guesses."""
    count = mp3_count(info.path)
    if count is None or count.samples * count.frames <= info.frames + _MP3_SLACK + _MP3_DELAY:
        return info
    if not count.head:
        return _by_ffmpeg(info, salvage, _NO_LENGTH)
    with sound_file(info.path, True) as file:
        frames = file.frames
    told = _uncounted(info, frames, salvage) if count.declared else _NO_LENGTH
    return replace(info, frames=frames, warnings=(*info.warnings, told), raw_offset=0)


def _counted(info: SourceInfo, salvage: bool) -> SourceInfo:
    """Correct ``frames`` where the header cannot be trusted."""
    if info.container == "FLAC":
        info = _whole_flac(info, salvage)
    elif info.container == "MP3":
        info = _whole_mp3(info, salvage)
    elif info.container == "OGG" and is_chained(info.path):
        return _by_ffmpeg(info, salvage, "holds one stream behind the other: read as one")
    if info.media or not (salvage or info.container == "MP3"):
        return info
    frames = _decodable(info)
    if info.container == "FLAC" and frames < info.frames:
        return _by_ffmpeg(info, salvage, f"cut short: its header promises {info.frames} samples")
    if info.frames - frames <= _MP3_SLACK * (info.container == "MP3"):
        warnings = info.warnings
    else:
        problem = f"cut short: {frames} of {info.frames} samples can be decoded"
        if not salvage:
            raise bad_file(info.path, f"{problem}; {_SALVAGE}")
        warnings = (*info.warnings, problem)
    return replace(info, frames=frames, warnings=warnings)


def _native_or_media(path: Path, identity: Identity, salvage: bool, stream: str | None) -> SourceInfo:
    """What soundfile says of a file, or FFmpeg where soundfile does not read it."""
    try:
        info = _header(path, identity, salvage)
    except _NotNativeError as error:
        try:
            media = look(path, stream, salvage)
        except NotMediaError:
            raise error.refusal from error
        layout = media.container, media.subtype, media.rate, media.channels, media.frames
        return SourceInfo(path, *layout, identity, media.warnings, media=media)
    if stream is not None and stream.isdigit() and stream != "1":
        raise bad_file(path, f"has one audio stream; --stream {stream} is not there, leave it out")
    return info


def probe(path: Path | str, salvage: bool = False, stream: str | None = None) -> SourceInfo:
    """Look at a file's header; raise InputError when it cannot be used.

    MP3, whose headers err, and what FFmpeg reads is decoded. With ``salvage`` a file that is cut short passes with a
    warning, and ``frames`` is what can be decoded. ``stream`` is an audio stream's number, from 1 on, or language.
    """
    path = Path(path)
    identity = _identity(path)
    if identity[0] == 0:
        raise bad_file(path, "is empty (0 bytes); export it again")
    info = _native_or_media(path, identity, salvage, stream)
    if not RATE_RANGE[0] <= info.rate <= RATE_RANGE[1]:
        raise bad_file(
            path, f"has a rate of {info.rate} Hz; convert it to one from {RATE_RANGE[0]} to {RATE_RANGE[1]} Hz"
        )
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise bad_file(path, f"has {info.channels} channels; split it into files of at most {MAX_CHANNELS}")
    info = info if info.media else _counted(info, salvage)
    if info.frames == 0:
        raise bad_file(path, "is empty: it holds no audio; export it again")
    return info


def read_stretches(info: SourceInfo, stretches: Iterable[tuple[int, int]], block: int = 65536) -> Iterator[np.ndarray]:
    """Yield parts of a file, [start, stop) in samples each, as float32 ``[channels, <= block]``, and no more of it.

    Raises InputError for what cannot be decoded.
    """
    try:
        with sound_file(info.path) as file:
            for start, stop in stretches:
                file.seek(start)
                while start < stop and len(samples := file.read(min(block, stop - start), "float32", always_2d=True)):
                    start += len(samples)
                    yield np.ascontiguousarray(samples.T)
    except (sf.SoundFileError, OSError) as error:
        raise bad_file(info.path, f"is damaged ({error}); {_SALVAGE}") from error


def _check_unchanged(info: SourceInfo) -> None:
    if _identity(info.path) != info.identity:
        raise ChangedError(f"{shown(info.path)}: changed while it was read; render it again when it is finished")


def _check_values(info: SourceInfo, block: np.ndarray, start: int) -> None:
    good = np.abs(block) <= _ABSURD  # False for NaN too
    if not good.all():
        sample = int(np.argmin(good.all(axis=0)))
        channel = int(np.argmin(good[:, sample]))
        value = f"channel {channel + 1}, sample {start + sample} is {block[channel, sample]:g}"
        raise bad_file(info.path, f"{value}, which is not audio; repair or export it again")


def read_blocks(info: SourceInfo, frames: int = 65536, salvage: bool = False) -> Iterator[np.ndarray]:
    """Yield the audio as float32 ``[channels, <= frames]``.

    Raises InputError for NaN, infinite or absurd values, for a file that ends early (unless ``salvage``),
    and for one that was replaced since `probe`.
    """
    _check_unchanged(info)
    blocks = read(info.path, info.media, salvage) if info.media else _decode(info, frames)
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
        done = done if info.media else max(done, _decodable(info))  # a block that holds damage was not handed on
        problem = f"{reason} at {done / info.rate:.2f} s: {done} of {info.frames} samples could be read"
        raise bad_file(info.path, f"{problem}; {_SALVAGE}")
