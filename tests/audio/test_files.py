"""Reading refuses what would render wrongly; writing leaves a complete file or none."""

import itertools
import os
import resource
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from ttsr_studio.audio import encode as write
from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.audio.encode import Encoding, write_audio
from ttsr_studio.audio.formats import output_format
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.errors import InputError, OptionError, OutputError
from ttsr_studio.storage.atomic import fit_name

RATE = 16000


def _noise(channels: int = 2, frames: int = 5000, level: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(frames).standard_normal((channels, frames)) * level).astype(np.float32)


def _save(path: Path, audio: np.ndarray, subtype: str | None = None, rate: int = RATE, kind: str | None = None) -> Path:
    sf.write(path, audio.T, rate, subtype=subtype, format=kind)
    return path


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def _patch(path: Path, name: bytes, value: int) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(name) + 4
    data[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    return path


def _read(info: SourceInfo, **options: bool) -> np.ndarray:
    return np.concatenate(list(read_blocks(info, 777, **options)), axis=1)


def _twice(audio: np.ndarray, step: int = 1000) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: (audio[:, at : at + step] for at in range(0, audio.shape[1], step))


def _info(name: str, container: str, subtype: str) -> SourceInfo:
    return SourceInfo(Path(name), container, subtype, 48000, 2, 10, (0, 0, 0))


# reading


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_24"), ("WAVEX", "PCM_16"), ("RF64", "FLOAT"), ("AIFF", "PCM_16"), ("FLAC", "PCM_24")],
)
def test_reads_what_soundfile_reads(tmp_path: Path, kind: str, subtype: str) -> None:
    path = _save(tmp_path / "sound.x", _noise(), subtype, kind=kind)
    info = probe(path)
    assert (info.container, info.subtype) == (kind, subtype)
    assert (info.rate, info.channels, info.frames) == (RATE, 2, 5000)
    assert info.warnings == ()
    np.testing.assert_array_equal(_read(info), sf.read(path, dtype="float32")[0].T)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "AIFF"])
def test_a_cut_file_fails_unless_salvaged(tmp_path: Path, kind: str) -> None:
    path = _cut(_save(tmp_path / "cut.wav", _noise(), "PCM_24", kind=kind), 0.6)
    with pytest.raises(InputError, match=r"cut short.*--salvage"):
        probe(path)
    info = probe(path, salvage=True)
    assert "cut short" in info.warnings[0]
    assert 2900 < info.frames < 3000
    assert _read(info).shape == (2, info.frames)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_a_cut_stream_fails_unless_salvaged(tmp_path: Path, kind: str, subtype: str) -> None:
    path = _cut(_save(tmp_path / "cut", _noise(frames=40000), subtype, kind=kind), 0.6)
    with pytest.raises(InputError, match=r"of 40000 samples c.*--salvage"):
        _read(probe(path))
    info = probe(path, salvage=True)
    assert 0 < info.frames < 40000
    assert "cut short" in info.warnings[0]
    assert _read(info, salvage=True).shape == (2, info.frames)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_streaming_headers_are_read_to_the_end(tmp_path: Path, subtype: str, size: int) -> None:
    path = _save(tmp_path / "stream.wav", _noise(), subtype, kind="WAV")
    expected = sf.read(path, dtype="float32")[0].T
    info = probe(_patch(_patch(path, b"data", size), b"RIFF", size))
    assert info.frames == 5000
    assert "gives no length" in info.warnings[0]
    np.testing.assert_array_equal(_read(info), expected)


def test_no_audio_followed_by_another_chunk_is_empty(tmp_path: Path) -> None:
    path = _save(tmp_path / "empty.wav", np.zeros((1, 0)))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(InputError, match="empty"):
        probe(path)


