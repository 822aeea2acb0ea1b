"""Renders that go into video, or into the codecs of players: planned before the search, written after it."""

import contextlib
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from ttsr_studio.audio.decode import SourceInfo
from ttsr_studio.audio.encode import Written
from ttsr_studio.audio.formats import media_format
from ttsr_studio.audio.media.forms import KINDS, Sound, bitrate_for, rate_for
from ttsr_studio.audio.media.mux import Muxer, Original
from ttsr_studio.audio.media.streams import Notes
from ttsr_studio.audio.media.write import Render, write_media
from ttsr_studio.errors import InputError, OutputError, shown
from ttsr_studio.options import RenderOptions
from ttsr_studio.report.file_records import MetadataInfo


def original_of(info: SourceInfo, options: RenderOptions) -> Original:
    """The source, as what new audio goes with."""
    keep = options.keep_original_audio
    if info.media is None:
        return Original(info.path, keep=keep)
    return Original(info.path, info.media.track.index, Fraction(info.media.start).limit_denominator(10**6), keep)


def planned_sound(info: SourceInfo, options: RenderOptions, target: Path) -> tuple[str, Sound]:
    """Container and new audio of an output of an ending of `KINDS`.

    Raises OptionError for options that the container cannot follow, OutputError for a source that it cannot hold.
    """
    suffix, asked = target.suffix.lower(), options.bits_per_second
    wanted = info.rate if options.rate == "source" else int(options.rate)
    original = original_of(info, options)
    try:
        with av.open(str(info.path), metadata_errors="replace") as source:
            chosen = original.audio(source)
            codec = chosen.codec_context.name if chosen and chosen.codec_context else ""
            layout = chosen.layout.name if chosen and chosen.channels == info.channels else ""
            container, subtype = media_format(info, options.depth, suffix, asked, codec)
            rate = rate_for(suffix, subtype, wanted, fixed=options.rate != "source")
            sound = Sound(subtype, rate, info.channels, layout, bitrate_for(subtype, info.channels, asked))
            refuse_without_place(Muxer(source, original, KINDS[suffix], Notes()), sound)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{shown(info.path)}: its streams cannot be read ({error.strerror}); "
                         "name the output .wav") from error  # fmt: skip
    return container, sound


def refuse_without_place(muxer: Muxer, sound: Sound) -> None:
    """Raise OutputError where a container has no place for what is in the source: before hours are spent on it."""
    if sound.codec.encoder != "libvorbis":
        try:
            out, _ = muxer.begin(io.BytesIO(), sound, {})
            with contextlib.suppress(av.FFmpegError):
                out.close()  # an MXF that holds nothing is an error to FFmpeg
        except (av.FFmpegError, OSError) as error:
            raise OutputError(
                f"{shown(muxer.original.path)}: cannot become {muxer.kind.muxer} ({error.strerror}); name the output "
                ".mov or .mkv, or .wav for audio only"
            ) from error


def write_beside_picture(
    target: Path,
    render: Render,
    info: SourceInfo,
    options: RenderOptions,
    replace: bool,
    ready: Callable[[str], None],
) -> tuple[Written, MetadataInfo]:
    """Write a render into a copy of its source, or into a file of a codec of players, with its tags."""
    written, notes = write_media(target, render, original_of(info, options), replace, ready)
    warnings = [*notes.warnings, *said_of(target.suffix.lower(), render.sound, info, options)]
    return written, MetadataInfo(tuple(dict.fromkeys(notes.carried)), dict(notes.left_out), warnings)


def said_of(suffix: str, sound: Sound, info: SourceInfo, options: RenderOptions) -> list[str]:
    """What somebody has to know of the codec."""
    said, kind = [], KINDS[suffix]
    if sound.codec.lossy:
        asked = options.bits_per_second is not None or not kind.picture
        why = "" if asked else f", as {suffix} holds nothing lossless: name the output .mkv, or .wav for audio only"
        said.append(f"lossy: {sound.words}{why}")
    if options.rate == "source" and sound.rate != info.rate:
        said.append(f"at {sound.rate} Hz, as {sound.subtype} in {suffix} does not take {info.rate} Hz")
    if not kind.exact:
        said.append(f"{sound.codec.padding} samples late in players: {suffix} cannot say where the audio begins")
    return said
