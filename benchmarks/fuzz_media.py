"""Small files of the containers that FFmpeg reads, for `fuzz.py`, and the process that decodes as a fork of one.

A fork does what the tool's own decoding process does, under the same watch, and costs no start of Python.
"""

import os
import re
import resource
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from ttsr_studio.audio.libav import child, process

CODECS: Mapping[str, Sequence[str]] = {
    "mp4": ("aac", "libopus", "ac3", "alac"),
    "m4a": ("aac", "alac"),
    "mov": ("pcm_s16le", "pcm_s24be", "aac"),
    "mkv": ("flac", "libopus", "aac"),
    "webm": ("libopus",),
}
"""Kinds of files, and encoders of their audio; all but m4a have a picture, too."""

MUXERS = {"m4a": "ipod", "mkv": "matroska"}
RATE, FRAMES = 48000, 24000
LONGEST_CPU = 30
"""Seconds after which a decoder that nobody watches any more ends itself."""
BOXES = re.compile(
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|dinf|stbl|stsd|stts|ctts|stsc|stsz|stco|co64|stss|sgpd"
    rb"|sbgp|esds|dOps|dac3|alac|wave|chan|mp4a|Opus|udta|meta|ilst|mdat"
)
"""Names of boxes; the size of each stands before it."""
ELEMENTS = re.compile(
    rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x11\x4d\x9b\x74|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x12\x54\xc3\x67"
    rb"|\x1c\x53\xbb\x6b|\x1f\x43\xb6\x75"
)
"""Elements of Matroska: head, segment, its contents, info, tracks, tags, cues, cluster; the size of each follows."""


def media_file(kind: str, codec: str, channels: int) -> bytes:
    """Half a second of noise, with a picture where the kind has one, its tables in front, and a title."""
    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        with av.open(str(path), "w", format=MUXERS.get(kind, kind), container_options=options) as out:
            out.metadata["title"] = "a title"
            encoded = [] if kind == "m4a" else picture(out.add_stream("libvpx" if kind == "webm" else "mpeg4", rate=25))
            stream = out.add_stream(codec, rate=RATE, layout="stereo" if channels == 2 else "mono")
            for packet in [*encoded, *audio(stream, channels)]:
                out.mux(packet)
        return path.read_bytes()


def audio(stream: AudioStream, channels: int) -> "list[Packet[AudioStream]]":
    noise = np.random.default_rng(0).standard_normal((channels, FRAMES)).astype(np.float32) * 0.1
    context = stream.codec_context
    frame = av.AudioFrame.from_ndarray(noise, "fltp", context.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    fitting = av.AudioResampler(context.format, context.layout, RATE).resample(frame)
    return [packet for each in (*fitting, None) for packet in stream.encode(each)]


def picture(stream: VideoStream) -> "list[Packet[VideoStream]]":
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    made = []
    for number in range(5):
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * number, np.uint8), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        made += stream.encode(frame)
    return [*made, *stream.encode(None)]


class Fork:
    """Stands in for `subprocess.Popen` where the process that decodes is started."""

    def __init__(self, arguments: Sequence[str | bytes], stderr: IO[bytes], **_: object) -> None:
        source, sink = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU, LONGEST_CPU))
            os.dup2(sink, 1)
            os.dup2(stderr.fileno(), 2)
            os.close(source)
            os.close(sink)
            decode([os.fsdecode(each) for each in arguments[arguments.index(process._CHILD) :]])
        os.close(sink)
        self.stdout = os.fdopen(source, "rb")
        self._code: int | None = None

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, 9)

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


def decode(arguments: list[str]) -> None:
    """Be the process that decodes; does not return."""
    sys.argv = arguments
    try:
        child.main()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


def fork_decoders() -> None:
    """Let what decodes from here on be forks of this process."""
    process.subprocess = SimpleNamespace(Popen=Fork, PIPE=None, DEVNULL=None)
