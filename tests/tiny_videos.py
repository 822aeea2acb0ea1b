"""Tiny videos of real encoders, and what is in them: packets by stream, decoded audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

RATE = 48000
PIXELS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}


@dataclass(frozen=True)
class Film:
    """A video to make: codecs, audio streams by language, when audio and picture begin (seconds), frame times (ms)."""

    picture: str
    audio: str
    languages: Sequence[str] = ("eng",)
    late: float = 0.0
    times: Sequence[int] = tuple(range(0, 1000, 40))
    options: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    chapters: bool = False
    band: float = 6000.0


def sound(seconds: float = 1.0, band: float = 6000.0, seed: int = 0) -> np.ndarray:
    """Noise up to a frequency with a click in its middle, float32 [1, samples]."""
    rng, count = np.random.default_rng(seed), round(seconds * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / RATE) > band] = 0
    noise = np.fft.irfft(spectrum, count)
    noise *= 0.05 / noise.std()
    noise[count // 2] += 0.8
    return noise[None].astype(np.float32)


def make(path: Path, film: Film) -> Path:
    """Write a video of 64x48 pixels and a second; stereo audio."""
    rng = np.random.default_rng(0)
    form = {".m4v": "mp4"}.get(path.suffix)
    with av.open(str(path), "w", format=form) as out:
        video = out.add_stream(film.picture, rate=25, options=dict(film.options))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, PIXELS.get(film.picture, "yuv420p")
        video.codec_context.time_base = Fraction(1, 25 if film.picture in ("mpeg2video", "mjpeg") else 1000)
        audio = []
        for number, language in enumerate(film.languages):
            stream = out.add_stream(film.audio, rate=RATE, layout="stereo")
            assert isinstance(stream, AudioStream)
            stream.metadata.update({"language": language, "title": f"Track {number + 1}"})
            audio.append(stream)
        out.metadata.update(film.tags)
        if film.chapters:
            halves = [(0, 500, "One"), (500, 1000, "Two")]
            out.set_chapters([
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(halves)
            ])  # fmt: skip
        packets = []
        for time in film.times:
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), format="rgb24")
            frame = frame.reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode(None)
        for number, stream in enumerate(audio):
            data = np.repeat(sound(1.0, film.band, number), 2, axis=0)
            heard = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
            heard.sample_rate, heard.time_base, heard.pts = RATE, Fraction(1, RATE), round(film.late * RATE)
            packets += [*stream.encode(heard), *stream.encode(None)]
        for packet in sorted(
            (each for each in packets if each.size), key=lambda each: (each.dts or 0) * each.time_base
        ):
            out.mux(packet)
    return path


def packets(path: Path, kind: str = "video", number: int = 0) -> list[tuple[Any, ...]]:
    """(bytes, presentation time, decoding time; seconds) of the packets of a stream."""
    with av.open(str(path)) as file:
        stream = [each for each in file.streams if each.type == kind][number]
        return [
            (bytes(each), *(None if t is None else t * each.time_base for t in (each.pts, each.dts)))
            for each in file.demux(stream)
            if each.size
        ]


def heard(path: Path, number: int = 0) -> tuple[Fraction, np.ndarray]:
    """When an audio stream begins, in seconds, and its samples [channels, samples], full scale 1.0."""
    with av.open(str(path)) as file:
        frames = list(file.decode(file.streams.audio[number]))
    parts = []
    for frame in frames:
        data: np.ndarray = frame.to_ndarray()
        scale = 256.0**data.itemsize / 2 if data.dtype.kind == "i" else 1.0
        shaped = data if frame.format.is_planar else data.reshape(-1, frame.layout.nb_channels).T
        parts.append(shaped.astype(np.float64) / scale)
    return (frames[0].pts or 0) * (frames[0].time_base or Fraction(0)), np.concatenate(parts, axis=1)


def click(path: Path, number: int = 0) -> float:
    """When the click is heard, in seconds after the picture begins."""
    start, data = heard(path, number)
    first = min((each[1] for each in packets(path) if each[1] is not None), default=Fraction(0))
    return float(start - first) + int(np.argmax(np.abs(data[0]))) / RATE
