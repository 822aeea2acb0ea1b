"""What containers of video and of players' audio hold, and which codec their new audio gets.

Lossless where the container has a place for it, unless a bit rate is asked for. Limits are those of FFmpeg's encoders.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ttsr_studio.errors import OptionError


@dataclass(frozen=True)
class Codec:
    """An encoder.

    Attributes:
        encoder: as FFmpeg names it; "libvorbis" is libsndfile's.
        layout: samples as FFmpeg names their format.
        per_channel: bit/s of a channel where no bit rate is asked for; 0 for lossless.
        lowest, highest: bit/s that it takes.
        channels: at most.
        rates: Hz that it takes; empty for any.
        steps: bit/s that it takes where it does not take all between.
        padding: samples that it puts before the audio.
        tail: samples of silence after the audio without which its end would stay in the encoder.
    """

    encoder: str
    layout: str
    per_channel: int = 0
    lowest: int = 0
    highest: int = 0
    channels: int = 32
    rates: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    padding: int = 0
    tail: int = 0

    @property
    def lossy(self) -> bool:
        return self.per_channel > 0

    def nearest(self, bitrate: int) -> int:
        """The bit rate that it has for the one that is asked for."""
        return min(self.steps, key=lambda step: abs(step - bitrate)) if self.steps else bitrate


def _kilo(*values: int) -> tuple[int, ...]:
    return tuple(1000 * value for value in values)


_TO_48K = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AC3 = _kilo(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)

CODECS: Mapping[str, Codec] = MappingProxyType({
    "PCM_16": Codec("pcm_s16le", "s16"),
    "PCM_24": Codec("pcm_s24le", "s32"),
    "PCM_32": Codec("pcm_s32le", "s32"),
    "FLOAT": Codec("pcm_f32le", "flt"),
    "ALAC_16": Codec("alac", "s16p", channels=8),
    "ALAC_24": Codec("alac", "s32p", channels=8),
    "FLAC_16": Codec("flac", "s16", channels=8),
    "FLAC_24": Codec("flac", "s32", channels=8),
    "AAC": Codec("aac", "fltp", 128_000, 16_000, 1_024_000, 8, (*_TO_48K, 64000, 88200, 96000), padding=1024),
    "OPUS": Codec("libopus", "flt", 96_000, 6_000, 1_024_000, 8, (48000,), padding=312),
    "MP3": Codec("libmp3lame", "fltp", 128_000, 32_000, 320_000, 2, (32000, 44100, 48000),
                 _kilo(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), padding=1105),
    "VORBIS": Codec("libvorbis", "flt", 96_000, 45_000, 500_000, 2),
    "AC3": Codec("ac3", "fltp", 192_000, 32_000, 640_000, 6, (32000, 44100, 48000), _AC3, padding=256, tail=256),
    "EAC3": Codec("eac3", "fltp", 192_000, 32_000, 1_024_000, 6, (32000, 44100, 48000), padding=256, tail=256),
    "MP2": Codec("mp2", "s16", 192_000, 32_000, 384_000, 2, (32000, 44100, 48000),
                 _kilo(32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384), padding=481, tail=481),
})  # fmt: skip


@dataclass(frozen=True)
class Sound:
    """New audio: its codec, a key of `CODECS` or a subtype of soundfile, its rate in Hz, and its channels.

    Attributes:
        layout: speakers, as FFmpeg names them; "" where they are not known.
        bitrate: bit/s; 0 for lossless.
    """

    subtype: str
    rate: int
    channels: int
    layout: str = ""
    bitrate: int = 0

    @property
    def words(self) -> str:
        """The codec in words."""
        return f"{self.subtype} {self.bitrate // 1000} kbit/s" if self.bitrate else self.subtype

    @property
    def codec(self) -> Codec:
        return CODECS[self.subtype]


@dataclass(frozen=True)
class Kind:
    """A container, by the ending of its files.

    Attributes:
        muxer: as FFmpeg names it.
        lossless: PCM, ALAC or FLAC; None where it holds none of them.
        lossy: codecs, the usual one first; none where it cannot say that a codec begins with a delay.
        picture: whether it holds a picture that moves.
        exact: whether it tells players where in a lossy stream the audio begins.
        rates: Hz that it takes, whatever the codec; empty for any.
    """

    muxer: str
    lossless: str | None
    lossy: tuple[str, ...] = ()
    picture: bool = False
    exact: bool = True
    rates: tuple[int, ...] = ()


_MP4 = Kind("mp4", "ALAC", ("AAC", "AC3", "EAC3", "MP3"), picture=True)
_MOV = Kind("mov", "PCM", ("AAC", "AC3", "EAC3", "MP3"), picture=True)
_MATROSKA = ("OPUS", "AAC", "AC3", "EAC3", "MP3", "MP2")
_TS = Kind("mpegts", None, ("AAC", "MP2", "AC3", "EAC3", "MP3"), picture=True)
_PS = Kind("mpeg", None, ("MP2", "AC3"), picture=True)
_ASF = Kind("asf", "PCM", picture=True)
_WEBM = Kind("webm", None, ("OPUS",), picture=True)

KINDS: Mapping[str, Kind] = MappingProxyType({
    ".mp4": _MP4, ".m4v": _MP4, ".f4v": _MP4, ".mov": _MOV, ".qt": _MOV,
    ".mkv": Kind("matroska", "FLAC", _MATROSKA, picture=True),
    ".webm": _WEBM,
    ".avi": Kind("avi", "PCM", picture=True),
    ".ts": _TS, ".m2ts": _TS, ".mts": _TS, ".m2t": _TS,
    ".mpg": _PS, ".mpeg": _PS, ".vob": Kind("vob", None, ("AC3", "MP2"), picture=True),
    ".flv": Kind("flv", None, ("AAC", "MP3"), picture=True),
    ".wmv": _ASF, ".asf": _ASF,
    ".3gp": Kind("3gp", None, ("AAC",), picture=True), ".3g2": Kind("3g2", None, ("AAC",), picture=True),
    ".ogv": Kind("ogg", "FLAC", ("OPUS",), picture=True),
    ".mxf": Kind("mxf", "PCM", picture=True, rates=(48000,)),
    ".m4a": Kind("mp4", "ALAC", ("AAC",)), ".m4b": Kind("mp4", "ALAC", ("AAC",)),
    ".mka": Kind("matroska", "FLAC", _MATROSKA),
    ".weba": Kind("webm", None, ("OPUS",)),
    ".opus": Kind("opus", None, ("OPUS",)),
    ".ogg": Kind("ogg", None, ("VORBIS",)), ".oga": Kind("ogg", None, ("VORBIS",)),
    ".mp3": Kind("mp3", None, ("MP3",)),
    ".aac": Kind("adts", None, ("AAC",), exact=False),
    ".ac3": Kind("ac3", None, ("AC3",), exact=False),
    ".eac3": Kind("eac3", None, ("EAC3",), exact=False), ".ec3": Kind("eac3", None, ("EAC3",), exact=False),
    ".mp2": Kind("mp2", None, ("MP2",), exact=False),
})  # fmt: skip
"""All containers that are written through PyAV, by the ending of their files."""

VIDEO = tuple(suffix for suffix, kind in KINDS.items() if kind.picture)
"""Endings of containers of video: a render keeps them."""


def subtype_for(suffix: str, bits: int, bitrate: int | None, source_codec: str) -> str:
    """The codec of new audio, a key of `CODECS`.

    Args:
        suffix: of the output, a key of `KINDS`.
        bits: 16 or 24; 32 for float.
        bitrate: bit/s where lossy audio is asked for.
        source_codec: as FFmpeg names it; kept where the container and the encoders allow, if the output is lossy.

    Raises OptionError for what the container has no place for.
    """
    kind = KINDS[suffix]
    if bitrate is None and kind.lossless:
        if kind.lossless == "PCM" or (bits == 32 and kind.muxer == "matroska"):
            return "FLOAT" if bits == 32 and kind.muxer != "mxf" else f"PCM_{min(bits, 24)}"
        if bits == 32:
            raise OptionError(f"{suffix} holds 16 or 24 bits ({kind.lossless}): name the output .mov or .mkv, or use "
                              "--depth 24")  # fmt: skip
        return f"{kind.lossless}_{bits}"
    if not kind.lossy:
        raise OptionError(f"--bitrate: {suffix} is written with lossless audio only; leave --bitrate out, or name the "
                          "output .mp4 or .mkv")  # fmt: skip
    own = {"opus": "OPUS", "aac": "AAC", "mp3": "MP3", "ac3": "AC3", "eac3": "EAC3", "mp2": "MP2"}.get(source_codec)
    return own if own in kind.lossy else kind.lossy[0]


def bitrate_for(subtype: str, channels: int, asked: int | None) -> int:
    """Bit/s that a codec is given, 0 for lossless. Raises OptionError for what it cannot have."""
    codec = CODECS[subtype]
    if channels > codec.channels:
        raise OptionError(
            f"{subtype} holds at most {codec.channels} channels, not {channels}: name the output .wav, .mov or .mkv"
        )
    if not codec.lossy:
        return 0
    if asked is not None and not codec.lowest <= asked <= codec.highest:
        low, high = codec.lowest // 1000, codec.highest // 1000
        raise OptionError(f"--bitrate {asked / 1000:g}k: {subtype} takes {low}k to {high}k")
    usual = min(max(codec.per_channel * channels, codec.lowest), codec.highest)
    return codec.nearest(asked or usual)


def rate_for(suffix: str, subtype: str, wanted: int, fixed: bool) -> int:
    """The rate of the output, Hz: the one that is wanted, or the nearest that codec and container take.

    Raises OptionError for a rate that was asked for by its number and that they do not take.
    """
    taken = CODECS[subtype].rates or KINDS[suffix].rates
    if not taken or wanted in taken:
        return wanted
    if fixed:
        known = ", ".join(map(str, taken))
        raise OptionError(f"--rate {wanted}: {subtype} in {suffix} takes {known} Hz")
    return min(taken, key=lambda rate: (rate < wanted, abs(rate - wanted)))
