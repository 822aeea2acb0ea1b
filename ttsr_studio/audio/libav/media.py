"""What a file that FFmpeg reads holds, and its audio.

Nothing here imports PyAV: a process of its own does, when there is such a file.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttsr_studio.audio.libav.process import DecoderDiedError, DecoderProcess
from ttsr_studio.audio.libav.samples import as_float
from ttsr_studio.errors import InputError, shown

SALVAGE = "export it again, or use --salvage to render what is there"
_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "MP4", "matroska,webm": "MATROSKA", "asf": "ASF", "mpegts": "MPEG-TS", "wv": "WV"}
_MOST_PLACES = 3


class NotMediaError(Exception):
    """FFmpeg does not know what this is."""


@dataclass(frozen=True)
class AudioTrack:
    """An audio stream of a file.

    Attributes:
        number: among the audio streams, from 1 on, as `--stream` takes it.
        index: among all streams, from 0 on.
        language: as the file has it, e.g. "eng"; "" where it says nothing.
        default: whether the file says that players take it.
    """

    number: int
    index: int
    codec: str
    channels: int
    rate: int
    language: str
    title: str
    default: bool

    @property
    def words(self) -> str:
        """As a line tells of it."""
        known = (self.language, self.title, self.codec, f"{self.channels} ch" if self.channels else "")
        return f"{self.number} ({', '.join(word for word in known if word)})"


@dataclass(frozen=True)
class Media:
    """An audio stream that was decoded once, to see all of it.

    Attributes:
        container, codec: as FFmpeg names them; `container` in our words.
        subtype: the sample format as soundfile names it where nothing was lost, e.g. PCM_24; else the codec.
        frames: samples per channel, with the silence where timestamps leave gaps, without the encoder's padding.
        mask: speakers, as WAVE_FORMAT_EXTENSIBLE has them; 0 where they are not known.
        start: seconds of the file's own clock at which its first sample belongs.
        tracks: all audio streams of the file; `track` is the one that was taken.
        pictures: how many video streams it has, covers left out.
        tags: what the file says besides, e.g. title.
        chapters: (seconds, title) of each, from the first sample on.
        warnings: for the report.
    """

    container: str
    codec: str
    subtype: str
    rate: int
    channels: int
    frames: int
    mask: int
    start: float
    track: AudioTrack
    tracks: tuple[AudioTrack, ...]
    pictures: int
    tags: Mapping[str, str]
    chapters: tuple[tuple[float, str], ...]
    warnings: tuple[str, ...]


def look(path: Path, choice: str | None, salvage: bool) -> Media:
    """Decode a file once, and tell what it holds.

    Args:
        choice: a stream's number or language; None for the file's own default.
        salvage: take what is there of a broken file, with a warning.

    Raises NotMediaError where FFmpeg knows no more than soundfile, and InputError for what is known and cannot be read.
    """
    listed = _answer(path, -1, "count", b"L")
    tracks = tuple(AudioTrack(number, **each) for number, each in enumerate(listed["streams"], 1))
    if not tracks:
        raise _bad(path, f"holds no audio ({listed['others'] or 'no streams'}); give a file with a sound track")
    track = _chosen(path, tracks, choice)
    found: dict[str, Any] = {}
    with DecoderProcess(path, track.index, "count+salvage" if salvage else "count") as process:
        for kind, content in _watched(path, process):
            if kind in b"HE":
                found |= json.loads(content)
    _refuse_problems(path, found, salvage)
    if "rate" not in found:
        raise _bad(path, "holds no audio that can be decoded; export it again")
    warnings = (*_told_of_choice(track, tracks, choice), *_told_of_time(found), *_told_of_damage(found))
    own = ("codec", "subtype", "rate", "channels", "frames", "mask", "start", "tags")
    known = {name: found[name] for name in own}
    known["chapters"] = tuple((seconds, title) for seconds, title in found["chapters"])
    container = _NAMES.get(found["container"], found["container"].split(",")[0].upper())
    return Media(container, track=track, tracks=tracks, pictures=listed["pictures"], warnings=warnings, **known)


def read(path: Path, media: Media, salvage: bool) -> Iterator[NDArray[np.float32]]:
    """Yield the audio that `look` counted, [channels, samples]. Raises InputError where it cannot be read again."""
    form, done = "", 0
    with DecoderProcess(path, media.track.index, "read+salvage" if salvage else "read") as process:
        for kind, content in _watched(path, process):
            if kind == b"F":
                form = content.decode()
            elif kind == b"A":
                block = as_float(content, form, media.channels)
                done += block.shape[1]
                yield block
            elif kind == b"Z":
                left = struct.unpack("<Q", content)[0]
                while left:
                    block = np.zeros((media.channels, min(left, 1 << 16)), np.float32)
                    left -= block.shape[1]
                    done += block.shape[1]
                    yield block
            elif kind == b"E":
                _refuse_problems(path, json.loads(content), salvage)


def _bad(path: Path, problem: str) -> InputError:
    return InputError(f"{shown(path)}: {problem}")


def _answer(path: Path, stream: int, mode: str, wanted: bytes) -> dict[str, Any]:
    """The one answer that is wanted."""
    with DecoderProcess(path, stream, mode) as process:
        for kind, content in _watched(path, process):
            if kind == wanted:
                answer: dict[str, Any] = json.loads(content)
                return answer
    raise NotMediaError


def _watched(path: Path, process: DecoderProcess) -> Iterator[tuple[bytes, bytes]]:
    """What a process says; what it refuses, and its end before time, are errors."""
    at = 0
    try:
        for kind, content in process.messages():
            if kind == b"R":
                raise _refusal(path, json.loads(content))
            if kind == b"P":
                at = struct.unpack("<Q", content)[0]
            yield kind, content
    except DecoderDiedError as error:
        where = f" after {at} samples" if at else ""
        raise _bad(path, f"is broken: the decoder {error}{where}; export it again") from error


def _refusal(path: Path, told: dict[str, str]) -> Exception:
    """The error for a file that is not decoded at all."""
    match told["reason"]:
        case "encrypted":
            return _bad(path, "is encrypted (DRM); give a copy without copy protection")
        case "no decoder":
            return _bad(path, "its audio is of a codec that cannot be decoded; convert it to WAV first")
    return NotMediaError()


def _chosen(path: Path, tracks: tuple[AudioTrack, ...], choice: str | None) -> AudioTrack:
    """The stream of that number or language; the file's default, or its first, without a choice."""
    found = [track for track in tracks if choice in (None, str(track.number), track.language)]
    if not found and len(tracks) == 1 and tracks[0].language in ("", "und") and not str(choice).isdigit():
        return tracks[0]  # it may well be
    if not found:
        there = ", ".join(track.words for track in tracks)
        raise _bad(path, f"has no audio stream {choice!r}; its streams: {there}; give --stream a number or a language")
    return next((track for track in found if track.default), found[0])


