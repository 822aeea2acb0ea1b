"""New audio in video and in the codecs of players, by real encoders: what is copied stays, what is new is in place."""

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tiny_videos import RATE, Film, click, heard, make, packets, sound

from ttsr_studio.audio.media.forms import KINDS, Sound, bitrate_for, rate_for, subtype_for
from ttsr_studio.audio.media.mux import Muxed, Original, Trace
from ttsr_studio.audio.media.verify import Exactness, difference
from ttsr_studio.audio.media.write import Render, write_media
from ttsr_studio.errors import OptionError, OutputError

FILMS = {
    "a.mp4": Film("libx264", "aac", options={"bf": "2"}, chapters=True, tags={"title": "T"}),
    "p.mov": Film("prores_ks", "pcm_s24le"),
    "m.mov": Film("mpeg4", "pcm_s16le"),
    "h.m4v": Film("libx265", "alac", options={"x265-params": "log-level=none"}),
    "v.mkv": Film("libvpx-vp9", "libopus", chapters=True, tags={"title": "T"}),
    "v.webm": Film("libvpx", "libopus"),
    "j.avi": Film("mjpeg", "pcm_s16le"),
    "b.ts": Film("mpeg2video", "mp2"),
    "d.m2ts": Film("libx264", "ac3"),
    "f.flv": Film("libx264", "aac"),
    "g.mpg": Film("mpeg2video", "mp2"),
}


def written(source: Path, target: Path, bitrate: int | None = None, bits: int = 24, **original: object) -> Sound:
    """New audio put into a copy of a file: its own, with more above."""
    data = heard(source)[1].astype(np.float32)
    data = data[:, :RATE] if RATE < data.shape[1] < RATE + 1024 else data  # a decoder goes on to its frame's end
    data = data + 0.1 * sound(data.shape[1] / RATE, 20000.0, 5)
    with av.open(str(source)) as file:
        codec = file.streams.audio[0].codec_context.name
    subtype = subtype_for(target.suffix, bits, bitrate, codec)
    coded = Sound(subtype, RATE, 2, "stereo", bitrate_for(subtype, 2, bitrate))
    blocks = lambda: iter([data[:, :20000], data[:, 20000:]])  # noqa: E731
    write_media(target, Render(blocks, coded), Original(source, **original))  # type: ignore[arg-type]
    return coded


@pytest.mark.parametrize("name", FILMS)
def test_the_picture_is_copied_and_the_audio_is_where_it_was(tmp_path: Path, name: str) -> None:
    source, target = make(tmp_path / name, FILMS[name]), tmp_path / f"out{Path(name).suffix}"
    coded = written(source, target)
    old, new = packets(source), packets(target)
    assert [each[0] for each in new] == [each[0] for each in old]
    moved = (new[0][2] or 0) - (old[0][2] or 0)
    for back, there in zip(new, old, strict=True) if name != "g.mpg" else ():  # which has no times of its own
        for ours, theirs in zip(back[1:], there[1:], strict=True):
            assert (ours is None) == (theirs is None)
            assert abs((ours or 0) - (theirs or 0) - moved) < Fraction(1, 80000)
    assert moved == 0 or name.endswith((".flv", ".mpg"))
    assert abs(click(target) - click(source)) * RATE <= 1.5
    with av.open(str(source)) as first, av.open(str(target)) as second:
        lasting = abs((first.duration or 0) - (second.duration or 0)) / av.time_base
        assert lasting <= (0.033 if coded.codec.lossy or name == "v.mkv" else 1e-5)
        assert first.metadata.get("title") == second.metadata.get("title")
        assert [each["metadata"] for each in first.chapters()] == [each["metadata"] for each in second.chapters()]
        assert first.streams.audio[0].metadata.get("language") == second.streams.audio[0].metadata.get("language")


