"""One stream on its way out; for the process that decodes."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from ttsr_studio.audio.libav.answers import Answers
from ttsr_studio.audio.libav.contents import COVER, MOV, chapters_after, complaints, depth, log, speakers, timecode
from ttsr_studio.audio.libav.ending import beyond_itunes, beyond_last_packet, edited, shortfall
from ttsr_studio.audio.libav.timeline import Timeline, TimestampError

EXACT_TIMES = (MOV, "matroska,webm", "nut")
"""Formats whose clock starts at 0 whatever starts late on it."""
BROKEN_CLOCK = 0x0200  # AVFMT_TS_DISCONT
HELD = 4
"""Frames that are held back, since the end of the file may say that some samples are padding."""


class Decoding:
    """One stream on its way out."""

    def __init__(self, container: InputContainer, stream: AudioStream, answers: Answers, salvage: bool) -> None:
        self.container, self.stream, self.answers, self.salvage = container, stream, answers, salvage
        self.format = container.format.name
        self.problems: list[tuple[float, str]] = []
        self.early_damage = 0
        self.timeline: Timeline | None = None
        self.packets = 0
        self._kept: deque[tuple[AudioFrame, int]] = deque()  # frames, and silence before them
        self._first: tuple[int, str, int] | None = None  # rate, sample format, channels
        self._packet_start: Fraction | None = None
        self._packet_end: Fraction | None = None
        self._skips = False
        self._complaints = complaints()

    @property
    def seconds(self) -> float:
        return self.timeline.seconds if self.timeline else 0.0

    def run(self) -> None:
        """Decode everything. Stops at the first problem, unless it salvages."""
        for frame in self._frames():
            if self.timeline is None:
                self._begin(frame)
            assert self.timeline
            shape = frame.sample_rate, frame.format.name, frame.layout.nb_channels
            if self._first and (shape[0], shape[2]) != (self._first[0], self._first[2]):
                self._problem(
                    f"changes from {self._first[0]} Hz, {self._first[2]} channels to {shape[0]} Hz, {shape[2]} channels"
                )
                return self._finish()
            try:
                silence = self.timeline.place(self._time(frame), frame.samples, self.salvage)
            except TimestampError as error:
                self._problem(str(error))
                return self._finish()
            if silence and complaints() > self._complaints:
                self._problem(f"cannot be decoded ({log()[-1]})", self.timeline.gaps[-1][0])
            if frame.pts is not None:
                self._complaints = complaints()
            if shape != self._first:
                self._first = shape
                self._kept.append((frame, silence))
                self._let_go(0, shape)
            else:
                self._kept.append((frame, silence))
                self._let_go(HELD)
            if self.problems and not self.salvage:
                return self._finish()
        return self._finish()

    def _frames(self) -> Iterator[AudioFrame]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFmpegError as error:
                self._problem(f"cannot be read on ({error.strerror})")
                return
            self.answers.beat(self.timeline.samples if self.timeline else 0)
            try:
                if packet.size:
                    self._note(packet)
                yield from self.stream.codec_context.decode(packet)
            except FFmpegError as error:
                self._damaged(error.strerror or "damaged")
            if self.problems and not self.salvage:
                return

    def _note(self, packet: "av.Packet[AudioStream]") -> None:
        """Remember what a packet says of time."""
        self.packets += 1
        if packet.is_corrupt:
            self._damaged("incomplete packet")
        if packet.pts is None or packet.time_base is None:
            return
        if self._packet_start is None:
            self._packet_start = packet.pts * packet.time_base
            self._skips = packet.has_sidedata("skip_samples")
        self._packet_end = (packet.pts + (packet.duration or 0)) * packet.time_base if packet.duration else None

    def _damaged(self, reason: str) -> None:
        if self.timeline is None and self.container.format.flags & BROKEN_CLOCK:
            self.early_damage += 1  # a broadcast that was tuned into
        else:
            self._problem(f"cannot be decoded ({reason})")

    def _problem(self, text: str, seconds: float | None = None) -> None:
        self.problems.append((self.seconds if seconds is None else seconds, text))

    def _time(self, frame: AudioFrame) -> Fraction | None:
        return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base

    def _begin(self, frame: AudioFrame) -> None:
        """The first frame says what the audio is, and when it starts."""
        tick = self.stream.time_base or Fraction(1, frame.sample_rate)
        broken = bool(self.container.format.flags & BROKEN_CLOCK)
        self.timeline = Timeline(frame.sample_rate, tick, broken)
        start = self._time(frame) if self._skips else self._packet_start
        late = self._late(start, tick)
        begins = (start or Fraction(0)) - late
        told = {
            "container": self.format,
            "codec": self.stream.codec_context.codec.canonical_name,
            "subtype": depth(self.stream, frame),
            "rate": frame.sample_rate,
            "channels": frame.layout.nb_channels,
            "mask": speakers(frame),
            "start": float(begins),
            "late": float(late),
            "tags": {**self.container.metadata, **self.stream.metadata, **timecode(self.container)},
            "chapters": chapters_after(self.container, begins),
        }
        self.answers.tell(b"H", told)
        self.answers.silence(self.timeline.silence(round(late * frame.sample_rate)))

    def _late(self, start: Fraction | None, tick: Fraction) -> Fraction:
        """Seconds by which the stream starts after the picture, or after 0 on a clock that starts there."""
        if start is None:
            return Fraction(0)
        pictures = [
            stream.start_time * stream.time_base
            for stream in self.container.streams.video
            if stream.start_time is not None and stream.time_base and not int(stream.disposition) & COVER
        ]
        zero = min(pictures) if pictures else Fraction(0) if self.format in EXACT_TIMES else start
        late = start - min(zero, start)
        return late if late > max(2 * tick, Fraction(1, 1000)) else Fraction(0)

    def _let_go(self, keep: int, shape: tuple[int, str, int] | None = None) -> None:
        """Send what is held back but for some frames; a new sample format is told before the first frame of it."""
        while len(self._kept) > keep:
            frame, silence = self._kept.popleft()
            self.answers.silence(silence)
            if shape and not self.answers.count and not self._kept:
                self.answers.send(b"F", shape[1].encode())
            self.answers.audio(frame, frame.samples)

    def _finish(self) -> None:
        """Take padding off the end, look whether the end is where it should be, and send what is left."""
        if self.timeline is None:
            return
        padding = 0 if self.problems else self._padding()
        self.timeline.samples -= padding
        total = sum(frame.samples for frame, _ in self._kept) - padding
        for frame, silence in self._kept:
            self.answers.silence(silence)
            self.answers.audio(frame, min(frame.samples, total))
            total -= min(frame.samples, total)
        self._kept.clear()
        missing = shortfall(self.container, self.stream, self.packets, self.seconds)
        if missing and not self.problems:
            self._problem(missing)

    def _padding(self) -> int:
        """Samples at the end that the encoder put there."""
        assert self.timeline
        if not self._kept:
            return 0
        last, rate = self._kept[-1][0], self.timeline.rate
        padding, time = 0, self._time(last)
        if self.format == MOV and time is not None:
            padding = beyond_last_packet(time + Fraction(last.samples, rate), self._packet_end, rate)
            padding = padding if padding < last.samples else 0
        silent = sum(round(seconds * rate) for _, seconds in self.timeline.gaps)
        padding = max(padding, beyond_itunes(self.container, self.stream, self.timeline.samples - silent))
        return padding if padding < sum(frame.samples for frame, _ in self._kept) else 0

    def ending(self) -> dict[str, Any]:
        """How it ended."""
        timeline = self.timeline
        return {
            "frames": timeline.samples if timeline else 0,
            "gaps": timeline.gaps if timeline else [],
            "jumps": timeline.jumps if timeline else [],
            "problems": self.problems,
            "early_damage": self.early_damage,
            "edited": edited(self.container, self.stream),
            "log": log()[:20],
        }