def _refuse_problems(path: Path, found: dict[str, Any], salvage: bool) -> None:
    """Raise InputError for damage, unless what is there is to be taken."""
    if found.get("problems") and not salvage:
        seconds, problem = found["problems"][0]
        raise _bad(path, f"is damaged at {seconds:.2f} s: {problem}; {SALVAGE}")


def _told_of_choice(track: AudioTrack, tracks: tuple[AudioTrack, ...], choice: str | None) -> Iterator[str]:
    """Which of several streams was taken, unless its number was given."""
    if len(tracks) > 1 and choice != str(track.number):
        others = ", ".join(other.words for other in tracks if other is not track)
        yield f"audio stream {track.words} taken; --stream N or LANGUAGE takes another: {others}"


def _told_of_time(found: dict[str, Any]) -> Iterator[str]:
    """What timestamps and edit lists said, and what a decoder is known to drop."""
    if found["codec"] in ("wmav1", "wmav2"):
        yield "WMA: its decoder drops the first block; up to 2048 samples at the beginning may be missing"
    if found["edited"]:
        yield f"an edit list leaves {found['edited']}: what it cuts is not read"
    gaps = found["gaps"]
    if found["late"] and gaps:
        yield f"starts {found['late']:.3f} s late: silence before it"
        gaps = gaps[1:]
    if gaps:
        whole = sum(seconds for _, seconds in gaps)
        many = f"{len(gaps)} gaps, {whole:.3f} s in all" if len(gaps) > 1 else "a gap"
        yield f"timestamps leave {many}: silence at {_places(gaps)}"
    if found["jumps"]:
        places = ", ".join(f"{seconds:.2f} s" for seconds in found["jumps"][:_MOST_PLACES])
        more = " and later" if len(found["jumps"]) > _MOST_PLACES else ""
        yield f"timestamps jump at {places}{more}: audio goes on there without a cut"


def _places(gaps: list[tuple[float, float]]) -> str:
    """The first of these, in words."""
    told = ", ".join(f"{at:.2f} s ({seconds:.3f} s)" for at, seconds in gaps[:_MOST_PLACES])
    return f"{told} and later" if len(gaps) > _MOST_PLACES else told


def _told_of_damage(found: dict[str, Any]) -> Iterator[str]:
    """What could not be decoded, and what decoders complained of."""
    problems = found["problems"]
    if problems:
        told = "; ".join(f"at {seconds:.2f} s {problem}" for seconds, problem in problems[:_MOST_PLACES])
        more = f"; {len(problems) - _MOST_PLACES} places more" if len(problems) > _MOST_PLACES else ""
        yield f"damaged: {told}{more}"
    if found["early_damage"]:
        yield f"{found['early_damage']} packets before the first whole one left out"
    if found["log"] and not problems:
        yield f"the decoder complained: {found['log'][0][:200]}"
