"""Positions in samples follow the rate wherever they hide, and what is said of level and encoding does not lie."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import soundfile as sf
from helpers import Ttsr
from test_metadata import (
    MARK,
    Chunks,
    audio,
    bext,
    chunk,
    content,
    cue,
    fitted,
    flac,
    flac_blocks,
    rendered,
    smpl,
    source,
    walk,
)
from tiny_videos import Film, make

from ttsr_studio.audio.container.contents import Chunk, Contents
from ttsr_studio.audio.container.flac import comments
from ttsr_studio.audio.decode import SourceInfo
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.transfer import Carried, Found, carry


def block(*texts: str) -> bytes:
    coded = [text.encode() for text in texts]
    return struct.pack("<I", len(coded)) + b"".join(struct.pack("<I", len(one)) + one for one in coded)


def tagged(path: Path, *texts: str) -> Path:
    """A FLAC with these comments."""
    return flac(path, [(4, struct.pack("<I", 4) + b"test" + block(*texts))])


def said_in(path: Path) -> list[str]:
    data = dict(flac_blocks(path)[0])[4]
    vendor = int.from_bytes(data[:4], "little")
    return [text.decode() for text in comments(data[4 + vendor :]) or []]


def texts_of(carried: Carried) -> list[str]:
    return [text.decode() for text in comments(content(carried)) or []]


def of_tags(*texts: str, new: int = 44100, frames: int = 96000, **other: object) -> Carried:
    return fitted("VORBIS_COMMENT", block(*texts), 48000, new, frames, container="FLAC", **other)


def id3(*frames: tuple[bytes, bytes], version: int = 3, padding: int = 40) -> bytes:
    def syncsafe(n: int) -> bytes:
        return bytes(n >> shift & 127 for shift in (21, 14, 7, 0))

    sized = syncsafe if version == 4 else lambda n: n.to_bytes(4, "big")
    body = b"".join(name + sized(len(data)) + bytes(2) + data for name, data in frames) + bytes(padding)
    return b"ID3" + bytes([version, 0, 0]) + syncsafe(len(body)) + body


def chapter(name: bytes, start: int, stop: int, offsets: bytes, title: bytes) -> tuple[bytes, bytes]:
    sub = b"TIT2" + struct.pack(">I", len(title) + 1) + b"\0\0\3" + title
    return b"CHAP", name + b"\0" + struct.pack(">II", start, stop) + offsets + sub


# tags


def test_loops_of_games_follow_the_rate(ttsr: Ttsr, tmp_path: Path) -> None:
    path = tmp_path / "loop.flac"
    path.write_bytes(tagged(path, "TITLE=Theme", "LOOPSTART=4800", "LOOPLENGTH=9600", "LOOPEND=14400").read_bytes())
    said = rendered(ttsr, path, tmp_path / "b.flac", "--rate", "96000")
    assert said_in(tmp_path / "b.flac") == ["TITLE=Theme", "LOOPSTART=9600", "LOOPLENGTH=19200", "LOOPEND=28800"]
    assert (said["warnings"], said["left_out"]) == ([], {})
    assert said_in(path) == ["TITLE=Theme", "LOOPSTART=4800", "LOOPLENGTH=9600", "LOOPEND=14400"]
    odd = tagged(tmp_path / "odd.flac", "loop_start=1000", "Loop-End=5000", "LOOPMODE=1", "NOTE=48000")
    said = rendered(ttsr, odd, tmp_path / "c.flac", "--rate", "44100")
    assert said_in(tmp_path / "c.flac") == ["loop_start=919", "Loop-End=4594", "LOOPMODE=1", "NOTE=48000"]

    assert said["warnings"] == []
    said = rendered(ttsr, odd, tmp_path / "d.flac")
    assert said_in(tmp_path / "d.flac") == said_in(odd)
    assert said["warnings"] == []


def test_a_loop_keeps_its_length_and_its_end() -> None:
    inclusive = of_tags("LOOPSTART=1001", "LOOPLENGTH=2001", "LOOPEND=3001")
    assert texts_of(inclusive) == ["LOOPSTART=920", "LOOPLENGTH=1838", "LOOPEND=2757"]
    (line,) = inclusive.warnings
    assert line.endswith("LOOP was rounded from 1838.419 to 1838 (-0.419 samples)")
    whole = of_tags("LOOPSTART=1", "LOOPEND=96000")
    assert texts_of(whole) == ["LOOPSTART=1", "LOOPEND=88200"]
    assert texts_of(of_tags("LOOP_START=0", "LOOP_END=95999")) == ["LOOP_START=0", "LOOP_END=88199"]
    spread = of_tags("SMPL.LOOP_START=480", "um3.stream.looppoint.start=960", "XIPH_CUE_LOOPEND=4800")
    assert texts_of(spread) == ["SMPL.LOOP_START=441", "um3.stream.looppoint.start=882", "XIPH_CUE_LOOPEND=4410"]


def test_other_tags_that_count_samples_follow_and_times_stay() -> None:
    counted = {
        "SAMPLES_OFFSET=480": "SAMPLES_OFFSET=441",
        "START_SAMPLE=480, 960": "START_SAMPLE=441, 882",
        "time_reference=480000000000": "time_reference=441000000000",
        "TOTALSAMPLES=96000": "TOTALSAMPLES=88200",
        "SAMPLERATE=48000": "SAMPLERATE=44100",
        "COMMENT=LOOPSTART=480 by me": "COMMENT=LOOPSTART=441 by me",
        "CUESHEET=TRACK 01 AUDIO\n  INDEX 01 00:01:33\n  INDEX 02 4800\n": (
            "CUESHEET=TRACK 01 AUDIO\n  INDEX 01 00:01:33\n  INDEX 02 4410\n"
        ),
    }
    same = ["CHAPTER001=00:00:01.500", "CHAPTER001NAME=One 1", "LOOP_START=1.25", "LOOP_END=00:01.500", "LENGTH=2000"]
    same += ["ORIGINALSAMPLERATE=48000", "LOOPCOUNT=2", "LOOPMS=480", "DATE=2024"]
    carried = of_tags(*counted, *same)
    assert texts_of(carried) == [*counted.values(), *same]
    assert carried.warnings == ()


def test_positions_that_are_not_understood_are_named() -> None:
    odd = ["LOOP=480:960", "LOOPSTART=0x1e0", "CHAPTER001=480", "CUEPOINT1=480", "LOOPEND=4800.5"]
    carried = of_tags(*odd)
    assert texts_of(carried) == odd
    assert [line.split(":")[0] for line in carried.warnings] == [text.partition("=")[0] for text in odd]
    assert of_tags(*odd, new=48000).warnings == ()


def test_tags_about_level_and_encoding_do_not_lie(ttsr: Ttsr, tmp_path: Path) -> None:
    gains = ["REPLAYGAIN_TRACK_GAIN=-7.00 dB", "R128_TRACK_GAIN=-512"]
    gone = ["REPLAYGAIN_TRACK_PEAK=0.988", "iTunNORM= 000", "ITUNSMPB= 00 240", "MD5=abc", "ENCODER=Lavf60"]
    gone += ["ACCURATERIPRESULT=ok", "BPS=128000"]
    sheet = 'CUESHEET=REM REPLAYGAIN_TRACK_GAIN -7 dB\nFILE "a.wav" WAVE\n'
    path = tagged(tmp_path / "a.flac", "TITLE=T", *gains, *gone, sheet)
    kept = rendered(ttsr, path, tmp_path / "b.flac")
    rest = 'CUESHEET=FILE "a.wav" WAVE\n'
    names = [text.partition("=")[0] for text in gone]
    assert said_in(tmp_path / "b.flac") == ["TITLE=T", *gains, rest]
    assert sorted(kept["left_out"]) == sorted(names)
    assert all(name in kept["line"] for name in names), "the user is not told"
    louder = of_tags("TITLE=T", *gains, new=48000, level_kept=False)
    assert texts_of(louder) == ["TITLE=T"]
    assert sorted(louder.left_out) == ["R128_TRACK_GAIN", "REPLAYGAIN_TRACK_GAIN"]


# from container to container


def ogg(path: Path, *texts: str) -> Path:
    """An Opus in Ogg with these comments, by FFmpeg's muxer."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libopus", rate=48000)
        stream.layout = "mono"
        for text in texts:
            name, _, value = text.partition("=")
            stream.metadata[name] = value
        frame = av.AudioFrame.from_ndarray(audio().astype(np.float32).T, "flt", "mono")
        frame.rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def test_loops_and_chapters_of_an_ogg_reach_wav_and_flac(ttsr: Ttsr, tmp_path: Path) -> None:
    texts = ["LOOPSTART=4800", "LOOPLENGTH=9600", "CHAPTER001=00:00:00.250", "CHAPTER001NAME=Verse"]
    path = ogg(tmp_path / "a.opus", "TITLE=Theme", *texts)
    said = rendered(ttsr, path, tmp_path / "b.wav", "--rate", "96000")
    late = dict(walk(tmp_path / "b.wav")[1])
    assert struct.unpack_from("<II", late[b"smpl"], 44) == (9600, 28799)
    assert struct.unpack_from("<I", late[b"cue "], 24) == (24000,)
    assert b"Verse\0" in late[b"LIST"]
    assert not {"LOOPSTART", "LOOPLENGTH", "CHAPTER001", "CHAPTER001NAME"} & said["left_out"].keys()
    rendered(ttsr, path, tmp_path / "b.flac", "--rate", "96000", "--depth", "24")
    assert {"LOOPSTART=9600", "LOOPLENGTH=19200", *texts[2:]} < {*said_in(tmp_path / "b.flac")}


