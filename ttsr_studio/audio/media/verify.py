"""A file of streams read back: what was copied has its bytes and its times, and the new audio is what was rendered."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from ttsr_studio.audio.decode import Blocks
from ttsr_studio.audio.media.encoder import sampled
from ttsr_studio.audio.media.forms import Sound
from ttsr_studio.audio.media.mux import Muxed, Trace
from ttsr_studio.audio.media.streams import packets_of

_WIDTH = 16  # samples whose mean is compared: what is left is the low band
_SILENT = 1e-8  # mean square of the low band below which codecs may do as they like
_SHORTEST = 4096  # samples of which the level is worth comparing
_ALIKE = 0.5  # correlation of the low bands


class Reading:
    """Audio of a file as it is decoded, [channels, samples], in the decoder's own numbers."""

    def __init__(self, frames: Iterator[AudioFrame]) -> None:
        self._frames = frames
        first = next(frames, None)
        self.start = Fraction(0)
        self._held = np.zeros((0, 0))
        if first is not None:
            self.start = (first.pts or 0) * (first.time_base or Fraction(0))
            self._held = array_of(first)

    def read(self, samples: int) -> np.ndarray:
        """The next samples; fewer at the end."""
        parts, held = [self._held], self._held.shape[1]
        while held < samples:
            frame = next(self._frames, None)
            if frame is None:
                break
            parts.append(array_of(frame))
            held += parts[-1].shape[1]
        whole = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        self._held = whole[:, samples:]
        return whole[:, :samples]


def array_of(frame: AudioFrame) -> np.ndarray:
    """A frame as [channels, samples]."""
    data = frame.to_ndarray()
    return data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T


@dataclass(frozen=True)
class Exactness:
    """What can be asked of a file: whether packets keep their bytes, whether decoders give the audio alone, or when."""

    bytes: bool
    trimmed: bool
    timed: bool


def difference(path: Path, blocks: Blocks, sound: Sound, muxed: Muxed, exact: Exactness) -> str | None:
    """Read a file back; return what is wrong with it, or None.

    Args:
        blocks: the audio that was given.
    """
    traces = _traces(path, muxed)
    if exact.bytes:
        for index, trace in muxed.copies.items():
            if wrong := trace.difference(traces[index]):
                return f"a stream (number {index}) of {wrong}"
    moved = next((trace.moved(traces[index]) for index, trace in muxed.copies.items() if trace.times), 0.0)
    with av.open(str(path)) as file:
        stream = file.streams[muxed.audio]
        if not isinstance(stream, AudioStream):
            return "no audio where it should be"
        if (stream.rate, stream.channels) != (sound.rate, sound.channels):
            return f"{stream.channels} channels at {stream.rate} Hz"
        audio = Reading(_decoded(file, muxed.audio))
        # what an encoder puts before the audio is decoded as well where the container cannot say so
        early = round((float(muxed.start - audio.start) + moved) * sound.rate) if exact.timed else 0
        early = early if exact.timed or exact.trimmed else sound.codec.padding
        if early < -1:
            return f"audio that begins {-early} samples late"
        audio.read(max(early, 0) + muxed.silence)
        return _other_audio(audio, blocks, sound)


def _traces(path: Path, muxed: Muxed) -> dict[int, Trace]:
    """What is in the streams that were copied."""
    found = {index: Trace() for index in muxed.copies}
    with av.open(str(path)) as file:
        streams = [file.streams[index] for index in muxed.copies if index < len(file.streams)]
        for packet in packets_of(file, streams):
            found[packet.stream_index].add(packet)
    return found


def _decoded(file: av.container.InputContainer, index: int) -> Iterator[AudioFrame]:
    for frame in file.decode(file.streams[index]):
        if isinstance(frame, AudioFrame) and frame.samples:
            yield frame


def _other_audio(audio: Reading, blocks: Blocks, sound: Sound) -> str | None:
    """What differs of the audio that is read from here on, or None."""
    low = LowBand()
    for data in sampled(blocks, sound.subtype):
        found = audio.read(data.shape[1])
        if found.shape != data.shape:
            return f"audio that ends {data.shape[1] - found.shape[1]} samples early"
        if sound.codec.lossy:
            low.add(scaled(data), scaled(found))
        elif not np.array_equal(found, data):
            return "other samples"
    rest = audio.read(1 << 17).shape[1]
    if rest > (8192 if sound.codec.lossy else 0):
        return f"audio that ends {rest} samples late"
    return low.difference()


def scaled(data: np.ndarray) -> np.ndarray:
    """Samples as floats, full scale 1.0."""
    scale = float(np.iinfo(data.dtype).max) if data.dtype.kind == "i" else 1.0
    return data.astype(np.float64) / scale


class LowBand:
    """How alike the low bands of two are."""

    def __init__(self) -> None:
        self.samples = 0
        self.given = self.found = self.both = 0.0

    def add(self, given: np.ndarray, found: np.ndarray) -> None:
        whole = given.shape[1] // _WIDTH * _WIDTH
        one, other = (part[:, :whole].reshape(len(part), -1, _WIDTH).mean(axis=2) for part in (given, found))
        self.given += float((one**2).sum())
        self.found += float((other**2).sum())
        self.both += float((one * other).sum())
        self.samples += one.size

    def difference(self) -> str | None:
        """What is wrong, or None."""
        if self.samples * _WIDTH < _SHORTEST or self.given / self.samples < _SILENT:
            return None
        alike = self.both / max(np.sqrt(self.given * self.found), 1e-30)
        level = 10 * np.log10(max(self.found, 1e-30) / self.given)
        if alike < _ALIKE or abs(level) > 6:
            return f"another low band (correlation {alike:.2f}, level {level:+.1f} dB)"
        return None