def test_what_is_not_audio_is_refused(tmp_path: Path) -> None:
    header = _save(tmp_path / "a.wav", _noise()).read_bytes()[:44]
    for data, words in [(b"", "0 bytes"), (b"<html></html>", "not audio"), (b"RIFF", "not audio")]:
        (tmp_path / "x.wav").write_bytes(data)
        with pytest.raises(InputError, match=words):
            probe(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(header)
    with pytest.raises(InputError, match="cut short"):
        probe(tmp_path / "x.wav")
    with pytest.raises(InputError, match="holds no audio"):
        probe(tmp_path / "x.wav", salvage=True)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    for path, words in [
        (tmp_path / "pipe.wav", "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "dangling.wav", "cannot be opened"),
        (tmp_path / "missing.wav", "cannot be opened"),
    ]:
        with pytest.raises(InputError, match=words):
            probe(path)
    _save(tmp_path / "real.wav", _noise())
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    assert probe(tmp_path / "link.wav").frames == 5000


@pytest.mark.parametrize(("rate", "channels"), [(4000, 1), (400000, 1), (RATE, 33)])
def test_rates_and_channels_out_of_range(tmp_path: Path, rate: int, channels: int) -> None:
    with pytest.raises(InputError, match=r"convert|split"):
        probe(_save(tmp_path / "odd.wav", _noise(channels, 100), rate=rate))


@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38])
def test_bad_values_name_channel_and_sample(tmp_path: Path, value: float) -> None:
    audio = _noise()
    audio[1, 3210] = value
    info = probe(_save(tmp_path / "bad.wav", audio, "FLOAT"))
    with pytest.raises(InputError, match="channel 2, sample 3210"):
        _read(info)