def test_a_loop_of_a_wav_reaches_a_flac(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [], [(b"smpl", smpl(48000, (4800, 14399)))], subtype="PCM_16")
    said = rendered(ttsr, path, tmp_path / "b.flac", "--rate", "96000")
    assert said_in(tmp_path / "b.flac") == ["LOOPSTART=9600", "LOOPLENGTH=19200", "LOOPEND=28800"]
    assert "smpl" not in said["left_out"]


def test_id3_chapters_keep_their_times_and_give_up_their_bytes(ttsr: Ttsr, tmp_path: Path) -> None:
    loop, peak = b"\3LOOPSTART\0004800", b"\1" + "iTunSMPB".encode("utf-16") + bytes(2) + "0".encode("utf-16")
    held = [(b"TIT2", b"\3Song"), chapter(b"ch1", 250, 900, struct.pack(">II", 4321, 8765), b"Verse")]
    tag = id3(*held, (b"TXXX", loop), (b"COMM", b"\0eng" + b"iTunSMPB\0 00"), (b"TXXX", peak), (b"RVA2", b"x"))
    new = id3(held[0], chapter(b"ch1", 250, 900, b"\xff" * 8, b"Verse"), (b"TXXX", b"\3LOOPSTART\0009600"))
    path = source(tmp_path / "a.wav", [], [(b"id3 ", tag)], subtype="PCM_16")
    said = rendered(ttsr, path, tmp_path / "b.wav", "--rate", "96000")
    assert dict(walk(tmp_path / "b.wav")[1])[b"id3 "] == new
    assert set(said["left_out"]) == {"id3 RVA2", "iTunSMPB"}
    sf.write(tmp_path / "a.mp3", audio(seconds=0.6), 48000, format="MP3")
    (tmp_path / "a.mp3").write_bytes(tag + (tmp_path / "a.mp3").read_bytes())
    rendered(ttsr, tmp_path / "a.mp3", tmp_path / "c.flac", "--depth", "24", "--rate", "96000")
    made = {"CHAPTER001=00:00:00.250", "CHAPTER001NAME=Verse", "LOOPSTART=9600"}
    assert made <= {*said_in(tmp_path / "c.flac")}
    rendered(ttsr, tmp_path / "a.mp3", tmp_path / "c.wav", "--rate", "96000")
    assert dict(walk(tmp_path / "c.wav")[1])[b"id3 "] == new
    unread = fitted("id3 ", tag[:5] + b"\x80" + tag[6:])
    assert content(unread) == tag[:5] + b"\x80" + tag[6:]
    assert "laid out in a way not known" in unread.warnings[0]


