"""Video with new audio, and audio in players' codecs, written so that what bears the final name is complete."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile as sf

from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.encode import Written, write_whole
from ttsr_studio.audio.media.encoder import sampled
from ttsr_studio.audio.media.forms import KINDS, Sound
from ttsr_studio.audio.media.mux import Muxer, Original
from ttsr_studio.audio.media.streams import Notes, same_family
from ttsr_studio.audio.media.verify import Exactness, difference
from ttsr_studio.errors import OutputError, shown
from ttsr_studio.storage.atomic import hidden, sync_file
from ttsr_studio.storage.names import for_libsndfile

_REFRAMED = ("mpegts", "mpeg", "vob", "asf", "ogg")
"""Muxers that may add to packets what their readers want, e.g. access unit delimiters."""


_OPTIONS = {
    ".m2ts": {"mpegts_m2ts_mode": "1"}, ".mts": {"mpegts_m2ts_mode": "1"},
    ".m4a": {"brand": "M4A "}, ".m4b": {"brand": "M4B "},
}  # fmt: skip
"""What muxers are told of files of an ending."""


@dataclass(frozen=True)
class Render:
    """New audio: what gives its blocks of float32 [channels, samples], the same each time, and how it is coded."""

    blocks: Callable[[], Blocks]
    sound: Sound


def write_media(
    target: Path,
    render: Render,
    original: Original,
    replace: bool = True,
    ready: Callable[[str], None] = lambda checksum: None,
) -> tuple[Written, Notes]:
    """Write a file of an ending of `KINDS`: its original with new audio, so that it is complete or not touched at all.

    The original's picture, subtitles, chapters, tags and the like go along, as far as the container has a place for
    them. Raises OutputError, and leaves nothing behind, when it has none for the picture, the disk is full, or the
    file reads back differently, and without `replace` when something has the name by then. `ready` is told the checksum
    before the file gets its name.
    """
    notes = Notes()

    def make(temporary: Path) -> int:
        with as_system_errors(temporary):
            return _make(temporary, target, render, original, notes)

    return write_whole(target, make, replace, ready), notes


def _make(temporary: Path, target: Path, render: Render, original: Original, notes: Notes) -> int:
    """Write, sync and read back under a temporary name; return the frames."""
    suffix, sound = target.suffix.lower(), render.sound
    kind = KINDS[suffix]
    options = _OPTIONS.get(suffix, {})
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(av.open(str(original.path), metadata_errors="replace"))
        ready, coded = None, 0
        if sound.codec.encoder == "libvorbis":
            ready = hidden(target.with_suffix(".ogg"))
            stack.callback(ready.unlink, missing_ok=True)
            coded = vorbis(ready, render)
        muxer = Muxer(source, original, kind, notes, ready)
        muxed = muxer.write(temporary, render.blocks(), sound, options)
        same = same_family(source, kind) and kind.muxer not in _REFRAMED
        exact = Exactness(
            same, trimmed=kind.exact, timed=kind.picture and bool(muxed.copies) and (same or kind.muxer != "asf")
        )
    sync_file(temporary)
    wrong = difference(temporary, render.blocks(), sound, muxed, exact)
    if wrong:
        raise OutputError(f"{shown(target)}: read back with {wrong}; check the disk and render again")
    return coded or muxed.frames


def vorbis(path: Path, render: Render) -> int:
    """Encode with libsndfile, whose Vorbis encoder is Xiph's own; FFmpeg's lags far behind it. Returns the frames."""
    sound = render.sound
    with sf.SoundFile(for_libsndfile(path), "w", sound.rate, sound.channels, "VORBIS", format="OGG",
                      compression_level=1 - quality(sound)) as file:  # fmt: skip
        for data in sampled(render.blocks(), "VORBIS"):
            file.write(np.ascontiguousarray(data.T))
        return int(file.frames)


def quality(sound: Sound) -> float:
    """The quality, 0 to 1, that comes to about a bit rate; nominal bit rates of Xiph's encoder for 44.1 and 48 kHz."""
    nominal = np.array([64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500]) * 1000 * sound.channels / 2
    return float(np.interp(sound.bitrate, nominal, np.linspace(0, 1, len(nominal))))


@contextlib.contextmanager
def as_system_errors(path: Path) -> Iterator[None]:
    """Raise what FFmpeg's libraries say of a file as the system's errors."""
    try:
        yield
    except av.FFmpegError as error:
        raise OSError(error.errno, str(error.strerror), str(path)) from error
