"""One file of streams made from another: everything copied, one audio stream new, at the place of the old one."""

import hashlib
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.media.encoder import Encoder, add_audio
from ttsr_studio.audio.media.forms import KINDS, Kind, Sound
from ttsr_studio.audio.media.streams import (
    Cover,
    Notes,
    add_chapters,
    add_copy,
    add_covers,
    cover_packet,
    described,
    described_anew,
    packets_of,
    relabel,
    same_family,
    tags_of,
    to_copy,
)
from ttsr_studio.errors import OutputError, shown

_MOV = ("mp4", "mov", "3gp", "3g2")
_TICKS = {"matroska": 1000, "webm": 1000, "flv": 1000, "asf": 1000}
_UNTRIMMED = ("flv",)
_FROM_ZERO = ("avi", "ogg", "mxf")


@dataclass(frozen=True)
class Original:
    """The file that new audio goes with.

    Attributes:
        stream: the audio stream that was rendered, among all streams; None for the one that players choose.
        start: when what was read of it begins, seconds; None for its first sample.
        keep: whether the old audio stays, beside the new.
    """

    path: Path
    stream: int | None = None
    start: Fraction | None = None
    keep: bool = False

    def audio(self, source: InputContainer) -> AudioStream | None:
        """The audio stream that was rendered."""
        if self.stream is not None:
            return next((each for each in source.streams.audio if each.index == self.stream), None)
        best = source.streams.best("audio")
        return best if isinstance(best, AudioStream) else None


