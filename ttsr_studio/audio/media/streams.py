"""What goes from a file of streams into its render as it is: picture, subtitles, other audio, chapters and tags.

Packets are copied and never decoded; they keep the bytes they have and the time they are at.
"""

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream
from av.video.stream import VideoStream

from ttsr_studio.audio.media.forms import Kind

_MOV = ("mp4", "mov", "3gp", "3g2")
_WITH_COVER = ("mp4", "mp3")
_WITH_CHAPTERS = (*_MOV, "matroska", "webm", "mp3", "ogg", "opus", "asf")
_NO_TEXT = b"\0\0"  # what lies between two subtitles of an MP4
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
_OF_THE_AUDIO = ("bps", "duration", "number_of_", "_statistics", "encoder", "vendor_id", "source_id", "replaygain_")
_PICTURES = {"mjpeg": ("image/jpeg", "jpg"), "png": ("image/png", "png"), "bmp": ("image/bmp", "bmp"),
             "gif": ("image/gif", "gif"), "webp": ("image/webp", "webp")}  # fmt: skip


@dataclass(frozen=True)
class Notes:
    """What a render has of its source besides audio, what it has not and why, and what to know of it."""

    carried: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def family(source: InputContainer) -> str:
    """A name that a container read and the muxer that writes it have in common."""
    name = source.format.name.split(",")[0]
    return "mov" if name in (*_MOV, "m4a") else name.removesuffix("_pipe")


def same_family(source: InputContainer, kind: Kind) -> bool:
    """Whether a render is of its source's kind, so that times and names of codecs go on to hold."""
    muxer = "mov" if kind.muxer in _MOV else {"webm": "matroska", "vob": "mpeg"}.get(kind.muxer, kind.muxer)
    return family(source) == muxer


def is_cover(stream: Stream) -> bool:
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def described(stream: Stream) -> str:
    """A stream in a few words, e.g. "subtitle subrip (eng)"."""
    codec = stream.codec_context.name if stream.codec_context else ""
    language = stream.metadata.get("language", "und")
    kind = "cover" if is_cover(stream) else {"video": "picture"}.get(stream.type, stream.type)
    words = [kind, codec, f"({language})" if language != "und" and kind != "picture" else ""]
    return " ".join(word for word in words if word)


def to_copy(source: InputContainer, kind: Kind, notes: Notes) -> list[Stream]:
    """Streams besides the audio that is replaced which a render may have, the cover not among them."""
    found = []
    for stream in source.streams:
        if is_cover(stream) or stream.type == "audio" or stream.discard == Discard.all:
            continue  # the last are chapters, which are carried as such
        if stream.type == "data" and "timecode" in stream.metadata and kind.muxer in _MOV:
            notes.carried.append("timecode")  # the muxer writes the track from the picture's timecode
        elif kind.picture:
            found.append(stream)
        else:
            notes.left_out[described(stream)] = "it is a file of audio alone"
    return found


def add_copy(out: OutputContainer, stream: Stream, source: InputContainer, kind: Kind) -> Stream:
    """The stream of a render that takes another's packets. Raises what `av` does where the container has no place."""
    opaque = {} if stream.codec_context is None else {"opaque": True}
    copy: Stream = out.add_stream_from_template(stream, **opaque)
    copy.time_base = stream.time_base
    if isinstance(stream, VideoStream) and isinstance(copy, VideoStream) and stream.average_rate:
        copy.codec_context.framerate = stream.average_rate  # a timecode track is made with it
    relabel(copy, described_anew(stream.metadata))
    copy.disposition = stream.disposition
    if kind.muxer == "mpegts" and same_family(source, kind):
        copy.id = stream.id
    tag = _tag(stream, copy, source, kind)
    if tag:
        copy.codec_context.codec_tag = tag
    return copy


def _tag(stream: Stream, copy: Stream, source: InputContainer, kind: Kind) -> str | None:
    """The four letters of a codec where they matter: players want hvc1, and ProRes is told apart by them."""
    if copy.codec_context is None or kind.muxer not in (*_MOV, "avi"):
        return None
    try:
        tag = str(stream.codec_context.codec_tag)
    except UnicodeDecodeError:
        tag = ""
    if same_family(source, kind) and tag.isprintable() and tag.strip():
        return tag
    return "hvc1" if stream.codec_context.name == "hevc" and kind.muxer in _MOV else None


def packets_of(source: InputContainer, streams: Sequence[Stream]) -> Iterator["Packet[Any]"]:
    """Packets of some streams in the order of the file, but for those that muxers make by themselves."""
    for packet in source.demux(list(streams)) if streams else ():
        context = packet.stream.codec_context
        gap = context is not None and context.name == "mov_text" and bytes(packet) == _NO_TEXT
        if not gap and (packet.size or packet.dts is not None):
            yield packet