def test_positions_in_id3_of_version_2_2_follow_the_rate() -> None:
    def old(*held: tuple[bytes, bytes]) -> bytes:
        body = b"".join(name + len(data).to_bytes(3, "big") + data for name, data in held) + bytes(20)
        return b"ID3\2\0\0\0\0" + bytes([len(body) >> 7, len(body) & 127]) + body

    title, stale = (b"TT2", b"\0Song"), (b"TSS", b"\0LAME")
    new = fitted("id3 ", old(title, (b"TXX", b"\0LOOPSTART\0004800"), stale))
    assert content(new) == old(title, (b"TXX", b"\0LOOPSTART\0009600"))
    assert list(new.left_out) == ["id3 TSSE"]


def test_markers_of_a_caf_become_those_of_a_wav(ttsr: Ttsr, tmp_path: Path) -> None:
    file = io.BytesIO()
    sf.write(file, audio(), 48000, format="CAF", subtype="PCM_16")
    data = file.getvalue()
    mark = struct.pack(">II", 0, 1) + struct.pack(">IdI8xI", 0, 4800.0, 7, 0)
    text = struct.pack(">IIqIq", 2, 7, 0, 8, 4) + b"hit\0verse\0"

    def region(number: int, flags: int, start: float, stop: float) -> bytes:
        ends = ((b"rbeg", start), (b"rend", stop))
        return struct.pack(">III", number, flags, 2) + b"".join(struct.pack(">4sdI8xI", k, at, 0, 0) for k, at in ends)

    regn = struct.pack(">II", 0, 2) + region(8, 2, 9600.0, 14400.0) + region(9, 3, 100.0, 1100.0)
    more = b"".join(struct.pack(">4sq", n, len(d)) + d for n, d in ((b"mark", mark), (b"strg", text), (b"regn", regn)))
    at = data.index(b"data")
    (tmp_path / "a.caf").write_bytes(data[:at] + more + data[at:])
    said = rendered(ttsr, tmp_path / "a.caf", tmp_path / "b.wav", "--rate", "96000")
    late = dict(walk(tmp_path / "b.wav")[1])
    assert [struct.unpack_from("<I", late[b"cue "], at)[0] for at in (24, 48, 72)] == [200, 9600, 19200]
    assert b"hit\0" in late[b"LIST"]
    assert b"verse\0" in late[b"LIST"]
    assert b"ltxt" + struct.pack("<III", 20, 3, 9600) in late[b"LIST"], "a region keeps its length in seconds"
    assert struct.unpack_from("<II", late[b"smpl"], 44) == (200, 2199)
    assert said["left_out"] == {}
    (tmp_path / "cut.caf").write_bytes(
        data[:at] + more.replace(struct.pack(">II", 0, 2), struct.pack(">II", 0, 9)) + data[at:]
    )
    broken = rendered(ttsr, tmp_path / "cut.caf", tmp_path / "c.wav")
    assert broken["left_out"] == {"regn": "it counts 9 regions and ends before"}