@dataclass
class Trace:
    """What went through a stream that was copied: a checksum of the packets' bytes, and their times in seconds."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, packet: "Packet[Any]") -> None:
        self.digest.update(memoryview(packet))
        ticks = packet.pts if packet.pts is not None else packet.dts
        self.times.append(math.nan if ticks is None or packet.time_base is None else float(ticks * packet.time_base))

    def moved(self, other: "Trace") -> float:
        """Seconds by which the clock begins later where the same packets were read back."""
        return other.times[0] - self.times[0] if self.times and other.times else 0.0

    def difference(self, other: "Trace") -> str | None:
        """What differs of the same packets as they were read back, or None; a clock may begin at another moment."""
        if len(other.times) != len(self.times):
            return f"{len(other.times)} packets instead of {len(self.times)}"
        if other.digest.digest() != self.digest.digest():
            return "other bytes"
        moved = np.array(other.times) - np.array(self.times)
        spread = float(np.nanmax(moved) - np.nanmin(moved)) if np.isfinite(moved).any() else 0.0
        return f"other times (by {1000 * spread:.1f} ms)" if spread > 0.0011 else None


@dataclass
class Muxed:
    """A file as it was written: where its new audio is and begins, and what was copied beside it.

    Attributes:
        audio: number of the new audio among all streams.
        start: of the new audio, seconds.
        silence: samples put before it, since the container cannot say exactly when it begins.
        copies: what went through the others, by their number.
    """

    audio: int
    start: Fraction
    silence: int
    frames: int = 0
    copies: dict[int, Trace] = field(default_factory=dict)


def first_sample(path: Path, index: int) -> Fraction:
    """When the first sample of an audio stream is heard, seconds."""
    with av.open(str(path)) as source:
        for frame in source.decode(source.streams[index]):
            if isinstance(frame, AudioFrame) and frame.pts is not None and frame.time_base is not None:
                start = frame.pts * frame.time_base
                # what begins with the file is written in thousandths, as a delay and its rounding
                rounded = abs(start) <= frame.time_base and frame.time_base > Fraction(1, 8000)
                return Fraction(0) if rounded else start
    return Fraction(0)


class Muxer:
    """A file that is written beside its original."""

    def __init__(
        self, source: InputContainer, original: Original, kind: Kind, notes: Notes, ready: Path | None = None
    ) -> None:
        """`ready` is a file that holds the new audio, encoded."""
        self.source, self.original, self.kind, self.notes, self.ready = source, original, kind, notes, ready
        chosen = original.audio(source)
        if chosen is None:
            raise OutputError(f"{shown(original.path)}: holds no audio to put something in place of")
        self.chosen = chosen
        # the time of files of one kind goes on to hold; other kinds begin at zero, as players do
        begins = source.start_time or 0
        self.shift = Fraction(0) if same_family(source, kind) else Fraction(begins, av.time_base)

    def write(self, target: Path, blocks: Blocks, sound: Sound, options: dict[str, str]) -> Muxed:
        """Write the file. Raises OutputError for streams that it has no place for, `av`'s errors and OSError."""
        out, plan = self.begin(str(target), sound, options)
        try:
            with out:
                return self._write(out, plan, blocks, sound)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            if same_family(self.source, self.kind):
                raise
            raise self._no_place(error) from error

    def begin(self, target: "str | BinaryIO", sound: Sound, options: dict[str, str]) -> "tuple[OutputContainer, Plan]":
        """Open the file and write its header; streams of data that it has no place for are left out."""
        wanted = to_copy(self.source, self.kind, self.notes)
        while True:
            out = av.open(target, "w", format=self.kind.muxer, container_options=self._options(sound, options))
            try:
                plan = self._streams(out, wanted, sound)
                out.start_encoding()
                return out, plan
            except (av.FFmpegError, ValueError) as error:
                out.close()
                dropped = next((each for each in reversed(wanted) if each.type in ("data", "attachment")), None)
                if dropped is None:
                    raise self._no_place(error) from error
                wanted.remove(dropped)
                self.notes.left_out[described(dropped)] = f"{self.kind.muxer} has no place for it"

    def _no_place(self, error: Exception) -> OutputError:
        """The error where a container has no place for what is in the source."""
        own = self.original.path.suffix.lower()
        other = own if own in KINDS and KINDS[own].muxer != self.kind.muxer else ".mkv"
        return OutputError(
            f"{shown(self.original.path)}: {self.kind.muxer} cannot hold what is in it ({_reason(error)}); "
            f"name the output {other}, or .wav for audio only"
        )

    def _options(self, sound: Sound, options: dict[str, str]) -> dict[str, str]:
        """What the muxer is told: nothing random or dated goes into a render."""
        told = {"fflags": "+bitexact", "strict": "unofficial"}
        if self.kind.muxer in _MOV:
            keys = any("." in key for key in self.source.metadata)
            flags = ("+use_metadata_tags" if keys else "") + ("+faststart" if _begins_with_index(self) else "")
            told |= {"movflags": flags} if flags else {}
            told["movie_timescale"] = str(self._timescale(sound.rate))
        if self.kind.muxer == "mpegts" and same_family(self.source, self.kind):
            told["mpegts_copyts"] = "1"
        return told | options

    def _timescale(self, rate: int) -> int:
        """Ticks a second in which a movie can say exactly when its streams begin."""
        bases = [each.time_base.denominator for each in self.source.streams.video if each.time_base]
        exact = math.lcm(rate, *bases)
        return exact if exact < 2**31 else rate

    def _streams(self, out: OutputContainer, wanted: list[Stream], sound: Sound) -> "Plan":
        """Streams of the render in the order of the source, the new audio where the old one was."""
        copied = {each.index for each in wanted}
        keep_others = self.kind.picture or self.kind.muxer == "matroska"
        out.metadata.update(tags_of(self.source, self.chosen))
        pairs: dict[int, Stream] = {}
        new: AudioStream | None = None
        for stream in self.source.streams:
            if stream.index == self.chosen.index:
                new = self._new(out, sound)
                relabel(new, self._told(stream, out))
                new.disposition = stream.disposition
                if self.kind.muxer == "mpegts":  # where streams are told apart by what is their number elsewhere
                    new.id = max(each.id for each in self.source.streams) + 1 if self.original.keep else stream.id
                if self.original.keep:
                    pairs[stream.index] = self._kept(out, stream)
            elif stream.index in copied or (stream.type == "audio" and keep_others):
                pairs[stream.index] = add_copy(out, stream, self.source, self.kind)
            elif stream.type == "audio":
                self.notes.left_out[described(stream)] = "it is a file of one audio stream"
        assert new is not None
        if self.original.keep:
            for other in out.streams.audio:
                other.disposition &= ~Disposition.default
            new.disposition |= Disposition.default
        add_chapters(self.source, out, self.kind, self.shift, self.notes)
        return Plan(new, pairs, add_covers(out, str(self.original.path), self.kind, self.notes))

    def _told(self, stream: Stream, out: OutputContainer) -> dict[str, str]:
        """Metadata of the new audio: the old one's, but where there is one stream, its title is the file's."""
        told = described_anew(stream.metadata, new_audio=True)
        if self.kind.muxer not in _MOV:
            told.pop("handler_name", None)
        if not self.kind.picture:
            told = {key: text for key, text in told.items() if key not in out.metadata and text != "und"}
        return told

    def _new(self, out: OutputContainer, sound: Sound) -> AudioStream:
        """The stream of the new audio."""
        if self.ready is None:
            new = add_audio(out, sound)
            if sound.layout.split(" ")[-1] not in ("", "channels") and new.layout.name != sound.layout:
                self.notes.warnings.append(f"speakers {sound.layout} written as {new.layout.name}")
            return new
        with av.open(str(self.ready)) as encoded:
            copy: AudioStream = out.add_stream_from_template(encoded.streams.audio[0], opaque=True)
            return copy

    def _ready(self, path: Path, new: AudioStream) -> Iterator["Packet[Any]"]:
        """Packets of audio that is encoded already."""
        with av.open(str(path)) as encoded:
            for packet in encoded.demux(encoded.streams.audio[0]):
                if packet.size:
                    packet.stream = new
                    yield packet

    def _kept(self, out: OutputContainer, stream: Stream) -> Stream:
        """The old audio beside the new, which players then choose."""
        copy = add_copy(out, stream, self.source, self.kind)
        copy.disposition = stream.disposition & ~Disposition.default
        title = copy.metadata.get("title")
        copy.metadata["title"] = f"{title} (original)" if title else "original"
        if self.kind.muxer in _MOV:  # what players show of an MP4's streams
            copy.metadata["handler_name"] = copy.metadata["title"]
        return copy

    def _write(self, out: OutputContainer, plan: "Plan", blocks: Blocks, sound: Sound) -> Muxed:
        tick = _TICKS.get(self.kind.muxer)
        start = self._start()
        whole = Fraction(0) if self.kind.muxer in _FROM_ZERO else start
        # where a container counts thousandths, the first packet is put on one, and silence fills what is left
        early = Fraction(sound.codec.padding if self.kind.muxer in _UNTRIMMED else 0, sound.rate)
        whole = Fraction(math.floor((start - early) * tick), tick) + early if tick else whole
        silence = max(round((start - whole) * sound.rate), 0)
        encoder = Encoder(plan.new, sound, round(whole * sound.rate), silence)
        muxed = Muxed(plan.new.index, whole, silence)
        muxed.copies = {copy.index: Trace() for copy in plan.copies.values()}
        for stream, cover in plan.covers:
            out.mux(cover_packet(stream, cover))
        audio = Ahead(self._ready(self.ready, plan.new) if self.ready else encoder.packets(blocks))
        last: dict[int, int] = {}
        for packet in packets_of(self.source, [self.source.streams[index] for index in plan.copies]):
            copy = plan.copies[packet.stream_index]
            self._retime(packet, last)
            for ours in audio.until(_time(packet)):
                out.mux(ours)
            muxed.copies[copy.index].add(packet)
            packet.stream = copy
            out.mux(packet)
        for ours in audio.until(None):
            out.mux(ours)
        muxed.frames = encoder.frames
        self.notes.carried.extend(described(each) for each in self.source.streams if each.index in plan.copies)
        return muxed

    def _start(self) -> Fraction:
        """When the new audio begins, on the render's clock."""
        if not self.kind.picture:
            return Fraction(0)
        start = self.original.start
        return (first_sample(self.original.path, self.chosen.index) if start is None else start) - self.shift

    def _retime(self, packet: "Packet[Any]", last: dict[int, int]) -> None:
        """Move a packet to where the render's clock begins, and after the one before it, which muxers insist on."""
        if self.shift and packet.time_base:
            ticks = round(self.shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
        if packet.dts is not None:
            packet.dts = max(packet.dts, last.get(packet.stream_index, packet.dts - 1) + 1)
            last[packet.stream_index] = packet.dts
            packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)


@dataclass(frozen=True)
class Plan:
    """Streams of a file before it is written: the new audio, copies by the number of what they are of, covers."""

    new: AudioStream
    copies: dict[int, Stream]
    covers: list[tuple[Stream, Cover]]


class Ahead:
    """Packets of audio, handed out as far as the picture is."""

    def __init__(self, packets: Iterator["Packet[Any]"]) -> None:
        self._packets, self._next = packets, next(packets, None)

    def until(self, time: Fraction | None) -> Iterator["Packet[Any]"]:
        """Those up to a time in seconds, None for all that are left."""
        while self._next is not None and (time is None or _time(self._next) <= time):
            yield self._next
            self._next = next(self._packets, None)


def _time(packet: "Packet[Any]") -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None or packet.time_base is None else ticks * packet.time_base


def _begins_with_index(muxer: Muxer) -> bool:
    """Whether a movie can be played while it is loaded, since what says where everything is comes first."""
    with muxer.original.path.open("rb") as file:
        for _ in range(64):
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"mdat":
                return False
            if head[4:] == b"moov":
                return True
            size = int.from_bytes(head[:4])
            if size < 8:
                return False
            file.seek(size - 8, 1)
    return False


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
