"""What FFmpeg's libraries read: where a click lies, how long it is, which stream, and what is said of broken files."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer
from helpers import Ttsr

from ttsr_studio.audio.decode import SourceInfo, probe, read_blocks
from ttsr_studio.audio.libav import process
from ttsr_studio.errors import InputError

RATE, LENGTH = 48000, 33333
CLICKS = (12345, 30000)


def clicks(channels: int = 2, frames: int = LENGTH) -> np.ndarray:
    """Two clicks in faint noise, [channels, samples]."""
    audio = 0.001 * np.random.default_rng(0).standard_normal((channels, frames))
    for at, level in zip(CLICKS, (0.9, -0.9), strict=True):
        audio[:, at : at + 2] = level
    return audio.astype(np.float32)


def add_track(out: OutputContainer, codec: str, channels: int = 2, **tags: str) -> AudioStream:
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    stream: AudioStream = out.add_stream(codec, rate=RATE, layout=layout)
    stream.metadata.update(tags)
    if codec == "wmav2":
        stream.codec_context.bit_rate = 128000
    if codec == "libopus":
        stream.codec_context.time_base = Fraction(1, RATE)
    return stream


def encode(
    out: OutputContainer, stream: AudioStream, audio: np.ndarray, start: int = 0, lost: tuple[int, int] = (0, 0)
) -> None:
    """Put audio into a stream from a sample on; packets that start within `lost`, in samples, are left out."""
    fifo = av.AudioFifo()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), "fltp", stream.codec_context.layout.name)
    frame.rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, RATE)
    for part in resampler.resample(frame):
        fifo.write(part)
    size = stream.codec_context.frame_size or 1024
    while part := fifo.read(size) or fifo.read(size, partial=True):
        for packet in stream.encode(part):
            if not lost[0] <= packet.pts * packet.time_base * RATE < lost[1]:
                put(out, packet, start)
    for packet in stream.encode(None):
        put(out, packet, start)


def put(out: OutputContainer, packet: "av.Packet[AudioStream]", start: int) -> None:
    """Write a packet, so many samples later."""
    packet.pts, packet.dts = packet.pts + start, packet.dts + start
    out.mux(packet)


def made(path: Path, codec: str, channels: int = 2, options: dict[str, str] | None = None, **more: object) -> Path:
    with av.open(str(path), "w", options=options or {}) as out:
        stream = add_track(out, codec, channels)
        encode(out, stream, clicks(channels), **more)  # type: ignore[arg-type]
    return path


def read(info: SourceInfo, salvage: bool = False) -> np.ndarray:
    audio = np.concatenate(list(read_blocks(info, salvage=salvage)), axis=1)
    assert audio.shape == (info.channels, info.frames)
    return audio


def found(audio: np.ndarray) -> list[int]:
    """Where the clicks lie."""
    half = audio.shape[1] * 2 // 3
    return [int(np.abs(audio[0, :half]).argmax()), int(np.abs(audio[0, half:]).argmax()) + half]


def by_pyav(path: Path) -> np.ndarray:
    """What FFmpeg's libraries decode, one frame after the other."""
    with av.open(str(path)) as container:
        return np.concatenate(
            [part.to_ndarray() for frame in container.decode(audio=0) for part in to_float(frame)], axis=1
        )


def to_float(frame: av.AudioFrame) -> list[av.AudioFrame]:
    frame.pts = None
    return list(av.AudioResampler("fltp").resample(frame))


ROUND_TRIPS = [
    *(("m4a", "aac"), ("m4a", "alac"), ("mp4", "libopus"), ("mov", "pcm_s24le"), ("mka", "libopus"), ("mkv", "flac")),
    *(("webm", "libopus"), ("ac3", "ac3"), ("wma", "wmav2"), ("ts", "aac"), ("avi", "libmp3lame"), ("flv", "aac")),
    *(("aac", "aac"), ("tta", "tta"), ("wv", "wavpack"), ("caf", "alac"), ("3gp", "aac"), ("mp4", "eac3")),
]
PADDED = {"mp4", "m4a", "mov", "3gp"}
"""Containers that say how much at the end is the encoder's padding."""