def test_a_file_that_is_replaced_while_read_fails(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.wav", _noise())
    blocks = read_blocks(probe(path), 1000)
    next(blocks)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read"):
        list(blocks)


def test_names_are_kept_and_messages_stay_one_line(tmp_path: Path) -> None:
    for name in ["-n 'x\".wav", "é声.wav", "a" * 244 + ".wav", os.fsdecode(b"\xff.wav"), "two\nlines.wav"]:
        audio = _noise(1, 50)
        write_audio(tmp_path / name, _twice(audio), Encoding(RATE, 1, "WAV", "FLOAT"))
        np.testing.assert_array_equal(_read(probe(tmp_path / name)), audio)
        (tmp_path / name).write_bytes(b"no")
        with pytest.raises(InputError) as caught:
            probe(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).encode("utf-8")


# scratch and resampling


def test_scratch_pads_with_zeros(tmp_path: Path) -> None:
    audio = _noise(3, 1000)
    with Scratch(3, tmp_path) as scratch:
        for block in np.split(audio, [100, 100, 731], axis=1):
            scratch.append(block)
        assert (scratch.frames, scratch.channels) == (1000, 3)
        np.testing.assert_array_equal(scratch.read(-20, 1010), np.pad(audio, ((0, 0), (20, 10))))
        np.testing.assert_array_equal(scratch.read(200, 300), audio[:, 200:300])
        assert not scratch.read(2000, 2010).any()
        assert not scratch.read_going_on(2000, 2010).any()
        gone_on = np.pad(np.pad(audio, ((0, 0), (0, 900)), mode="reflect"), ((0, 0), (20, 0)))
        np.testing.assert_array_equal(scratch.read_going_on(-20, 1900), gone_on)
        np.testing.assert_array_equal(scratch.read_going_on(200, 300), audio[:, 200:300])
        np.testing.assert_array_equal(np.concatenate(list(scratch.blocks(300)), axis=1), audio)
    assert list(tmp_path.iterdir()) == []


def test_scratch_is_read_by_several_threads(tmp_path: Path) -> None:
    audio = np.tile(np.arange(200_000, dtype=np.float32), (2, 1))
    with Scratch(2, tmp_path) as scratch, ThreadPoolExecutor(4) as threads:
        scratch.append(audio)
        starts = [37_000 * number % 190_000 for number in range(400)]
        for start, block in zip(starts, threads.map(lambda at: scratch.read(at, at + 10_000), starts), strict=True):
            assert block[1, 0] == start
            assert block[1, -1] == start + 9_999


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Make every file end at 64 kB, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    audio = _noise(2, 40000)
    with Scratch(2, tmp_path) as scratch, pytest.raises(OutputError, match="free space"):
        scratch.append(audio)
    for kind, subtype in [("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")]:
        with pytest.raises(OutputError, match="free space"):
            write_audio(tmp_path / "out.x", _twice(audio), Encoding(RATE, 2, kind, subtype))
        assert list(tmp_path.iterdir()) == []


RATES = [(44100, 48000), (48000, 44100), (8000, 48000), (192000, 48000), (48000, 48000)]


@pytest.mark.parametrize(("rates", "frames"), list(itertools.product(RATES, [1, 3, 999, 20001])))
def test_resampling_has_the_exact_length_and_no_delay(rates: tuple[int, int], frames: int) -> None:
    audio = _noise(2, frames)
    out = np.concatenate(list(resample_blocks(_twice(audio, 4096)(), *rates, 2, frames)), axis=1)
    assert out.shape == (2, -(-frames * rates[1] // rates[0]))
    whole = soxr.resample(audio.T, *rates, quality="VHQ").T
    np.testing.assert_allclose(out[:, : whole.shape[1]], whole, atol=1e-6)


# writing


@pytest.mark.parametrize(
    ("name", "container", "subtype", "depth", "suffix", "expected"),
    [
        ("a.wav", "WAV", "PCM_16", "source", None, ("WAV", "PCM_16", ".wav")),
        ("a.WAV", "WAVEX", "PCM_24", "source", None, ("WAVEX", "PCM_24", ".WAV")),
        ("a.wav", "RF64", "FLOAT", "16", None, ("RF64", "PCM_16", ".wav")),
        ("a.wav", "WAV", "PCM_U8", "source", None, ("WAV", "PCM_16", ".wav")),
        ("a.wav", "WAV", "MS_ADPCM", "source", None, ("WAV", "PCM_24", ".wav")),
        ("a.aiff", "AIFF", "PCM_S8", "source", None, ("AIFF", "PCM_16", ".aiff")),
        ("a.aif", "AIFF", "PCM_24", "32f", ".wav", ("WAV", "FLOAT", ".wav")),
        ("a.flac", "FLAC", "PCM_24", "source", None, ("FLAC", "PCM_24", ".flac")),
        ("a.mp3", "MP3", "MPEG_LAYER_III", "source", None, ("WAV", "PCM_24", ".wav")),
        ("a.ogg", "OGG", "VORBIS", "source", ".flac", ("FLAC", "PCM_24", ".flac")),
        ("a.bin", "WAV", "PCM_32", "source", None, ("WAV", "PCM_32", ".wav")),
    ],
)
def test_output_format(
    name: str, container: str, subtype: str, depth: str, suffix: str | None, expected: tuple[str, str, str]
) -> None:
    assert output_format(_info(name, container, subtype), depth, suffix) == expected
    assert sf.check_format(*expected[:2])


@pytest.mark.parametrize(
    ("depth", "suffix", "words"),
    [("20", None, "known: 16, 24, 32f, source"), ("16", ".mp3", r"known: \.aif"), ("32f", ".flac", r"\.wav")],
)
def test_output_format_refuses(depth: str, suffix: str | None, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        output_format(_info("a.wav", "WAV", "PCM_16"), depth, suffix)


FORMATS = [
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "PCM_24"),
    ("RF64", "PCM_32"),
    ("AIFF", "PCM_16"),
    ("FLAC", "PCM_24"),
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_written_files_hold_the_audio(tmp_path: Path, container: str, subtype: str) -> None:
    audio = _noise(2, 3000)
    first = write_audio(tmp_path / "a", _twice(audio), Encoding(RATE, 2, container, subtype))
    again = write_audio(tmp_path / "b", _twice(audio, 77), Encoding(RATE, 2, container, subtype))
    assert first.sha256 == again.sha256, "the same render must have the same checksum"
    assert first.frames == 3000
    step = {"PCM_16": 2.0 / 2**15, "PCM_24": 0.5 / 2**23, "PCM_32": 0.5 / 2**31}.get(subtype, 0.0)
    assert np.abs(_read(probe(tmp_path / "a")) - audio).max() <= step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_16_bit_dither_leaves_silence_alone_and_noise_unbiased(tmp_path: Path) -> None:
    audio = np.full((1, 20000), 0.3 / 2**15, np.float32)
    audio[:, :5000] = 0.0
    write_audio(tmp_path / "a.wav", _twice(audio), Encoding(RATE, 1, "WAV", "PCM_16"))
    steps = sf.read(tmp_path / "a.wav", dtype="int16")[0]
    assert not steps[:5000].any()
    assert steps[5000:].mean() == pytest.approx(0.3, abs=0.03)


def test_a_file_that_reads_back_differently_is_not_kept(tmp_path: Path) -> None:
    passes = iter([_noise(1, 500), _noise(1, 500) * 2])
    (tmp_path / "a.wav").write_bytes(b"old")
    with pytest.raises(OutputError, match="other samples"):
        write_audio(tmp_path / "a.wav", lambda: [next(passes)], Encoding(RATE, 1, "WAV", "PCM_24"))
    assert (tmp_path / "a.wav").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_render_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield _noise(1, 500)
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        write_audio(tmp_path / "a.wav", broken, Encoding(RATE, 1, "WAV", "PCM_24"))
    with pytest.raises(OutputError, match="not a number"):
        write_audio(tmp_path / "a.wav", lambda: [np.full((1, 9), np.nan)], Encoding(RATE, 1, "WAV", "PCM_24"))
    with pytest.raises(OutputError, match="folder does not exist"):
        write_audio(tmp_path / "no" / "a.wav", broken, Encoding(RATE, 1, "WAV", "PCM_24"))
    assert list(tmp_path.iterdir()) == []


def test_large_files_become_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_RIFF_LIMIT", 4000)
    audio = _noise(1, 3000)
    write_audio(tmp_path / "a.wav", _twice(audio), Encoding(RATE, 1, "WAV", "PCM_24"))
    assert probe(tmp_path / "a.wav").container == "RF64"
    with pytest.raises(OutputError, match=r"\.wav"):
        write_audio(tmp_path / "a.aif", _twice(audio), Encoding(RATE, 1, "AIFF", "PCM_24"))
    assert len(list(tmp_path.iterdir())) == 1


LONG = ["a" * 300 + ".wav", "声" * 100 + ".wav", "a." + "b" * 300, os.fsdecode(b"\xff" * 300)]


@pytest.mark.parametrize("name", LONG)
def test_long_names_fit(name: str) -> None:
    short = fit_name(name)
    assert 200 < len(os.fsencode(short)) <= 255
    assert short.endswith(".wav") == name.endswith(".wav")
    assert short != fit_name("x" + name)
    assert fit_name("short.wav") == "short.wav"


# the end is known, not guessed


def _streamed_flac(path: Path, frames: int = 20000) -> Path:
    """A FLAC as an encoder writes it into a pipe: its header has no total (RFC 9639, 8.2)."""
    data = bytearray(_save(path, _noise(1, frames), "PCM_16", kind="FLAC").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return path


def test_a_flac_without_a_total_is_read_to_its_last_sample(tmp_path: Path) -> None:
    info = probe(_streamed_flac(tmp_path / "a.flac"))
    assert (info.frames, info.container, info.subtype) == (20000, "FLAC", "PCM_16")
    assert "gives no length" in info.warnings[0]
    np.testing.assert_allclose(_read(info), _noise(1, 20000), atol=2**-15)


def test_a_damaged_flac_without_a_total_says_where(tmp_path: Path) -> None:
    path = _streamed_flac(tmp_path / "a.flac")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged at 0\.\d\d s.*--salvage"):
        probe(path)
    info = probe(path, salvage=True)
    assert "damaged" in " ".join(info.warnings)
    assert _read(info, salvage=True).shape == (1, info.frames)


def test_audio_outside_the_header_is_an_error_that_says_how_much(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.wav", _noise(1, 20000), "PCM_16")
    whole = sf.read(path, dtype="float32")[0]
    _patch(_patch(path, b"data", 8000), b"RIFF", 8036)
    with pytest.raises(InputError, match=r"counts 8000 bytes of audio, 32000 of 40000 lie outside.*--salvage"):
        probe(path)
    info = probe(path, salvage=True)
    np.testing.assert_array_equal(_read(info, salvage=True)[0], whole)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36])
def test_sizes_that_pipes_write_are_read_to_the_end(tmp_path: Path, size: int) -> None:
    path = _save(tmp_path / "a.wav", _noise(), "PCM_16")
    assert probe(_patch(path, b"data", size)).frames == 5000


def test_an_ogg_without_a_last_page_is_read_whole_with_a_note(tmp_path: Path) -> None:
    data = bytearray(_save(tmp_path / "a.ogg", _noise(1, 60000), kind="OGG").read_bytes())
    last = data.rindex(b"OggS")
    (tmp_path / "a.ogg").write_bytes(data[:last])
    info = probe(tmp_path / "a.ogg")
    assert "not marked as the last" in info.warnings[0]
    assert _read(info).shape == (1, info.frames)


def _fewer(path: Path, kind: str) -> Path:
    """Let the header of a FLAC, MP3, AIFF or AU count a third of the samples that it counts."""
    data = bytearray(path.read_bytes())
    if kind == "FLAC":
        total = int.from_bytes(data[18:26], "big")
        frames = total & (1 << 36) - 1
        data[18:26] = (total - frames + frames // 3).to_bytes(8, "big")
    else:
        at = {"MP3": data.find(b"Xing") + 8, "AIFF": data.find(b"SSND") + 4, "AU": 8}[kind]
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 12 * 4).to_bytes(4, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["FLAC", "MP3", "AIFF", "AU"])
def test_a_header_that_counts_too_few_is_an_error_and_salvage_takes_all(tmp_path: Path, kind: str) -> None:
    audio = _noise(frames=40000)
    path = _save(tmp_path / f"a.{kind.lower()}", audio, "PCM_16" if kind != "MP3" else None)
    whole = _read(probe(path))
    with pytest.raises(InputError, match=r"header counts \d+ .*--salvage"):
        probe(_fewer(path, kind))
    info = probe(path, salvage=True)
    assert "header counts" in info.warnings[0]
    np.testing.assert_array_equal(_read(info, salvage=True), whole)


def test_an_mp3_of_varying_rate_that_counts_nothing_is_read_to_its_end(tmp_path: Path) -> None:
    audio = _noise(frames=150000) * np.where(np.arange(150000) < 100000, 0.001, 1).astype(np.float32)
    path = tmp_path / "a.mp3"
    sf.write(path, audio.T, 48000, bitrate_mode="VARIABLE", compression_level=0.5)
    data = path.read_bytes()
    path.write_bytes(data[data.index(b"\xff\xfb", 4) :])  # without the frame that counts the others
    info = probe(path)
    assert info.frames >= 150000
    assert "no length" in info.warnings[0]
    assert _read(info).shape == (2, info.frames)
    broken = bytearray(data)
    broken[data.index(b"Xing") + 8 : data.index(b"Xing") + 12] = bytes(4)
    path.write_bytes(broken)
    assert probe(path).frames == 150000


def test_oggs_one_behind_the_other_are_read_as_one(tmp_path: Path) -> None:
    parts = [_save(tmp_path / f"{n}.ogg", _noise(frames=n), "OPUS", 48000) for n in (20000, 30000)]
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    info = probe(path)
    assert info.frames == 50000
    assert "one stream behind the other" in info.warnings[0]
    assert _read(info).shape == (2, 50000)