def test_chapters_and_loops_of_films_and_audio_books_reach_wav_and_flac(ttsr: Ttsr, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        film = Film("mpeg4", "aac", late=0.2, chapters=True, tags={"LOOPSTART": "4800", "LOOPLENGTH": "9600"})
        path = make(tmp_path / name, film)
        said = rendered(ttsr, path, tmp_path / f"{name}.wav", "--rate", "96000")
        late = dict(walk(tmp_path / f"{name}.wav")[1])
        assert [struct.unpack_from("<I", late[b"cue "], at)[0] for at in (24, 48)] == [0, 48000]
        assert b"Two\0" in late[b"LIST"]
        assert not {each for each in said["left_out"] if "chapter" in each.lower()}
        rendered(ttsr, path, tmp_path / f"{name}.flac", "--depth", "24")
        made = {"CHAPTER001=00:00:00.000", "CHAPTER002=00:00:00.500", "CHAPTER002NAME=Two"}
        assert made <= {*said_in(tmp_path / f"{name}.flac")}
    assert struct.unpack_from("<II", late[b"smpl"], 44) == (9600, 28799)


def test_a_w64_keeps_its_chunks(ttsr: Ttsr, tmp_path: Path) -> None:
    file = io.BytesIO()
    sf.write(file, audio(), 48000, format="W64", subtype="PCM_16")
    data, body = file.getvalue(), bext(48000)
    guid = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    body += bytes(-len(body) % 8)
    whole = data + b"bext" + guid + struct.pack("<q", 24 + len(body)) + body
    (tmp_path / "a.w64").write_bytes(whole[:16] + struct.pack("<q", len(whole)) + whole[24:])
    said = rendered(ttsr, tmp_path / "a.w64", tmp_path / "b.wav", "--rate", "96000")
    assert struct.unpack_from("<Q", dict(walk(tmp_path / "b.wav")[0])[b"bext"], 338) == (96000,)
    assert said["carried"] == ["bext"]


# chunks


def test_chunks_that_count_samples_follow_the_rate() -> None:
    def doubled(name: str, given: bytes, expected: bytes) -> None:
        carried = fitted(name, given)
        assert content(carried) == expected, name
        assert carried.warnings == (), name

    def plst(length: int) -> bytes:
        return struct.pack("<I3I3I", 2, 1, length, 3, 2, length, 1)

    def wsmp(start: int, length: int) -> bytes:
        return struct.pack("<IHhiII4I", 20, 60, 0, 0, 0, 1, 16, 0, start, length)

    def strc(*starts: int) -> bytes:
        rows = (struct.pack("<IIQQII", 0, 7, at, at + 5, 9, 9) for at in starts)
        return struct.pack("<7I", 28, len(starts), 25, 10, 1, 0, 1) + b"".join(rows)

    def r64m(at: int, flags: int, byte: int) -> bytes:
        return struct.pack("<5I", flags, at & 0xFFFFFFFF, at >> 32, byte, 0) + bytes(8) + b"x".ljust(256) + bytes(36)

    doubled("plst", plst(500), plst(1000))
    doubled("wsmp", wsmp(10, 20), wsmp(20, 40))
    doubled("r64m", r64m(2**33, 3, 99), r64m(2**34, 1, 0))
    silence = b"wavl" + chunk(b"slnt", struct.pack("<I", 5))
    doubled("LIST", silence, b"wavl" + chunk(b"slnt", struct.pack("<I", 10)))
    new = content(fitted("strc", strc(0, 100)))
    assert [struct.unpack_from("<QQ", new, at) for at in (36, 68)] == [(0, 10), (200, 210)]
    adm = b'<audioTrackUID sampleRate="48000" bitDepth="24"/><a rtime="00:00:05.1S48000"/>'
    doubled("axml", adm, adm.replace(b'Rate="48000"', b'Rate="96000"'))
    loop = b"<a><LOOP_START>7</LOOP_START><LOOP_END>9</LOOP_END></a>"
    doubled("iXML", loop, loop.replace(b"7", b"14").replace(b"9", b"18"))
    for name, odd in (("strc", strc(100, 0)), ("strc", bytes(40)), ("r64m", bytes(7)), ("elm1", b"1"), ("minf", b"2")):
        carried = fitted(name, odd)
        assert content(carried) == odd
        assert name in carried.warnings[0], "a position that may be wrong is not named"
    assert fitted("acid", bytes(24)).warnings == fitted("inst", bytes(7)).warnings == ()


def test_loops_that_no_longer_fit_are_named_with_their_error() -> None:
    (line,) = fitted("smpl", smpl(48000, (0, 999), (10, 3009)), 48000, 44100).warnings
    assert line.startswith("2 loops are")
    assert "smpl 2 was rounded from 2756.250 to 2756 (-0.250 samples)" in line
    assert fitted("smpl", smpl(48000, (0, 479)), 48000, 44100).warnings == ()
    instrument = struct.pack(">6bh3h3h", 60, 0, 0, 127, 0, 127, 0, 1, 1, 2, 0, 0, 0)
    info = SourceInfo(Path("x"), "AIFF", "PCM_24", 48000, 1, 9999, (0, 0, 0))
    change = Change("AIFF", "PCM_24", "PCM_24", 48000, 44100, 9999, 9187, 1)
    both: Contents = Contents(chunks=[Chunk("MARK", MARK), Chunk("INST", instrument)])
    (line,) = carry(Found(info, both), change).warnings
    assert "sustain loop was rounded from 214.069 to 215 (+0.931 samples)" in line


def test_the_report_says_which_loop_was_rounded(ttsr: Ttsr, tmp_path: Path) -> None:
    late: Chunks = [(b"smpl", smpl(48000, (100, 1099))), (b"cue ", cue(7)), (b"elm1", b"1234")]
    path = source(tmp_path / "a.wav", [], late, subtype="PCM_16")
    said = rendered(ttsr, path, tmp_path / "b.wav", "--rate", "44100")
    report = json.loads((tmp_path / "b.ttsr.json").read_text())
    assert said["warnings"] == report["output"]["metadata"]["warnings"]
    assert "a loop is no whole number of samples at 44100 Hz" in said["line"]
    assert "elm1: carried as it is" in said["line"]