@pytest.mark.parametrize(("container", "codec"), ROUND_TRIPS)
def test_clicks_lie_where_ffmpeg_itself_puts_them(tmp_path: Path, container: str, codec: str) -> None:
    path = made(tmp_path / f"a.{container}", codec)
    info, theirs = probe(path), by_pyav(path)
    audio = read(info)
    assert max(np.abs(np.subtract(found(audio), found(theirs)))) <= 1
    assert info.warnings == () or codec == "wmav2"
    length = min(info.frames, theirs.shape[1])
    np.testing.assert_allclose(audio[:, :length], theirs[:, :length], atol=2e-5)
    if (container in PADDED and codec != "eac3") or info.subtype.startswith("PCM"):
        assert info.frames == LENGTH, "padding of the encoder is no audio"
        assert max(np.abs(np.subtract(found(audio), CLICKS))) <= 1
    else:
        assert info.frames == theirs.shape[1]


def test_a_file_is_rendered_from_its_container(tmp_path: Path, ttsr: Ttsr) -> None:
    path = made(tmp_path / "a.m4a", "alac")
    result = ttsr("render", path, "--candidates", 1, "--steps", 1, "--verifier", "lowband", "--cutoff", 8000, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert Path(summary["output"]) == tmp_path / "a_ttsr.wav"
    report = json.loads((tmp_path / "a_ttsr.ttsr.json").read_text())
    assert (report["input"]["depth"], report["output"]["depth"]) == ("PCM_24", "PCM_24")
    assert report["output"]["frames"] == LENGTH


def test_what_the_decoder_of_wma_drops_is_said(tmp_path: Path) -> None:
    info = probe(made(tmp_path / "a.wma", "wmav2"))
    assert found(read(info)) == pytest.approx([at - 2048 for at in CLICKS], abs=1)
    assert "up to 2048 samples at the beginning may be missing" in info.warnings[0]


def test_lost_packets_become_silence_of_their_length(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mka", "flac", lost=(14000, 20000))
    info = probe(path)
    assert found(read(info)) == list(CLICKS)
    assert "timestamps leave a gap" in info.warnings[0]


@pytest.mark.parametrize(("name", "codec"), [("a.mka", "flac"), ("a.mp4", "alac")])
def test_a_stream_that_starts_late_has_silence_before_it(tmp_path: Path, name: str, codec: str) -> None:
    info = probe(made(tmp_path / name, codec, start=RATE // 2))
    assert info.frames == LENGTH + RATE // 2
    assert found(read(info)) == [at + RATE // 2 for at in CLICKS]
    assert "late" in info.warnings[0]


def test_streams_are_chosen_by_number_and_language(tmp_path: Path, ttsr: Ttsr) -> None:
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as out:
        tracks = [add_track(out, "flac", channels, language=name) for channels, name in ((1, "eng"), (2, "ger"))]
        for channels, track in enumerate(tracks, 1):
            encode(out, track, clicks(channels))
    assert probe(path).channels == 1
    assert "2 (ger" in probe(path).warnings[0]
    assert [probe(path, stream=choice).channels for choice in ("1", "2", "ger")] == [1, 2, 2]
    refused = ttsr("inspect", path, "--stream", "fre")
    assert refused.exit_code == 1
    assert "1 (eng" in refused.output
    assert "2 (ger" in refused.output


def test_a_cut_file_fails_with_the_place_and_is_salvaged(tmp_path: Path) -> None:
    path = made(tmp_path / "a.m4a", "alac", options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=r"damaged at 0\.\d+ s.*--salvage"):
        probe(path)
    info = probe(path, salvage=True)
    assert 0 < info.frames < LENGTH
    assert "damaged" in info.warnings[0]
    read(info, salvage=True)


@pytest.mark.parametrize(
    ("what", "words"),
    [("crash", "crashes (signal 11)"), ("hang", "hangs"), ("raise", "fails (exit code 1: KeyError: 'no such packet')")],
)
def test_a_decoder_that_dies_is_one_line_and_the_others_go_on(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    made(tmp_path / "bad.m4a", "aac")
    made(tmp_path / "good.m4a", "alac")
    monkeypatch.setenv("TTSR_TEST_DECODER", what)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr(process, "_CHILD", "hostile_decoder")
    monkeypatch.setattr(process, "STALLED_CPU", 0.2)
    before = psutil.Process().children()
    result = ttsr("inspect", tmp_path / "bad.m4a", tmp_path / "good.m4a")
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert f"failed: {tmp_path / 'bad.m4a'}: is broken: the decoder {words}; export it again" in lines, result.output
    assert any("MP4 ALAC, 48000 Hz, 2 ch, 0.69 s" in line for line in lines), result.output
    assert psutil.Process().children() == before, "no process is left"
