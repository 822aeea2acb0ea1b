"""What a file holds, by FFmpeg's libraries; for the process that decodes."""

import contextlib
import os
import re
from fractions import Fraction
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

FORMATS = (
    "aa", "aac", "aax", "ac3", "ac4", "acm", "act", "adp", "ads", "adx", "aea", "aiff", "alp", "amr", "amrnb", "amrwb",
    "anm", "apac", "apc", "ape", "apm", "aptx", "aptx_hd", "asf", "asf_o", "ast", "au", "avi", "avr", "avs", "binka",
    "boa", "bonk", "brstm", "caf", "codec2", "daud", "derf", "dfpwm", "dhav", "dsf", "dss", "dts", "dtshd", "dv",
    "eac3", "ea", "epaf", "flac", "flv", "f4v", "live_flv", "g722", "g729", "gsm", "gxf", "hca", "iamf", "ircam", "iff",
    "ilbc", "ivf", "kvag", "laf", "latm", "lc3", "loas", "lvf", "lxf", "matroska,webm", "mca", "mlp", "mmf",
    "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "msf", "mtaf", "musx", "mv", "mxf", "nc",
    "nistsphere", "nsp", "nsv", "nut", "nuv", "ogg", "oma", "osq", "paf", "pmp", "pva", "pvf", "qcp", "qoa", "rka",
    "rm", "rpl", "rso", "sbc", "scd", "sds", "shn", "sln", "smjpeg", "smush", "sol", "sox", "spdif", "svag", "swf",
    "tak", "thp", "truehd", "tta", "ty", "vag", "vividas", "vivo", "voc", "vqf", "w64", "wav", "wc3movie", "wsaud",
    "wsd", "wtv", "wv", "wve", "xa", "xmv", "xwma",
)  # fmt: skip
"""Demuxers that may be tried: no playlists and no scripts, which would open other files or the network."""

LOSSLESS = re.compile(r"^(pcm_|alac$|flac$|tta$|wavpack$|ape$|tak$|mlp$|truehd$|shorten$|wmalossless$|als$|dst$)")
COVER = 0x0400  # AV_DISPOSITION_ATTACHED_PIC
SECRET = re.compile(r"\bDRM\b|encrypt|decrypt|activation_bytes", re.IGNORECASE)
SECRET_TAGS = ("enca", "encv", "drms", "drmi", "p608")
SPEAKERS = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL")
LONGEST_LOG = 1 << 16
MOV = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of MP4 and what is like it."""


class Refused(Exception):  # noqa: N818 - it is an answer, no fault of the program
    """What the file is, where it cannot be read."""


def complaints() -> int:
    """How much the libraries have complained so far, in bytes."""
    return os.fstat(2).st_size


def log() -> list[str]:
    """What the libraries complained of: standard error is a file."""
    with contextlib.suppress(OSError):
        text = os.pread(2, LONGEST_LOG, 0).decode("utf-8", "replace")
        return list(dict.fromkeys(re.sub(r"^\[.*? @ 0x[0-9a-f]+\] ", "", line) for line in text.splitlines()))
    return []


def opened(path: str) -> InputContainer:
    """Open a file, and nothing but this file."""
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
    try:
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except FFmpegError as error:
        if any(SECRET.search(line) for line in log()):
            raise Refused("encrypted") from error
        raise Refused("unknown") from error
    except (ValueError, UnicodeError) as error:
        raise Refused("unknown") from error


def others(container: InputContainer) -> dict[str, Any]:
    """What a file holds besides audio: how many pictures that move, and all of it in words."""
    kinds = [each.type for each in container.streams if each.type != "audio"]
    names = {"video": "picture", "data": "data stream", "subtitle": "subtitle"}
    told = ", ".join(f"{kinds.count(kind)} x {names.get(kind, kind)}" for kind in dict.fromkeys(kinds))
    moving = [each for each in container.streams.video if not int(each.disposition) & COVER]
    return {"others": told, "pictures": len(moving)}


def listed(container: InputContainer) -> list[dict[str, Any]]:
    """The audio streams of a file."""
    found = []
    for stream in container.streams.audio:
        context = stream.codec_context
        found.append(
            {
                "index": stream.index,
                "codec": context.codec.canonical_name if context else "unknown codec",
                "channels": context.channels if context else 0,
                "rate": context.sample_rate if context else 0,
                "language": stream.metadata.get("language") or "",
                "title": stream.metadata.get("title") or "",
                "default": bool(stream.disposition & 1),
            }
        )
    return found


def timecode(container: InputContainer) -> dict[str, str]:
    """The timecode of a film's first frame, and frames a second: {"timecode": "01:00:00:00@25"}; nothing without."""
    said = [container.metadata, *(stream.metadata for stream in container.streams)]
    found = next((metadata["timecode"] for metadata in said if "timecode" in metadata), None)
    rates = [stream.average_rate for stream in container.streams.video if stream.average_rate]
    return {} if found is None else {"timecode": f"{found}@{rates[0] if rates else '?'}"}


def chapters_after(container: InputContainer, begins: Fraction) -> list[tuple[float, str]]:
    """(seconds after the audio begins, title) of chapters; those that begin before it begin with it."""
    found = container.chapters()
    places = [(float(each["start"] * (each["time_base"] or Fraction(1)) - begins), each) for each in found]
    return [(max(seconds, 0.0), each["metadata"].get("title", "")) for seconds, each in places]


def secret(stream: AudioStream) -> bool:
    """Whether a stream is encrypted, as far as that can be seen before it is decoded."""
    context = stream.codec_context
    tag = context.codec_tag if context else ""
    return tag in SECRET_TAGS or any(SECRET.search(line) for line in log())


def speakers(frame: AudioFrame) -> int:
    """The channel mask of WAVE_FORMAT_EXTENSIBLE; 0 where it is not known."""
    names = [channel.name for channel in frame.layout.channels]
    places = [SPEAKERS.index(name) for name in names if name in SPEAKERS]
    return sum(1 << place for place in places) if len(set(places)) == len(names) and places == sorted(places) else 0


def depth(stream: AudioStream, frame: AudioFrame) -> str:
    """The sample format as soundfile would name it, where nothing was lost; else the codec."""
    name = stream.codec_context.codec.canonical_name
    if not LOSSLESS.match(name):
        return str(name.upper())
    if frame.format.name.startswith(("flt", "dbl")):
        return "FLOAT" if frame.format.name.startswith("flt") else "DOUBLE"
    said = re.search(r"^pcm_[su](\d+)", name)
    bits = int(said[1]) if said else coded_bits(stream, frame)
    return f"PCM_{16 if bits <= 16 else 24 if bits <= 24 else 32}"


def coded_bits(stream: AudioStream, frame: AudioFrame) -> int:
    """Bits of a sample; decoders give 24 of them in 32."""
    extra = stream.codec_context.extradata or b""
    if stream.codec_context.name == "alac" and len(extra) >= 18:
        return extra[17]
    return 24 if frame.format.bytes == 4 else int(8 * frame.format.bytes)
