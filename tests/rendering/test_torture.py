"""Files as studios have them, through the whole command: rendered to the sample, or refused with one line.

The rows are those of the table of odd files: every file ends as done or failed, the source is not touched, and
nothing lies under an output's name, or as a temporary file, unless it is complete.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from helpers import LONGEST, Ttsr, band, below, level_db, load, mere_user, voice
from odd_audio import EXTENSIBLE, FLOAT, UNKNOWN, chunk, ds64, encoded, extensible, fmt, id3, mac_aifc, pcm, riff

from ttsr_studio.audio.bandwidth.detector import BandwidthMeter
from ttsr_studio.audio.decode import probe
from ttsr_studio.engines.registry import load_engine

RATE = 16000
QUICK = ("--candidates", 1, "--steps", 1, "--verifier", "lowband")
Audio = np.ndarray
"""[samples, channels], full scale 1.0."""

load_once = cache(load_engine)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary files go where they can be seen; they are gone after every row. Weights are loaded once."""
    monkeypatch.setattr("ttsr_studio.rendering.inference.session.load_engine", load_once)
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert not list(scratch.iterdir())


@cache
def sound(channels: int = 1, rate: int = RATE, seconds: float = 0.4) -> Audio:
    """A voice up to 3.5 kHz, of whole 16-bit steps, so that most depths hold it exactly; an odd number of samples."""
    audio = below(voice(seconds, rate, channels), 3500, rate)[: round(seconds * rate) - 1]
    return np.rint(audio * 2**15) / 2**15


def wav(*before: bytes, after: bytes = b"", size: int | None = None, audio: Audio | None = None) -> bytes:
    """A 16-bit WAV with other chunks before its audio, and anything after it."""
    audio = sound() if audio is None else audio
    return riff(fmt(RATE, audio.shape[1]), *before, chunk(b"data", pcm(audio), size), after)