def described_anew(metadata: Mapping[str, str], new_audio: bool = False) -> dict[str, str]:
    """Metadata of a stream as muxers want it; of audio that is new without what was measured on the old."""
    kept = dict(metadata)
    if "name" in kept:  # what files of Apple's kind call the title of a track is read as its name
        kept.setdefault("title", kept.pop("name"))
    stale = _OF_THE_AUDIO if new_audio else ("encoder",)
    return {key: value for key, value in kept.items() if not key.lower().startswith(stale)}


def relabel(stream: Stream, metadata: Mapping[str, str]) -> None:
    """Give a stream that is to be written its metadata."""
    stream.metadata.clear()
    stream.metadata.update(metadata)


def tags_of(source: InputContainer, chosen: AudioStream) -> dict[str, str]:
    """Tags of a file; Ogg has them in its stream."""
    tags = dict(source.metadata)
    if family(source) == "ogg":
        tags = {**chosen.metadata, **tags}
    return {
        key: value
        for key, value in tags.items()
        if key.lower() not in _OF_THE_FILE and not key.lower().startswith("metadata_block_picture")
    }


def add_chapters(source: InputContainer, out: OutputContainer, kind: Kind, shift: Fraction, notes: Notes) -> None:
    """Give a render its source's chapters, at their times."""
    chapters = source.chapters()
    if not chapters:
        return
    if kind.muxer not in _WITH_CHAPTERS:
        notes.left_out["chapters"] = f"{kind.muxer} has no place for them"
        return
    for chapter in chapters:
        ticks = round(shift / (chapter["time_base"] or 1))
        chapter["start"] -= ticks
        chapter["end"] -= ticks
    out.set_chapters(chapters)
    notes.carried.append(f"{len(chapters)} chapters")


@dataclass(frozen=True)
class Cover:
    """A picture that belongs to audio."""

    stream: Stream
    data: bytes
    mime: str
    name: str


def covers(path: str) -> Iterator[Cover]:
    """The covers of a file."""
    with av.open(path) as source:
        for stream in [each for each in source.streams if is_cover(each)]:
            packet = next((each for each in source.demux(stream) if each.size), None)
            mime, ending = _PICTURES.get(stream.codec_context.name if stream.codec_context else "", ("", ""))
            if packet is not None and mime:
                name = stream.metadata.get("filename", f"cover.{ending}")
                yield Cover(stream, bytes(packet), stream.metadata.get("mimetype", mime), name)


def add_covers(out: OutputContainer, path: str, kind: Kind, notes: Notes) -> list[tuple[Stream, Cover]]:
    """Give a render its source's covers; those whose packets are to be written come back."""
    waiting = []
    for cover in covers(path):
        if kind.muxer in ("matroska", "webm") and kind.muxer != "webm":
            out.add_attachment(cover.name, cover.mime, cover.data)
        elif kind.muxer in _WITH_COVER:
            copy = out.add_stream_from_template(cover.stream, opaque=True)
            copy.time_base = Fraction(1, 90000)
            copy.disposition = Disposition.attached_pic
            kind_of = cover.stream.metadata.get("comment", "Cover (front)")  # of ID3's list of pictures
            relabel(copy, {"comment": kind_of})
            waiting.append((copy, cover))
        elif kind.muxer in ("ogg", "opus") and not kind.picture:
            out.metadata["METADATA_BLOCK_PICTURE"] = picture_block(cover)
        else:
            notes.left_out["cover"] = f"{kind.muxer} has no place for it"
            continue
        notes.carried.append("cover")
    return waiting


def picture_block(cover: Cover) -> str:
    """A cover as Ogg holds it: a FLAC picture block (RFC 9639, section 8.8) in base64; its size is left to readers."""
    mime = cover.mime.encode()
    head = struct.pack(">II", 3, len(mime)) + mime + struct.pack(">6I", 0, 0, 0, 0, 0, len(cover.data))
    return base64.b64encode(head + cover.data).decode()


def cover_packet(stream: Stream, cover: Cover) -> "Packet[Any]":
    packet: Packet[Any] = Packet(cover.data)
    packet.stream, packet.time_base = stream, Fraction(1, 90000)
    packet.pts = packet.dts = 0
    return packet


def attached_names(streams: list[Stream]) -> list[str]:
    """What a report calls streams that were copied."""
    return [each.name if isinstance(each, AttachmentStream) and each.name else described(each) for each in streams]
