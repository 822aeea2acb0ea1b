"""Where a stream ends: the encoder's padding, and what the file promised; for the process that decodes."""

import contextlib
import re
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from ttsr_studio.audio.libav.contents import MOV, log

DECLARING = (MOV, "avi", "ape", "tta", "wv", "caf", "asf", "matroska,webm", "flv", "mxf")
"""Formats whose header says how long a stream is."""
ENDED = re.compile(r"ended prematurely|partial file|truncated|Unexpected end of file", re.IGNORECASE)
BROKEN = re.compile(r"EBML number|exceeds containing master|sample size \d+ is too large", re.IGNORECASE)
"""What readers of MP4 and Matroska say when they lose their way and look for a place to go on."""
LEEWAY = 0.25
"""Seconds by which a header may err."""


def beyond_last_packet(end: Fraction, packet_end: Fraction | None, rate: int) -> int:
    """Samples of the last frame, up to `end`, that its packet does not count, seconds on the file's clock."""
    return 0 if packet_end is None else max(0, round((end - packet_end) * rate))


def beyond_itunes(container: InputContainer, stream: AudioStream, samples: int) -> int:
    """Samples at the end that iTunes' comment on gapless playback does not count."""
    said = str(container.metadata.get("iTunSMPB", stream.metadata.get("iTunSMPB", ""))).split()
    with contextlib.suppress(ValueError, IndexError):
        return max(0, samples - int(said[3], 16))
    return 0


def shortfall(container: InputContainer, stream: AudioStream, packets: int, seconds: float) -> str | None:
    """What is missing of a stream that gave so much; None where nothing is known to be."""
    promised = len(stream.index_entries) if container.format.name == MOV else 0
    if packets < promised:
        return f"ends early: {promised - packets} of {promised} packets are missing"
    if promised and stream.duration is None and stream.frames > promised:
        return f"ends early: its tables say where {promised} of {stream.frames} packets are"
    if any(ENDED.search(line) for line in log()):
        return "ends early: the file is cut short"
    declared = declared_seconds(container, stream)
    if not declared and container.duration and any(BROKEN.search(line) for line in log()):
        declared = container.duration / av.time_base  # of the longest stream
    if declared and seconds < declared - max(LEEWAY, 0.001 * declared):
        return f"ends early: its header promises {declared:.2f} s"
    return None


def edited(container: InputContainer, stream: AudioStream) -> str | None:
    """What an edit list leaves of a film's sound, where that is much less than all; None elsewhere, and for PCM."""
    left = len(stream.index_entries)
    packed = container.format.name == MOV and not stream.codec_context.name.startswith("pcm_")
    return f"{left} of {stream.frames} packets" if packed and left < 0.9 * stream.frames else None


def declared_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    """Seconds that the header promises a stream; None where it promises nothing."""
    if container.format.name not in DECLARING:
        return None
    if said := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):
        return int(said[1]) * 3600 + int(said[2]) * 60 + float(said[3])
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration else None