def decoded(data: bytes) -> Audio:
    return soundfile.read(BytesIO(data), always_2d=True)[0]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def state(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def rendered(ttsr: Ttsr, source: Path, audio: Audio, rate: int, *options: object) -> tuple[Audio, dict]:
    """Render; whatever the file, the source is untouched and the output is complete: its samples and its summary."""
    before, there = state(source), files(source.parent)
    out = source.parent / "out"
    result = ttsr("render", source, "-o", f"{out}/", *QUICK, "--no-report", "--json", *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert state(source) == before, "the source was touched"
    target = Path(summary["output"])
    assert files(source.parent) == sorted([*there, str(target.relative_to(source.parent))])
    made, made_rate = soundfile.read(target, always_2d=True)
    assert made_rate == 48000
    assert made.shape == (-(-len(audio) * 48000 // rate), audio.shape[1]), "not the exact length"
    assert np.isfinite(made).all()
    return made, summary


def assert_low_band(made: Audio, audio: Audio, rate: int, summary: dict) -> None:
    """What the source held is in the output: after the file's gain they null below the cutoff."""
    source = np.asarray(soxr.resample(audio, rate, 48000, quality="VHQ"))[: len(made)]
    source = np.pad(source, ((0, len(made) - len(source)), (0, 0))) * 10 ** (summary["gain_db"] / 20)
    edge = summary["cutoff_hz"] - 1000
    assert level_db(band(made - source, 0, edge)) - level_db(band(source, 0, edge)) < -45


def refused(ttsr: Ttsr, source: Path, *words: str) -> None:
    """One line that names the file and says what to do; nothing is written."""
    there = files(source.parent)
    result = ttsr("render", source, "-o", f"{source.parent / 'out'}/", *QUICK)
    assert result.exit_code == 1, result.output
    assert result.output.startswith("failed: "), result.output
    assert source.name in result.output, result.output
    assert len(result.output.splitlines()) == 1, result.output
    assert not [word for word in words if word not in result.output], result.output
    assert "unexpected" not in result.output, result.output
    assert files(source.parent) == there, "something was written"


# rendered

Made = tuple[str, bytes, Audio, int]


def as_wav(data: bytes, audio: Audio | None = None, name: str = "x.wav") -> Made:
    return name, data, sound() if audio is None else audio, RATE


def as_encoded(name: str, audio: Audio, kind: str, subtype: str, rate: int = RATE, head: bytes = b"") -> Made:
    data = encoded(audio, rate, kind, subtype)
    return name, head + data, decoded(data), rate


TEXT = chunk(b"LIST", b"INFO" + chunk(b"IART", b"somebody"))
ODD = chunk(b"LIST", b"INFO" + chunk(b"IART", b"someone", pad=b""), pad=b"")
ENDLESS = chunk(b"LIST", b"INFO" + chunk(b"IXYZ", bytes(30), size=UNKNOWN - 7))
EIGHT_BITS = fmt(RATE, 1, 8)
FLOATS = chunk(b"data", sound().astype("<f4").tobytes())


def big_endian(size: int | None = None) -> bytes:
    """A RIFX of the usual sound."""
    data = chunk(b"data", pcm(sound(), 16, ">"), size, order=">")
    return riff(fmt(RATE, order=">"), data, kind=b"RIFX", size=size, order=">")


def wide(table: bool = True, kind: bytes = b"RF64") -> bytes:
    """An RF64 or BW64 of the usual sound."""
    data = pcm(sound())
    sizes = ds64(len(data) + 72, len(data), len(sound()), table)
    return riff(sizes, fmt(RATE), chunk(b"data", data, UNKNOWN), kind=kind, size=UNKNOWN)


def rounded() -> Audio:
    return np.rint(sound() * 2**7) / 2**7


def eight_bits(pad: bytes = b"\0") -> bytes:
    return chunk(b"data", pcm(sound(), 8), pad=pad)


ACCEPTED: dict[str, Callable[[], Made]] = {
    "wav": lambda: as_wav(wav()),
    "no ending in its name": lambda: as_wav(wav(), name="x"),
    "odd chunk without pad byte": lambda: as_wav(wav(ODD)),
    "odd chunk without pad byte before fmt": lambda: as_wav(riff(ODD, wav()[12:])),
    "odd audio without pad byte": lambda: as_wav(riff(EIGHT_BITS, eight_bits(b""), TEXT), rounded()),
    "pad byte that is not zero": lambda: as_wav(wav(chunk(b"junk", b"abc", pad=b"d"))),
    "LIST before fmt": lambda: as_wav(riff(TEXT, wav()[12:])),
    "LIST of zeros (libsndfile #542)": lambda: as_wav(wav(chunk(b"LIST", bytes(200000)))),
    "endless LIST (libsndfile #1118)": lambda: as_wav(wav(ENDLESS)),
    "chunk behind the audio that promises too much": lambda: as_wav(wav(after=chunk(b"LIST", b"INFO", UNKNOWN))),
    "two data chunks": lambda: as_wav(wav(after=chunk(b"data", bytes(3000)))),
    "two fmt chunks": lambda: as_wav(wav(fmt(44100, 2, 24))),
    "zeros to the end of the sector": lambda: as_wav(wav(after=bytes(3000))),
    "half a sample more": lambda: as_wav(riff(fmt(RATE), chunk(b"data", pcm(sound()) + b"x"))),
    "RIFF size 0": lambda: as_wav(riff(wav()[12:], size=0)),
    "RIFF size 0xFFFFFFFF": lambda: as_wav(riff(wav()[12:], size=UNKNOWN)),
    "8 bits": lambda: as_wav(riff(EIGHT_BITS, eight_bits()), rounded()),
    "24 bits": lambda: as_wav(riff(fmt(RATE, 1, 24), chunk(b"data", pcm(sound(), 24)))),
    "32 bits": lambda: as_wav(riff(fmt(RATE, 1, 32), chunk(b"data", pcm(sound(), 32)))),
    "float with fact": lambda: as_wav(riff(fmt(RATE, 1, 32, FLOAT, b"\0\0"), chunk(b"fact", b"\7\0\0\0"), FLOATS)),
    "float without fact": lambda: as_wav(riff(fmt(RATE, 1, 32, FLOAT), FLOATS)),
    "double": lambda: as_encoded("x.wav", sound(), "WAV", "DOUBLE"),
    "MS ADPCM": lambda: as_encoded("x.wav", sound(), "WAV", "MS_ADPCM"),
    "IMA ADPCM": lambda: as_encoded("x.wav", sound(), "WAV", "IMA_ADPCM"),
    "A-law": lambda: as_encoded("x.wav", sound(), "WAV", "ALAW"),
    "mu-law": lambda: as_encoded("x.wav", sound(), "WAV", "ULAW"),
    "GSM": lambda: as_encoded("x.wav", sound(1, 8000), "WAV", "GSM610", 8000),
    "RIFX": lambda: as_wav(big_endian()),
    "RF64": lambda: as_wav(wide()),
    "RF64 with a ds64 of 24 bytes": lambda: as_wav(wide(table=False)),
    "RF64 without ds64": lambda: as_wav(b"RF64" + wav()[4:]),
    "BW64": lambda: as_wav(wide(kind=b"BW64")),
    "W64": lambda: as_encoded("x.w64", sound(2), "W64", "PCM_24"),
    "CAF": lambda: as_encoded("x.caf", sound(2), "CAF", "PCM_24"),
    "CAF, Apple lossless": lambda: as_encoded("x.caf", sound(2), "CAF", "ALAC_16"),
    "AIFF": lambda: as_encoded("x.aif", sound(2), "AIFF", "PCM_24"),
    "AIFC sowt": lambda: ("x.aiff", mac_aifc(sound(2), RATE, b"sowt"), sound(2), RATE),
    "AIFC fl32": lambda: ("x.aif", mac_aifc(sound(), RATE, b"fl32"), sound(), RATE),
    "AU": lambda: as_encoded("x.au", sound(2), "AU", "PCM_16"),
    "FLAC": lambda: as_encoded("x.flac", sound(2), "FLAC", "PCM_16"),
    "MP3 with a picture of 3 MB": lambda: as_encoded("x.mp3", sound(), "MP3", "MPEG_LAYER_III", head=id3(3_000_000)),
    "Ogg Vorbis": lambda: as_encoded("x.ogg", sound(), "OGG", "VORBIS"),
    "Ogg Opus": lambda: as_encoded("x.opus", sound(), "OGG", "OPUS"),
    "WAV named .flac": lambda: as_wav(wav(), name="x.flac"),
    "FLAC named .wav": lambda: as_encoded("x.wav", sound(), "FLAC", "PCM_24"),
    "MP3 named .WAV": lambda: as_encoded("x.WAV", sound(), "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_rendered_to_the_sample(ttsr: Ttsr, tmp_path: Path, row: str) -> None:
    name, data, audio, rate = ACCEPTED[row]()
    (tmp_path / name).write_bytes(data)
    made, summary = rendered(ttsr, tmp_path / name, audio, rate)
    assert_low_band(made, audio, rate, summary)
    assert not [warning for warning in summary["warnings"] if "cut short" in warning or "no length" in warning]


def test_32_channels(ttsr: Ttsr, tmp_path: Path) -> None:
    audio = sound(32, seconds=0.3)
    (tmp_path / "x.wav").write_bytes(wav(audio=audio))
    made, summary = rendered(ttsr, tmp_path / "x.wav", audio, RATE)
    assert_low_band(made, audio, RATE, summary)


RATES = [(rate, 1) for rate in (8000, 11025, 22050, 32000, 44100, 48000, 88200, 96000, 192000, 384000)]


@pytest.mark.parametrize(("rate", "channels"), [*RATES, (8000, 2), (44100, 2), (384000, 2)])
def test_rates_from_8_to_384_khz(ttsr: Ttsr, tmp_path: Path, rate: int, channels: int) -> None:
    audio = sound(channels, rate, 0.3)
    (tmp_path / "x.wav").write_bytes(encoded(audio, rate, "WAV", "PCM_24"))
    made, summary = rendered(ttsr, tmp_path / "x.wav", audio, rate)
    assert_low_band(made, audio, rate, summary)


def streamed(kind: str, size: int) -> tuple[bytes, Audio]:
    """A file whose header gives 0 or 0xFFFFFFFF for its length, and what it holds."""
    if kind == "RIFX":
        return big_endian(size), sound()
    data = encoded(sound(), RATE, "WAV", kind)
    at = data.index(b"data") + 4
    return data[:4] + struct.pack("<I", size) + data[8:at] + struct.pack("<I", size) + data[at + 4 :], decoded(data)


@pytest.mark.parametrize("size", [0, UNKNOWN], ids=["0", "0xFFFFFFFF"])
@pytest.mark.parametrize("kind", ["PCM_16", "PCM_24", "MS_ADPCM", "RIFX"])
def test_streaming_headers_are_read_to_the_end_with_a_warning(ttsr: Ttsr, tmp_path: Path, kind: str, size: int) -> None:
    data, audio = streamed(kind, size)
    (tmp_path / "x.wav").write_bytes(data)
    made, summary = rendered(ttsr, tmp_path / "x.wav", audio, RATE)
    assert_low_band(made, audio, RATE, summary)
    assert "gives no length" in summary["warnings"][0]


def test_a_stream_above_4_gb_is_read_to_the_end(ttsr: Ttsr, tmp_path: Path) -> None:
    frames = 2**29 + 1000  # of eight bytes
    with (tmp_path / "x.wav").open("wb") as file:
        file.write(riff(fmt(RATE, bits=64, tag=FLOAT), chunk(b"data", b"", UNKNOWN), size=UNKNOWN))
        file.truncate(44 + 8 * frames)
    result = ttsr("render", tmp_path / "x.wav", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert round(json.loads(result.stdout)["seconds"] * RATE) == frames


@pytest.mark.parametrize(
    ("channels", "bits", "valid", "mask"),
    [(2, 32, 24, 0x3), (2, 24, 20, 0x3), (6, 24, 24, 0x3F), (6, 24, 24, 0x60F), (4, 16, 16, 0x107)],
    ids=["24 in 32", "20 in 24", "5.1", "5.1 side", "left, right, centre, rear"],
)
def test_extensible_keeps_valid_bits_and_speakers(
    ttsr: Ttsr, tmp_path: Path, channels: int, bits: int, valid: int, mask: int
) -> None:
    audio = sound(channels)
    data = riff(extensible(RATE, channels, bits, valid, mask), chunk(b"data", pcm(audio, bits)))
    (tmp_path / "x.wav").write_bytes(data)
    made, summary = rendered(ttsr, tmp_path / "x.wav", audio, RATE)
    assert_low_band(made, audio, RATE, summary)
    written = (tmp_path / "out" / "x.wav").read_bytes()
    at = written.index(b"fmt ") + 8
    assert struct.unpack("<H", written[at : at + 2])[0] == EXTENSIBLE
    assert struct.unpack("<HI", written[at + 18 : at + 24]) == (valid, mask)


@pytest.mark.parametrize("kind", ["silence", "denormals", "one sample", "above full scale"])
def test_odd_values_give_finite_output_of_the_exact_length(ttsr: Ttsr, tmp_path: Path, kind: str) -> None:
    audio = {
        "silence": np.zeros((5000, 2)),
        "denormals": np.full((5000, 1), 1e-40),
        "one sample": np.full((1, 1), 0.25),
        "above full scale": 12 * sound(),
    }[kind]
    (tmp_path / "x.wav").write_bytes(encoded(audio, RATE, "WAV", "FLOAT"))
    made, summary = rendered(ttsr, tmp_path / "x.wav", audio, RATE)
    if kind in ("silence", "denormals"):
        assert np.abs(made).max() < 1e-30
        assert (summary["lufs_in"], summary["lufs_out"], summary["gain_db"]) == (None, None, 0)
    if kind == "above full scale":
        assert np.abs(made).max() > 1.2, "float holds what is above full scale"
        assert_low_band(made, audio, RATE, summary)


def test_a_constant_level_is_left_as_it_is(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(encoded(np.full((5000, 1), 0.5), RATE, "WAV", "FLOAT"))
    result = ttsr("render", tmp_path / "x.wav", "-o", tmp_path / "out.wav", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["status"] == "skipped"
    assert "nothing to judge: a constant level (DC)" in told["reason"]
    assert not (tmp_path / "out.wav").exists()


def test_memory_does_not_grow_with_the_file(ttsr: Ttsr, tmp_path: Path) -> None:
    peaks = []
    for seconds in (100, 130):
        source = tmp_path / f"{seconds}.wav"
        source.write_bytes(riff(fmt(8000, 1, 8), chunk(b"data", bytes([128]) * 8000 * seconds)))
        tracemalloc.start()
        result = ttsr("render", source, "-o", f"{tmp_path / 'out'}/", *QUICK, "--no-report")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert result.exit_code == 0, result.output
        assert soundfile.info(tmp_path / "out" / source.name).frames == 48000 * seconds
    assert peaks[1] < peaks[0] + 2e6, "30 s more of output are 6 MB"


# names

NAMES = {
    "dash and space": "-n x.wav",
    "composed": "\u00e9.wav",
    "decomposed": "e\u0301.wav",
    "Chinese": "\u58f0.wav",
    "quotes": 'it\'s "q".wav',
    "for a shell": "$(x) `y` ;&|*?.wav",
    "fields": "{stem} {x} %s.wav",
    "newline": "two\nlines.wav",
    "escape": "red\x1b[31m.wav",
    "backslash": "a\\b.wav",
    "two dots": "x..wav",
    "blank": " .wav",
    "not UTF-8": os.fsdecode(b"\xff\xfe.wav"),
    "248 bytes": "a" * 244 + ".wav",
    "248 bytes of three each": "\u58f0" * 81 + "a.wav",
    "255 bytes": "a" * 251 + ".wav",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_are_kept(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(wav())
    monkeypatch.chdir(tmp_path)
    result = ttsr("render", "-o", "out/", *QUICK, "--no-report", "--", name)
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 1, result.output
    assert files(tmp_path / "out") == [name]
    assert len(load(tmp_path / "out" / name)) == 3 * len(sound())
    assert (tmp_path / name).read_bytes() == wav()


HARD = ("newline", "not UTF-8", "248 bytes", "248 bytes of three each", "255 bytes")


@pytest.mark.parametrize("name", [NAMES[key] for key in HARD], ids=HARD)
def test_names_that_grow_are_shortened_and_refusals_are_one_line(ttsr: Ttsr, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(wav())
    result = ttsr("render", tmp_path / name, *QUICK)
    assert result.exit_code == 0, result.output
    made = [path for path in tmp_path.iterdir() if path.name != name]
    assert sorted(path.suffix for path in made) == [".json", ".npz", ".png", ".wav"]
    (tmp_path / name).write_bytes(b"<html>")
    result = ttsr("render", tmp_path / name, "-o", f"{tmp_path / 'out'}/", *QUICK)
    assert result.exit_code == 1, result.output
    assert len(result.output.splitlines()) == 1, result.output
    assert "convert it to WAV first" in result.output


# refused


def with_value(value: float) -> bytes:
    audio = sound(2).astype(np.float32)
    audio[3210, 1] = value
    return encoded(audio, RATE, "WAV", "FLOAT")


REFUSED: dict[str, tuple[str, Callable[[], bytes], tuple[str, ...]]] = {
    "0 bytes": ("x.wav", bytes, ("0 bytes", "export it again")),
    "HTML named .wav": ("x.wav", lambda: b"<!DOCTYPE html><html>404</html>", ("not audio", "convert it")),
    "text named .wav": ("x.wav", lambda: b"notes for the mix\n" * 100, ("not audio", "convert it")),
    "zeros": ("x.wav", lambda: bytes(100000), ("not audio", "convert it")),
    "RIFF only": ("x.wav", lambda: riff(), ("not audio", "export it again")),
    "RIFF and zeros": ("x.wav", lambda: riff(bytes(1_000_000)), ("not audio", "export it again")),
    "AVI named .wav": ("x.wav", lambda: riff(TEXT).replace(b"WAVE", b"AVI "), ("not audio", "convert it to WAV")),
    "no data chunk": ("x.wav", lambda: riff(fmt(RATE), TEXT), ("not audio", "export it again")),
    "no fmt chunk": ("x.wav", lambda: riff(chunk(b"data", bytes(100))), ("not audio", "export it again")),
    "data before fmt": (
        "x.wav",
        lambda: riff(wav()[36:], fmt(RATE)),
        ("no format with audio after it", "export it again"),
    ),
    "header only": ("x.wav", lambda: wav()[:44], ("cut short", "--salvage")),
    "0 frames": ("x.wav", lambda: wav(audio=np.zeros((0, 1))), ("empty", "export it again")),
    "0 frames and text": ("x.wav", lambda: wav(audio=np.zeros((0, 1)), after=TEXT), ("empty", "export it again")),
    "0 channels": ("x.wav", lambda: riff(fmt(RATE, 0), wav()[36:]), ("not audio", "export it again")),
    "33 channels": ("x.wav", lambda: wav(audio=np.zeros((99, 33))), ("33 channels", "at most 32")),
    "1000 channels": ("x.wav", lambda: wav(audio=np.zeros((99, 1000))), ("1000 channels", "at most 32")),
    "0 bits": ("x.wav", lambda: riff(fmt(RATE, 1, 0), wav()[36:]), ("not audio", "export it again")),
    "unknown codec": ("x.wav", lambda: riff(fmt(RATE, 1, 16, 0x1234), wav()[36:]), ("not audio", "export it again")),
    "rate 0": ("x.wav", lambda: riff(fmt(0), wav()[36:]), ("not audio", "export it again")),
    "rate 7999": ("x.wav", lambda: riff(fmt(7999), wav()[36:]), ("7999 Hz", "8000 to 384000")),
    "rate 384001": ("x.wav", lambda: riff(fmt(384001), wav()[36:]), ("384001 Hz", "8000 to 384000")),
    "rate 587 MHz": ("x.wav", lambda: riff(fmt(587202560), wav()[36:]), ("587202560 Hz", "8000 to 384000")),
    "NaN": ("x.wav", lambda: with_value(np.nan), ("channel 2, sample 3210 is nan", "export it again")),
    "Inf": ("x.wav", lambda: with_value(-np.inf), ("channel 2, sample 3210 is -inf", "export it again")),
    "3e38": ("x.wav", lambda: with_value(3e38), ("channel 2, sample 3210 is 3e+38", "export it again")),
    "float named .flac": ("x.flac", lambda: encoded(sound(), RATE, "WAV", "FLOAT"), ("FLAC holds", "--depth 24")),
    "Ogg page cut": ("x.ogg", lambda: encoded(sound(), RATE, "OGG", "VORBIS")[:4000], ("cut short", "--salvage")),
    "MP3 without a frame": (
        "x.mp3",
        lambda: encoded(sound(), RATE, "MP3", "MPEG_LAYER_III")[:300],
        ("nothing to decode",),
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_refused_with_one_line(ttsr: Ttsr, tmp_path: Path, row: str) -> None:
    name, data, words = REFUSED[row]
    (tmp_path / name).write_bytes(data())
    before = state(tmp_path / name)
    refused(ttsr, tmp_path / name, *words)
    assert state(tmp_path / name) == before, "the source was touched"


CUT = {
    "WAV": ("x.wav", "WAV", "PCM_24"),
    "ADPCM": ("x.wav", "WAV", "MS_ADPCM"),
    "RF64": ("x.wav", "RF64", "FLOAT"),
    "AIFF": ("x.aiff", "AIFF", "PCM_16"),
    "W64": ("x.w64", "W64", "PCM_24"),
    "CAF": ("x.caf", "CAF", "PCM_24"),
    "AU": ("x.au", "AU", "PCM_16"),
    "FLAC": ("x.flac", "FLAC", "PCM_16"),
    "Ogg": ("x.ogg", "OGG", "VORBIS"),
    "MP3": ("x.mp3", "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("row", CUT)
def test_a_cut_file_fails_and_with_salvage_it_renders_and_is_flagged(ttsr: Ttsr, tmp_path: Path, row: str) -> None:
    name, kind, subtype = CUT[row]
    whole = sound(2 if kind == "OGG" else 1, 48000, 0.6)
    data = encoded(whole, 48000, kind, subtype)
    source = tmp_path / name
    source.write_bytes(data[: int(0.8 * len(data))])
    refused(ttsr, source, "export it again", "--salvage")
    frames = probe(source, salvage=True).frames
    assert 0.2 < frames / len(whole) < 0.9
    made, summary = rendered(ttsr, source, whole[:frames], 48000, "--salvage")
    assert "cut short" in summary["warnings"][0]
    if subtype.startswith("PCM"):
        assert_low_band(made, whole[:frames], 48000, summary)


def test_a_file_that_is_replaced_while_rendering_fails(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "x.wav"
    source.write_bytes(wav())
    measure = BandwidthMeter.update

    def measure_and_replace(meter: BandwidthMeter, block: Audio) -> None:
        (tmp_path / "new.wav").write_bytes(wav(audio=sound() / 2))
        (tmp_path / "new.wav").replace(source)
        measure(meter, block)

    monkeypatch.setattr(BandwidthMeter, "update", measure_and_replace)
    refused(ttsr, source, "changed while it was read", "render it again")


# what is not a file


def test_a_folder_named_like_a_file(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "x.wav").mkdir()
    result = ttsr("render", tmp_path / "x.wav", "-o", f"{tmp_path / 'out'}/", *QUICK)
    assert result.exit_code == 2
    assert f"{tmp_path / 'x.wav'}: no audio files here" in result.output
    (tmp_path / "y.wav").write_bytes(wav())
    result = ttsr("render", tmp_path, "-o", f"{tmp_path / 'out'}/", *QUICK, "--no-report")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "out") == ["y.wav"]


def test_links(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = tmp_path / "elsewhere" / "real.wav"
    source.write_bytes(wav())
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.wav").symlink_to(source)
    (folder / "dangling.wav").symlink_to(tmp_path / "nowhere")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    refused(ttsr, folder / "dangling.wav", "cannot be opened", "check its name")
    refused(ttsr, folder / "loop.wav", "cannot be opened", "check its name")
    result = ttsr("render", folder, "-o", f"{tmp_path / 'out'}/", *QUICK)
    assert result.exit_code == 2, "a folder's links are not followed"
    result = ttsr("render", folder / "link.wav", "-o", f"{tmp_path / 'out'}/", *QUICK, "--no-report")
    assert result.exit_code == 0, "a link that is named is what the user wants"
    assert files(tmp_path / "out") == ["link.wav"]
    assert source.read_bytes() == wav()


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(wav())
    shutil.copy(tmp_path / "x.wav", tmp_path / "y.wav")
    (tmp_path / "x.wav").chmod(0)
    command = [*mere_user(), sys.executable, "-m", "ttsr_studio", "render", "x.wav", "y.wav", "-o", "out/"]
    done = subprocess.run([*command, *map(str, QUICK)], cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 1
    assert "x.wav" in done.stderr
    assert "check its permissions" in done.stderr
    assert (tmp_path / "out/y.wav").is_file(), "the other files go on"


def test_nothing_hangs(tmp_path: Path) -> None:
    """A process of its own, since what hangs in a decoder cannot be interrupted."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "endless.wav").write_bytes(wav(ENDLESS))
    names = ["pipe.wav", "device.wav", "endless.wav"]
    command = [sys.executable, "-m", "ttsr_studio", "render", *names, "-o", "out/", *map(str, QUICK), "--no-report"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 1
    *said, last = done.stderr.splitlines()
    first, second = (line for line in said if line.startswith("failed"))  # a slow machine says where it stands, too
    assert first == "failed: pipe.wav: is not a regular file; give an audio file, not a folder, pipe or device"
    assert second == first.replace("pipe.wav", "device.wav")
    assert last == "1 rendered, 0 skipped, 2 failed"
    assert files(tmp_path / "out") == ["endless.wav"]
