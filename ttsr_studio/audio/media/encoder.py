"""New audio as packets: from blocks of float samples to what a container holds."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.encode import quantised
from ttsr_studio.audio.media.forms import CODECS, Sound
from ttsr_studio.errors import OutputError

_FRAME = 4096  # samples of a packet of PCM: short, so that picture and audio lie side by side
_USUAL = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")


def layouts(sound: Sound) -> list[str]:
    """Names of the speakers to try: those of the source, and what is usual for so many channels."""
    found = [sound.layout] if sound.layout else []
    found += _USUAL[sound.channels - 1 : sound.channels]
    return [*dict.fromkeys(found)] or [f"{sound.channels} channels"]


def add_audio(out: OutputContainer, sound: Sound) -> AudioStream:
    """The stream of a render that takes new audio. Raises OutputError where the codec does not take it."""
    layout = supported_layout(sound)
    stream = out.add_stream(sound.codec.encoder, rate=sound.rate, options={"flags": "+bitexact"})
    assert isinstance(stream, AudioStream)
    stream.codec_context.format = sound.codec.layout
    stream.codec_context.layout = layout
    stream.codec_context.time_base = Fraction(1, sound.rate)
    if sound.bitrate:
        stream.codec_context.bit_rate = sound.bitrate
    return stream


def supported_layout(sound: Sound) -> str:
    """The first of the layouts that the encoder opens with. Raises OutputError where there is none."""
    for layout in layouts(sound):
        context = av.CodecContext.create(sound.codec.encoder, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.format, context.layout = sound.rate, sound.codec.layout, layout
        if sound.bitrate:
            context.bit_rate = sound.bitrate
        try:
            context.open()
        except (av.FFmpegError, ValueError):
            continue
        return layout
    more = f" at {sound.bitrate // 1000} kbit/s" if sound.bitrate else ""
    raise OutputError(
        f"{sound.subtype} does not take {sound.channels} channels at {sound.rate} Hz{more}; "
        "name the output .wav, .mov or .mkv"
    )


def sampled(blocks: Blocks, subtype: str) -> Iterator[np.ndarray]:
    """Yield [channels, samples] as an encoder takes it; the same every time."""
    codec = CODECS[subtype]
    if codec.layout in ("s16", "s16p", "s32", "s32p"):
        bits = "PCM_16" if codec.layout.startswith("s16") else "PCM_32" if subtype == "PCM_32" else "PCM_24"
        for data in quantised(blocks, bits):
            yield np.ascontiguousarray((data >> 16).astype(np.int16).T) if bits == "PCM_16" else data.T
        return
    for data in quantised(blocks, "FLOAT"):
        yield np.clip(data, -1.0, 1.0).T if codec.lossy else data.T


class Encoder:
    """Packets of new audio, made when they are asked for.

    Attributes:
        frames: so far.
    """

    def __init__(self, stream: AudioStream, sound: Sound, start: int, silence: int) -> None:
        """`start` is the place of the first sample, in samples, `silence` how many are put before it."""
        self.stream, self.sound = stream, sound
        self.frames = 0
        self._at, self._silence = start, silence

    def packets(self, blocks: Blocks) -> Iterator["Packet[Any]"]:
        """Encode all blocks."""
        yield from self._encoded(self._nothing(self._silence))
        for data in sampled(blocks, self.sound.subtype):
            self.frames += data.shape[1]
            yield from self._encoded(data)
        yield from self._encoded(self._nothing(self.sound.codec.tail))
        yield from self.stream.encode(None)

    def _nothing(self, samples: int) -> np.ndarray:
        """Silence, as the encoder takes it."""
        kinds = {"s16": np.int16, "s16p": np.int16, "s32": np.int32, "s32p": np.int32}
        return np.zeros((self.sound.channels, samples), kinds.get(self.sound.codec.layout, np.float32))

    def _encoded(self, data: np.ndarray) -> Iterator["Packet[Any]"]:
        planar = self.sound.codec.layout.endswith("p")
        for first in range(0, data.shape[1], _FRAME):
            part = data[:, first : first + _FRAME]
            layout = AudioLayout(self.stream.codec_context.layout.name)
            shaped = np.ascontiguousarray(part if planar else part.T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(shaped, format=self.sound.codec.layout, layout=layout.name)
            frame.sample_rate, frame.time_base = self.sound.rate, Fraction(1, self.sound.rate)
            frame.pts = self._at
            self._at += part.shape[1]
            yield from self.stream.encode(frame)
