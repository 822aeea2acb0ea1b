"""Formats of audio files: what is read, what is written, how wide samples are."""

from typing import TYPE_CHECKING

from ttsr_studio.audio.media.forms import KINDS, VIDEO, bitrate_for, subtype_for
from ttsr_studio.errors import OptionError, unknown

if TYPE_CHECKING:
    from ttsr_studio.audio.decode import SourceInfo

SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".aif", ".aiff", ".aifc", ".afc", ".flac", ".ogg", ".oga",
    ".opus", ".spx", ".mp1", ".mp2", ".mp3", ".mpa", ".caf", ".au", ".snd", ".voc", ".m4a", ".m4b", ".m4r", ".aac",
    ".adts", ".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".thd", ".mlp", ".wma", ".mka", ".weba", ".amr", ".awb",
    ".ape", ".tta", ".wv", ".tak", ".mpc", ".ra", ".oma", ".dsf", ".dff", ".shn",
)  # fmt: skip
"""Endings of files that may be audio."""

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".ts", ".m2ts", ".mts",
    ".mpg", ".mpeg", ".vob", ".3gp", ".3g2", ".ogv", ".ogm", ".mxf", ".gxf", ".rm", ".rmvb", ".dv", ".wtv",
)  # fmt: skip
"""Endings of files that may have a sound track beside a picture."""

SOUNDING = (*SUFFIXES, *VIDEO_SUFFIXES)
"""Endings of all files that folders are searched for; by name a file of any ending is read."""

KEPT = (".wav", ".aif", ".aiff", ".flac")
"""Endings that an output keeps; anything else, lossy or rare, is answered with WAV."""

WRITTEN = (*KEPT, *KINDS)
"""Endings that an output may have where it is named."""

FAMILIES = {"WAV": "WAV", "WAVEX": "WAV", "RF64": "WAV", "AIFF": "AIFF", "FLAC": "FLAC"}
"""Containers, as soundfile names them, whose metadata is read and written, and which of them are of one kind."""

WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1}
"""Bytes of a sample."""

_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}
_SUFFIXES = {".wav": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".flac": "FLAC"}


def kept_suffix(suffix: str) -> str:
    """The ending of a render that is not named, by that of its source: video stays video, and lossy audio is WAV."""
    return suffix if suffix.lower() in (*KEPT, *VIDEO) else ".wav"


def bits_of(subtype: str) -> int | None:
    """Bits of a sample, None where it may be beyond full scale; decoders of lossy audio stop there."""
    if subtype in ("FLOAT", "DOUBLE"):
        return None
    return 8 * WIDTHS[subtype] if subtype in WIDTHS else 16 if subtype.endswith("_16") else 24


def media_format(info: "SourceInfo", depth: str, suffix: str, bitrate: int | None, codec: str) -> tuple[str, str]:
    """Return (container, subtype) of an output of an ending of `KINDS`, the subtype a key of `CODECS`.

    Args:
        bitrate: bit/s, where lossy audio is asked for.
        codec: of the source, as FFmpeg names it.

    Raises OptionError for what the container cannot hold.
    """
    if depth == "source":
        bits = 32 if info.subtype in ("FLOAT", "DOUBLE") and KINDS[suffix].lossless == "PCM" else 24
        bits = 16 if info.subtype in ("PCM_16", "PCM_U8", "PCM_S8") else bits
    else:
        bits = {"16": 16, "24": 24, "32f": 32}[depth]
    subtype = subtype_for(suffix, bits, bitrate, codec)
    bitrate_for(subtype, info.channels, bitrate)
    return KINDS[suffix].muxer.upper(), subtype


def output_format(info: "SourceInfo", depth: str, suffix: str | None = None) -> tuple[str, str, str]:
    """Return (container, subtype, file suffix) of the output.

    ``depth`` is "source", "16", "24" or "32f"; ``suffix`` forces a container. Lossy becomes 24-bit WAV.
    Raises OptionError for unknown names and for a depth that the container cannot hold.
    """
    if depth != "source" and depth not in _DEPTHS:
        raise unknown("bit depth", depth, ["source", *_DEPTHS])
    if suffix is not None and suffix.lower() not in _SUFFIXES:
        raise unknown("output suffix", suffix, _SUFFIXES)
    family = _SUFFIXES[suffix.lower()] if suffix else FAMILIES.get(info.container, "WAV")
    container = info.container if FAMILIES.get(info.container) == family else family
    if info.media and info.media.mask and info.channels > 2 and container == "WAV":
        container = "WAVEX"  # it says which speaker a channel is for
    own = info.path.suffix
    if suffix is None:
        default = next(key for key, value in _SUFFIXES.items() if value == family)
        suffix = own if _SUFFIXES.get(own.lower()) == family else default
    if depth == "source":
        kept = info.subtype if (info.media or info.container in FAMILIES) and info.subtype in WIDTHS else "PCM_24"
        subtype = {"PCM_U8": "PCM_16", "ULAW": "PCM_24", "ALAW": "PCM_24"}.get(kept, kept)
        subtype = "PCM_16" if info.subtype == "PCM_S8" else subtype
    else:
        subtype = _DEPTHS[depth]
    if container == "FLAC" and subtype not in ("PCM_16", "PCM_24"):
        raise OptionError(f"FLAC holds 16 or 24 bits, not {subtype}: name the output .wav, or use --depth 24")
    return container, subtype, suffix