@pytest.mark.parametrize("late", [0.3456, -0.05])
@pytest.mark.parametrize("name", ["a.mp4", "m.mov", "v.mkv", "f.flv", "b.ts"])
def test_audio_that_begins_with_another_moment_than_the_picture(tmp_path: Path, name: str, late: float) -> None:
    film = FILMS[name]
    source = make(tmp_path / name, Film(film.picture, film.audio, late=late, options=film.options))
    target = tmp_path / f"out{Path(name).suffix}"
    written(source, target)
    assert abs(click(target) - click(source)) * RATE <= (49 if name == "v.mkv" else 1.5)  # Matroska counts thousandths
    assert [each[0] for each in packets(target)] == [each[0] for each in packets(source)]


def test_times_of_frames_that_vary_and_frames_that_are_reordered_stay(tmp_path: Path) -> None:
    film = Film("libx264", "aac", times=[0, 33, 70, 171, 180, 400, 733, 740, 990], options={"bf": "3"})
    for name in ("v.mp4", "v.mkv"):
        source, target = make(tmp_path / name, film), tmp_path / f"out{Path(name).suffix}"
        written(source, target)
        assert packets(target) == packets(source)
        assert any(each[1] != each[2] for each in packets(target))


def test_of_several_audio_streams_one_is_new(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", Film("libx264", "flac", languages=("eng", "ger", "fre")))
    target, beside = tmp_path / "out.mkv", tmp_path / "beside.mkv"
    written(source, target, stream=2)
    with av.open(str(target)) as file:
        told = [(each.metadata["language"], each.metadata["title"]) for each in file.streams.audio]
    assert told == [("eng", "Track 1"), ("ger", "Track 2"), ("fre", "Track 3")]
    assert packets(target, "audio", 0) == packets(source, "audio", 0)
    assert packets(target, "audio", 2) == packets(source, "audio", 2)
    assert packets(target, "audio", 1) != packets(source, "audio", 1)
    written(source, beside, stream=2, keep=True)
    with av.open(str(beside)) as file:
        titles = [each.metadata["title"] for each in file.streams.audio]
    assert titles == ["Track 1", "Track 2", "Track 2 (original)", "Track 3"]
    assert packets(beside, "audio", 2) == packets(source, "audio", 1)


@pytest.mark.parametrize(
    ("name", "bitrate", "subtype"),
    [("o.m4a", None, "ALAC_24"), ("o.m4a", 192_000, "AAC"), ("o.mp3", 320_000, "MP3"), ("o.opus", 96_000, "OPUS"),
     ("o.ogg", 160_000, "VORBIS"), ("o.mka", None, "FLAC_24"), ("o.weba", None, "OPUS")],
)  # fmt: skip
def test_audio_alone_begins_and_ends_with_the_render(
    tmp_path: Path, name: str, bitrate: int | None, subtype: str
) -> None:
    source = make(
        tmp_path / "a.mp4", Film("libx264", "aac", late=0.3, tags={"title": "T", "artist": "A", "album": "B"})
    )
    coded = written(source, tmp_path / name, bitrate)
    _, data = heard(tmp_path / name)
    assert coded.subtype == subtype
    given = heard(source)[1]
    assert int(np.argmax(np.abs(data[0]))) == int(np.argmax(np.abs(given[0])))
    assert given.shape[1] <= data.shape[1] < given.shape[1] + 1024
    with av.open(str(tmp_path / name)) as file:
        tags = {key.lower(): text for key, text in {**file.streams[0].metadata, **file.metadata}.items()}
        assert not file.streams.video
        assert (tags["title"], tags["artist"], tags["album"]) == ("T", "A", "B")
        if bitrate and subtype != "VORBIS":
            rate = (file.size or 0) * 8 / 1.0
            assert 0.5 * bitrate < rate < 1.7 * bitrate


def test_the_same_render_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4", "a.ogg"):
        source = make(tmp_path / "in.mkv", Film("libx264", "flac", chapters=True))
        both = []
        for part in "12":
            (tmp_path / part).mkdir(exist_ok=True)
            written(source, tmp_path / part / name)
            both.append((tmp_path / part / name).read_bytes())
        assert both[0] == both[1]


def test_a_container_without_a_place_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", FILMS["a.mp4"])
    with pytest.raises(OutputError, match=r"a\.mp4: webm cannot hold what is in it .*name the output \.mp4"):
        written(source, tmp_path / "o.webm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


def test_what_reads_back_differently_is_found(tmp_path: Path) -> None:
    source, target = make(tmp_path / "a.mov", FILMS["m.mov"]), tmp_path / "o.mov"
    written(source, target)
    data = heard(target)[1].astype(np.float32)
    coded, exact = Sound("PCM_24", RATE, 2, "stereo"), Exactness(bytes=True, trimmed=True, timed=True)
    traces = {0: Trace()}
    with av.open(str(target)) as file:
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                traces[0].add(packet)
    good = Muxed(1, Fraction(0), 0, copies=traces)
    assert difference(target, [data], coded, good, exact) is None
    other = data.copy()
    other[1, 777] += 0.001
    assert difference(target, [other], coded, good, exact) == "other samples"
    assert "samples early" in str(difference(target, [data, data[:, :100]], coded, good, exact))
    assert "samples late" in str(difference(target, [data[:, :-100]], coded, good, exact))
    traces[0].digest.update(b"more")
    assert difference(target, [data], coded, good, exact) == "a stream (number 0) of other bytes"


@pytest.mark.parametrize(
    ("suffix", "bits", "bitrate", "codec", "expected"),
    [
        (".mp4", 24, None, "aac", "ALAC_24"), (".mp4", 16, 128_000, "ac3", "AC3"), (".mov", 32, None, "", "FLOAT"),
        (".mkv", 32, None, "", "FLOAT"), (".mkv", 24, 128_000, "vorbis", "OPUS"), (".webm", 24, None, "vorbis", "OPUS"),
        (".ts", 24, None, "mp2", "MP2"), (".ts", 24, None, "dts", "AAC"), (".m4a", 16, None, "", "ALAC_16"),
    ],
)  # fmt: skip
def test_codecs_by_container(suffix: str, bits: int, bitrate: int | None, codec: str, expected: str) -> None:
    assert subtype_for(suffix, bits, bitrate, codec) == expected


def test_what_codecs_do_not_take_is_refused() -> None:
    with pytest.raises(OptionError, match=r"\.mp4 holds 16 or 24 bits"):
        subtype_for(".mp4", 32, None, "")
    with pytest.raises(OptionError, match=r"\.avi is written with lossless audio only"):
        subtype_for(".avi", 24, 128_000, "")
    with pytest.raises(OptionError, match="MP3 holds at most 2 channels, not 6"):
        bitrate_for("MP3", 6, None)
    with pytest.raises(OptionError, match="--bitrate 500k: MP3 takes 32k to 320k"):
        bitrate_for("MP3", 2, 500_000)
    with pytest.raises(OptionError, match=r"--rate 96000: OPUS in \.webm takes 48000 Hz"):
        rate_for(".webm", "OPUS", 96000, fixed=True)
    assert rate_for(".webm", "OPUS", 44100, fixed=False) == 48000
    assert rate_for(".mp3", "MP3", 44100, fixed=True) == 44100
    assert rate_for(".mp3", "MP3", 96000, fixed=False) == 48000
    assert bitrate_for("MP3", 2, 200_000) == 192_000
    assert set(KINDS) >= {".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts"}


def test_a_picture_keeps_its_turn_its_colours_and_its_timecode(tmp_path: Path) -> None:
    for ending in (".mp4", ".mov", ".mkv"):
        source = turned(tmp_path / f"turned{ending}", make(tmp_path / f"base{ending}", Film("libx264", "aac")))
        written(source, tmp_path / f"out{ending}")
        assert seen(tmp_path / f"out{ending}") == seen(source)
        assert seen(source)[0] == 90
    source = make(tmp_path / "tc.mov", Film("prores_ks", "pcm_s24le", tags={"timecode": "01:02:03:04"}))
    written(source, tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as file:
        assert [each.metadata["timecode"] for each in file.streams if each.type == "data"] == ["01:02:03:04"]


def turned(path: Path, base: Path) -> Path:
    """A copy of a video that is to be shown turned, in other colours."""
    with av.open(str(base)) as source, av.open(str(path), "w") as out:
        copies = {each.index: out.add_stream_from_template(each, opaque=True) for each in source.streams}
        video = out.streams.video[0]
        video.set_display_rotation(90)
        video.codec_context.color_trc, video.codec_context.color_primaries = 16, 9  # PQ, BT.2020
        video.codec_context.colorspace = 9
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    return path


def seen(path: Path) -> tuple[object, ...]:
    """How a picture is to be shown: degrees, and its colours."""
    with av.open(str(path)) as file:
        frame = next(file.decode(file.streams.video[0]))
    return frame.rotation, frame.colorspace, frame.color_trc, frame.color_primaries


def test_what_a_screen_needs_to_know_of_hdr_stays(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", Film("libx265", "aac", options={"x265-params": "log-level=none"}))
    light = box(b"mdcv", bytes(range(24))) + box(b"clli", struct.pack(">HH", 1000, 400))
    source.write_bytes(widened(source.read_bytes(), light))
    written(source, tmp_path / "o.mp4")
    assert light[4:8] in source.read_bytes()
    assert light[4:32] in (tmp_path / "o.mp4").read_bytes()
    assert light[36:] in (tmp_path / "o.mp4").read_bytes()


def box(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + name + data


def widened(data: bytes, more: bytes) -> bytes:
    """An MP4 whose index comes last, with more boxes at the end of its HEVC description."""
    at = data.index(b"hev1") - 4
    end = at + int.from_bytes(data[at : at + 4])
    out = bytearray(data[:end] + more + data[end:])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hev1"):
        start = data.rindex(name, 0, at + 8) - 4
        out[start : start + 4] = (int.from_bytes(out[start : start + 4]) + len(more)).to_bytes(4)
    return bytes(out)


def test_subtitles_attachments_and_covers_go_along(tmp_path: Path) -> None:
    base, source = make(tmp_path / "base.mkv", Film("libx264", "flac")), tmp_path / "rich.mkv"
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    with av.open(str(base)) as file, av.open(str(source), "w") as out:
        copies = {each.index: out.add_stream_from_template(each, opaque=True) for each in file.streams}
        text = out.add_mux_stream("subrip")
        text.metadata["language"] = "fre"
        text.time_base = Fraction(1, 1000)
        out.add_attachment("type.ttf", "application/x-truetype-font", b"letters")
        out.add_attachment("cover.png", "image/png", picture.getvalue())
        line: av.Packet[Any] = av.Packet(b"Bonjour")
        line.stream, line.time_base, line.pts, line.dts, line.duration = text, Fraction(1, 1000), 100, 100, 300
        out.mux(line)
        for packet in file.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    written(source, tmp_path / "o.mkv")
    assert [each[0] for each in packets(tmp_path / "o.mkv", "subtitle")] == [b"Bonjour"]
    for target, kinds in (("o.mkv", ["png", "h264"]), ("o.m4a", ["png"]), ("o.mp3", ["png"]), ("o.opus", ["png"])):
        written(source, tmp_path / target)
        with av.open(str(tmp_path / target)) as file:
            assert sorted(each.codec_context.name for each in file.streams.video) == sorted(kinds)
            names = [each.metadata.get("filename") for each in file.streams if each.type == "attachment"]
            covers = [bytes(each) for each in file.demux() if each.size and each.stream.codec_context.name == "png"]
        assert names == (["type.ttf"] if target == "o.mkv" else [])
        assert covers == [picture.getvalue()]
