"""A render takes the place of its source in a session: where it lies, its markers, loops and names come with it."""

import io
import json
import random
import resource
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers import Ttsr, below, voice
from hypothesis import given
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from ttsr_studio.audio import encode as write
from ttsr_studio.audio.container.contents import Chunk, Contents
from ttsr_studio.audio.decode import SourceInfo, probe
from ttsr_studio.audio.encode import Encoding, write_audio
from ttsr_studio.audio.metadata.conversion import Change
from ttsr_studio.audio.metadata.transfer import Carried, Found, carry, read_metadata
from ttsr_studio.errors import OutputError
from ttsr_studio.report.validate import validate

QUICK = ("--candidates", 1, "--steps", 1)
Chunks = list[tuple[bytes, bytes]]
Temporary = pytest.TempPathFactory

IXML = """<?xml version="1.0" encoding="UTF-8"?>
<BWFXML>
  <IXML_VERSION>2.10</IXML_VERSION>
  <NOTE>R\u00e4ume &amp; <![CDATA[<FILE_SAMPLE_RATE>7</FILE_SAMPLE_RATE>]]></NOTE>
  <!-- <FILE_SAMPLE_RATE>48000</FILE_SAMPLE_RATE> -->
  <SPEED>
    <MASTER_SPEED>24000/1001</MASTER_SPEED>
    <AUDIO_BIT_DEPTH>24</AUDIO_BIT_DEPTH>
    <DIGITIZER_SAMPLE_RATE>{rate}</DIGITIZER_SAMPLE_RATE>
    <FILE_SAMPLE_RATE>{rate}</FILE_SAMPLE_RATE>
    <TIMESTAMP_SAMPLE_RATE>{rate}</TIMESTAMP_SAMPLE_RATE>
    <TIMESTAMP_SAMPLE_RATE> {rate} </TIMESTAMP_SAMPLE_RATE>
    <TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>{hi:010d}</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI>
    <TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>{lo}</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>
  </SPEED>
  <BEXT>
    <BWF_TIME_REFERENCE_LOW>{lo}</BWF_TIME_REFERENCE_LOW>
    <BWF_TIME_REFERENCE_HIGH>{hi}</BWF_TIME_REFERENCE_HIGH>
    <BWF_UMID>48000</BWF_UMID>
  </BEXT>
  <SYNC_POINT_LIST>
    <SYNC_POINT><SYNC_POINT_LOW>{sync}</SYNC_POINT_LOW><SYNC_POINT_HIGH>0</SYNC_POINT_HIGH
    ><SYNC_POINT_EVENT_DURATION>{rate}</SYNC_POINT_EVENT_DURATION></SYNC_POINT>
    <SYNC_POINT><SYNC_POINT_LOW>{lo}</SYNC_POINT_LOW><SYNC_POINT_HIGH>{hi}</SYNC_POINT_HIGH></SYNC_POINT>
  </SYNC_POINT_LIST>
</BWFXML>"""


def chunk(name: bytes, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}4sI", name, len(data)) + data + bytes(len(data) % 2)


def ixml(rate: int, stamp: int, sync: int) -> bytes:
    return IXML.format(rate=rate, hi=stamp >> 32, lo=stamp & 0xFFFFFFFF, sync=sync).encode()


def bext(time: int, version: int = 1, history: bytes = b"A=ANALOGUE,M=mono,T=Studer\r\n", order: str = "<") -> bytes:
    """EBU Tech 3285, filled so that a field that moves is seen."""
    head = b"".join(text.ljust(size, b"\0") for text, size in ((b"Take 3", 256), (b"Recorder", 32), (b"REF1", 32)))
    umid = bytes(range(1, 65)) if version else bytes(64)
    loudness = struct.pack(f"{order}5h", -2310, 120, -102, -2000, -2100) if version > 1 else bytes(10)
    time_and_version = struct.pack(f"{order}IIH", time & 0xFFFFFFFF, time >> 32, version)
    return head + b"2024-05-0611:22:33" + time_and_version + umid + loudness + bytes(180) + history


def cue(*points: int, order: str = "<") -> bytes:
    rows = [struct.pack(f"{order}II4sIII", n + 1, at, b"data", 0, 0, at) for n, at in enumerate(points)]
    return struct.pack(f"{order}I", len(rows)) + b"".join(rows)


def smpl(rate: int, *loops: tuple[int, int], order: str = "<") -> bytes:
    rows = [struct.pack(f"{order}6I", n, 0, start, end, 5, 0) for n, (start, end) in enumerate(loops)]
    head = struct.pack(f"{order}9I", 1, 2, round(1e9 / rate), 60, 0, 25, 0x01020304, len(rows), 4)
    return head + b"".join(rows) + b"USER"


def listed(kind: bytes, *items: tuple[bytes, bytes], order: str = "<") -> bytes:
    return kind + b"".join(chunk(name, data, order) for name, data in items)


def adtl(length: int, order: str = "<") -> bytes:
    region = struct.pack(f"{order}II4sHHHH", 1, length, b"rgn ", 1, 2, 3, 4) + b"verse\0"
    return listed(b"adtl", (b"labl", struct.pack(f"{order}I", 1) + b"intro\0"), (b"ltxt", region), order=order)


INFO = listed(b"INFO", (b"INAM", b"Title\0"), (b"IART", "J\u00fcrg\0".encode()), (b"IENG", b"Engineer\0"))


def audio(rate: int = 48000, seconds: float = 0.4, channels: int = 1) -> np.ndarray:
    return below(voice(seconds, rate, channels), 5000, rate)


def source(
    path: Path, early: Chunks, late: Chunks, rate: int = 48000, kind: str = "WAV", subtype: str = "PCM_24",
    sound: np.ndarray | None = None,
) -> Path:  # fmt: skip
    """A file as soundfile writes it, with chunks put in before its audio and after; kind "RIFX" is big-endian WAV."""
    file = io.BytesIO()
    endian, container = ("BIG", "WAV") if kind == "RIFX" else ("FILE", kind)
    sf.write(file, audio(rate) if sound is None else sound, rate, format=container, subtype=subtype, endian=endian)
    order = ">" if kind in ("RIFX", "AIFF") else "<"
    data, at = file.getvalue(), 12
    while data[at : at + 4] not in (b"data", b"SSND"):
        at += 8 + struct.unpack_from(f"{order}I", data, at + 4)[0]
    whole = bytearray(data[:at] + b"".join(chunk(n, d, order) for n, d in early) + data[at:])
    whole += bytes(len(whole) % 2) + b"".join(chunk(n, d, order) for n, d in late)
    if kind == "RF64":
        struct.pack_into("<Q", whole, 20, len(whole) - 8)
    else:
        struct.pack_into(f"{order}I", whole, 4, len(whole) - 8)
    path.write_bytes(whole)
    return path


def walk(path: Path) -> tuple[Chunks, Chunks]:
    """(chunks before the audio, after it), sizes checked: a reader of its own, without the audio and its format."""
    data = path.read_bytes()
    order = ">" if data[:4] == b"FORM" else "<"
    early, late, at, wide, heard = [], [], 12, 0, False
    while at < len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if name == b"ds64":
            total, wide = struct.unpack_from("<QQ", data, at + 8)
            assert total == len(data) - 8
        size = wide if name == b"data" and wide else size
        assert at + 8 + size <= len(data)
        heard = heard or name in (b"data", b"SSND")
        if name not in (b"fmt ", b"fact", b"PEAK", b"data", b"ds64", b"COMM", b"SSND", b"FVER"):
            (late if heard else early).append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    assert at == len(data), "the last chunk is not padded"
    if not wide:
        assert struct.unpack_from(f"{order}I", data, 4)[0] == len(data) - 8
    return early, late


def rendered(ttsr: Ttsr, path: Path, out: Path, *options: object) -> dict:
    before = path.read_bytes(), path.stat().st_mtime_ns
    result = ttsr("render", path, "-o", out, "--overwrite", *QUICK, *options)
    assert result.exit_code == 0, result.output
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before, "the source was touched"
    assert not [p for p in out.parent.iterdir() if "partial" in p.name]
    report = json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())
    validate(report)
    return report["output"]["metadata"] | {"line": result.output}


def moved(samples: int, old: int, new: int) -> int:
    return int(samples * new / old + 0.5)


def fitted(name: str, data: bytes, old: int = 48000, new: int = 96000, frames: int = 10**6, **other: object) -> Carried:
    """What becomes of one chunk."""
    container = "AIFF" if name in ("MARK", "COMT") else str(other.pop("container", "WAV"))
    info = SourceInfo(Path("x"), container, "PCM_24", old, 1, frames, (0, 0, 0))
    form: dict = {"container": container, "old_subtype": "PCM_24", "subtype": "PCM_24", "channels": 1} | other
    change = Change(old_rate=old, rate=new, old_frames=frames, frames=-(-frames * new // old), **form)
    return carry(Found(info, Contents(chunks=[Chunk(name, data)])), change)


def content(carried: Carried) -> bytes:
    return carried.insert.chunks[0].data


# the whole way


@pytest.mark.parametrize(("old", "asked"), [(44100, "48000"), (96000, "48000"), (48000, "source")])
def test_a_render_lies_where_its_source_lay(ttsr: Ttsr, tmp_path: Path, old: int, asked: str) -> None:
    new = old if asked == "source" else int(asked)
    time, length = 37 * 3600 * old + 11, int(0.4 * old)
    early = [(b"JUNK", bytes(28)), (b"bext", bext(time)), (b"odd?", b"12345"), (b"LIST", INFO), (b"PAD ", bytes(3))]
    late = [
        (b"FLLR", bytes(500)),
        (b"cue ", cue(0, 777, length)), (b"LIST", adtl(1001)), (b"smpl", smpl(old, (100, length - 1), (0, 99))),
        (b"iXML", ixml(old, time, 777)), (b"id3 ", b"ID3\3\0\0\0\0\0\0"), (b"levl", bytes(9)),
    ]  # fmt: skip
    path = source(tmp_path / "take.wav", early, late, old)
    said = rendered(ttsr, path, tmp_path / "out.wav", "--rate", asked)
    had, has = WavInfoReader(str(path)), WavInfoReader(str(tmp_path / "out.wav"))
    assert has.bext.time_reference == moved(time, old, new) > 2**32, "a DAW puts the file elsewhere"
    assert has.bext.coding_history.startswith("A=ANALOGUE,M=mono,T=Studer\r\nA=PCM,F=")
    assert f"A=PCM,F={new},W=24,M=mono,T=TTSR Studio " in has.bext.coding_history
    unchanged = ("description", "originator", "originator_ref", "originator_date", "originator_time", "umid", "version")
    assert [getattr(has.bext, name) for name in unchanged] == [getattr(had.bext, name) for name in unchanged]
    assert [c.sample_offset for c in has.cues.cues] == [moved(at, old, new) for at in (0, 777, length)]
    assert [c.position for c in has.cues.cues] == [moved(at, old, new) for at in (0, 777, length)]
    assert (has.cues.range(1), has.cues.labels) == (moved(1001, old, new), had.cues.labels)
    assert has.smpl.sample_period_ns == round(1e9 / new)
    loops = [(loop.start, loop.end) for loop in has.smpl.sample_loops]
    assert loops == [
        (moved(100, old, new), moved(length, old, new) - 1),
        (0, moved(100, old, new) - 1),
    ]
    assert (has.smpl.midi_note, has.smpl.sampler_udata) == (had.smpl.midi_note, b"USER")
    assert has.ixml.raw_xml.findtext("SPEED/FILE_SAMPLE_RATE") == str(new)
    assert (has.info.title, has.info.engineer) == ("Title", "Engineer")
    before, after = walk(tmp_path / "out.wav")
    assert [name for name, _ in before] == [b"bext", b"odd?", b"LIST", b"iXML"]
    assert [name for name, _ in after] == [b"cue ", b"LIST", b"smpl", b"id3 "]
    assert (dict(before)[b"odd?"], dict(before)[b"LIST"]) == (b"12345", INFO)
    assert dict(before)[b"iXML"] == ixml(new, moved(time, old, new), moved(777, old, new)), "more or less was edited"
    if old == new:
        given, kept = dict(early) | dict(late), dict(before) | dict(after)
        assert all(kept[name] == given[name] for name in (b"cue ", b"LIST", b"smpl", b"iXML", b"id3 "))
        assert kept[b"bext"][:602] == given[b"bext"][:602]
    assert sorted(said["carried"]) == sorted(["bext", "odd?", "LIST INFO", "iXML", "cue", "LIST adtl", "smpl", "id3"])
    assert list(said["left_out"]) == ["levl"]
    assert [line.split(":")[0] for line in said["warnings"]] == {
        44100: ["2 loops are no whole number of samples at 48000 Hz", "odd?"],
        96000: ["odd?"],
        48000: [],
    }[old]
    assert "metadata left out: levl" in said["line"]


def test_a_render_of_a_render_adds_to_its_history(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(
        tmp_path / "a.wav", [(b"bext", bext(48000, history=b"A=PCM,F=48000,W=24,T=Nuendo\0\0" + bytes(300)))], []
    )
    rendered(ttsr, path, tmp_path / "b.wav", "--depth", "16", "--rate", "96000")
    rendered(ttsr, tmp_path / "b.wav", tmp_path / "c.wav", "--rate", "48000", "--depth", "32f", "--cutoff", 5000)
    chunk_of = dict(walk(tmp_path / "c.wav")[0])[b"bext"]
    lines = chunk_of[602:].rstrip(b"\0").split(b"\r\n")
    assert [line.split(b",T=")[0] for line in lines] == [
        b"A=PCM,F=48000,W=24", b"A=PCM,F=96000,W=16,M=mono", b"A=PCM,F=48000,W=32,M=mono", b"",
    ]  # fmt: skip
    assert (len(chunk_of), WavInfoReader(str(tmp_path / "c.wav")).bext.time_reference) == (602 + 329, 48000)


def test_loudness_in_bext_stays_while_it_is_true(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = audio(seconds=1.0, channels=2)
    path = source(tmp_path / "a.wav", [(b"bext", bext(0, version=2))], [], sound=sound)
    rendered(ttsr, path, tmp_path / "kept.wav", "--loudness", "match")
    rendered(ttsr, path, tmp_path / "moved.wav", "--loudness", "-30")
    kept, changed = (dict(walk(tmp_path / f"{name}.wav")[0])[b"bext"] for name in ("kept", "moved"))
    assert struct.unpack_from("<5h", kept, 412) == (-2310, 120, -102, -2000, -2100)
    assert struct.unpack_from("<5h", changed, 412) == (0x7FFF,) * 5, "a loudness that the file does not have"
    assert b"M=stereo" in kept[602:]
    older = content(fitted("bext", bext(0, version=1), 48000, 48000, level_kept=False))
    assert older[:602] == bext(0, version=1)[:602], "a version without loudness got one"


def test_the_same_render_twice_is_the_same_file(ttsr: Ttsr, tmp_path: Path) -> None:
    early, late = [(b"bext", bext(5)), (b"iXML", ixml(48000, 5, 5))], [(b"cue ", cue(1))]
    path = source(tmp_path / "a.wav", early, late, subtype="FLOAT")
    for name in ("b.wav", "c.wav"):
        rendered(ttsr, path, tmp_path / name, "--rate", "44100")
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()


def test_a_control_render_has_the_metadata_too(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [(b"bext", bext(5))], [])
    rendered(ttsr, path, tmp_path / "b.wav", "--control")
    assert WavInfoReader(str(tmp_path / "b_control.wav")).bext.time_reference == 5


def test_big_endian_wav_becomes_little_endian(ttsr: Ttsr, tmp_path: Path) -> None:
    acid = struct.pack(">I2HIIHHI", 3, 60, 0x8000, 0, 8, 4, 4, 0x42F00000)
    early = [(b"bext", bext(2**33 + 5, 2, order=">")), (b"acid", acid), (b"iXML", ixml(48000, 5, 5))]
    lists = [(b"LIST", listed(b"INFO", (b"INAM", b"Title\0"), order=">")), (b"LIST", adtl(1000, ">"))]
    late = [(b"cue ", cue(7, order=">")), (b"smpl", smpl(48000, (3, 9), order=">")), *lists, (b"who?", b"\0\1\2\3")]
    path = source(tmp_path / "a.wav", early, late, kind="RIFX", subtype="PCM_16")
    data = path.read_bytes()
    assert data[:4] == b"RIFX"
    fmt = struct.pack(">4sI2H2I4HI2H", b"fmt ", 40, 0xFFFE, 1, 48000, 96000, 2, 16, 22, 16, 0x8, 0, 1)
    fmt += bytes.fromhex("00000010800000aa00389b71")
    path.write_bytes(data[:12] + fmt + data[36:])  # extensible, of low frequencies
    said = rendered(ttsr, path, tmp_path / "b.wav", "--loudness", "match")
    before, after = walk(tmp_path / "b.wav")
    made = (tmp_path / "b.wav").read_bytes()
    assert (made[:4], made[40:44]) == (b"RIFF", struct.pack("<I", 0x8))
    kept = dict(before)
    assert kept[b"bext"][:602] == bext(2**33 + 5, 2)[:602]
    assert kept[b"acid"] == struct.pack("<I2HIIHHI", 3, 60, 0x8000, 0, 8, 4, 4, 0x42F00000)
    title = (b"LIST", listed(b"INFO", (b"INAM", b"Title\0")))
    assert after[:2] == [(b"cue ", cue(7)), (b"smpl", smpl(48000, (3, 9)))]
    assert after[2:] == [title, (b"LIST", adtl(1000)), (b"who?", b"\0\1\2\3")]
    assert [line.split(":")[0] for line in said["warnings"]] == ["who?"]


def test_rf64_stays_correct(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [(b"bext", bext(9))], [(b"cue ", cue(5)), (b"odd!", b"1")], kind="RF64")
    rendered(ttsr, path, tmp_path / "b.wav")
    before, after = walk(tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes()[:4] == b"RF64"
    assert [name for name, _ in before + after] == [b"bext", b"cue ", b"odd!"]
    assert WavInfoReader(str(tmp_path / "b.wav")).bext.time_reference == 9


def test_metadata_that_outgrows_riff_makes_it_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.zeros((1, 3000), np.float32)
    path = source(tmp_path / "a.wav", [(b"bext", bext(9))], [(b"xtra", bytes(5001))], sound=sound.T)
    carried = carry(read_metadata(probe(path)), Change("WAV", "PCM_24", "PCM_24", 48000, 48000, 3000, 3000, 1))
    write_audio(tmp_path / "bare.wav", lambda: [sound], Encoding(48000, 1, "WAV", "PCM_24"))
    write_audio(tmp_path / "b.wav", lambda: [sound], Encoding(48000, 1, "WAV", "PCM_24"), carried.insert)
    assert (tmp_path / "b.wav").stat().st_size == (tmp_path / "bare.wav").stat().st_size + carried.insert.size
    for limit, kind in ((9000 + carried.insert.size, b"RIFF"), (9000 + carried.insert.size - 1, b"RF64")):
        monkeypatch.setattr(write, "_RIFF_LIMIT", limit)
        write_audio(tmp_path / "b.wav", lambda: [sound], Encoding(48000, 1, "WAV", "PCM_24"), carried.insert)
        assert (tmp_path / "b.wav").read_bytes()[:4] == kind
        assert [name for chunks in walk(tmp_path / "b.wav") for name, _ in chunks] == [b"bext", b"xtra"]
    with pytest.raises(OutputError, match="4 GB"):
        write_audio(tmp_path / "b.aif", lambda: [sound], Encoding(48000, 1, "AIFF", "PCM_24"), carried.insert)


def test_speakers_and_valid_bits_of_an_extensible_wav(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [], [], kind="WAVEX", subtype="PCM_32", sound=audio(channels=2))
    data = bytearray(path.read_bytes())
    struct.pack_into("<HI", data, 20 + 18, 24, 0x30)  # 24 bits in use, back left and right
    path.write_bytes(data)
    for options, expected in (((), (24, 0x30)), (("--depth", "24"), (24, 0x30)), (("--depth", "16"), (16, 0x30))):
        rendered(ttsr, path, tmp_path / "b.wav", *options)
        assert struct.unpack_from("<HI", (tmp_path / "b.wav").read_bytes(), 20 + 18) == expected
    assert sf.info(path).subtype == "PCM_32"


# broken files


BROKEN = {
    "a count larger than the chunk": ([], [(b"cue ", b"\xff" * 4 + bytes(50))], "cue: carried as it is: it counts"),
    "loops larger than the chunk": ([], [(b"smpl", bytes(31) + b"\x80" + bytes(4))], "it counts 2147483648 entries"),
    "half a chunk of loops": ([], [(b"smpl", bytes(7))], "smpl: carried as it is: it ends early"),
    "a bext of another standard": ([(b"bext", bext(5)[:500])], [], "bext: carried as it is: it has 500 bytes"),
    "text that is not XML": ([(b"iXML", b"<BWFXML><SPEED>")], [], "iXML: carried as it is: it is not XML"),
    "a list that hangs libsndfile": (
        [(b"LIST", b"INFOabcd" + struct.pack("<I", 2**32 - 8) + b"abcdefgh")], [], "LIST INFO: left out",
    ),
    "a list too long for libsndfile": ([(b"LIST", listed(b"adtl", *[(b"labl", bytes(8))] * 9000))], [], ""),
    "an early acid that ends early": ([(b"acid", bytes(5))], [], ""),
    "a tail that is none": ([], [(b"\xff\xfe\0\1", b"abc")], "no chunks"),
    "a tail of zeros": ([], [(b"\0\0\0\0", bytes(500))], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_chunks_never_cost_the_render(
    ttsr: Ttsr, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    early, late, words = BROKEN[name]
    path = source(tmp_path / "a.wav", [*early, (b"DISP", b"me")], late)
    said = rendered(ttsr, path, tmp_path / "b.wav", "--rate", "96000")
    assert len(said["warnings"]) == bool(words)
    assert words in "".join(said["warnings"])
    assert words in said["line"], "the user is not told"
    assert capfd.readouterr().err == ""
    before, after = walk(tmp_path / "b.wav")
    assert (b"DISP", b"me") in before + after
    if "carried as it is" in words:
        assert (early + late)[0] in before + after
    assert sf.info(tmp_path / "b.wav").frames == 2 * sf.info(io.BytesIO(source(path, [], []).read_bytes())).frames


def test_a_chunk_that_is_cut_off_is_left_out(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [(b"bext", bext(5))], [(b"cue ", cue(1, 2)), (b"LIST", INFO)])
    path.write_bytes(path.read_bytes()[:-20])
    said = rendered(ttsr, path, tmp_path / "b.wav")
    assert said["carried"] == ["bext", "cue"]
    assert said["left_out"] == {"LIST": f"its header promises {len(INFO)} bytes and {len(INFO) - 20} are there"}


def test_absurd_sizes_are_not_allocated(tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [(b"bext", bext(5))], [(b"tiny", b"1")], sound=np.zeros((10, 1)))
    with path.open("r+b") as file:
        file.seek(0, 2)
        for number in range(3):  # 40 MiB each, holes in the file
            file.write(struct.pack("<4sI", b"big%d" % number, 40 << 20))
            file.seek(40 << 20, 1)
        file.write(struct.pack("<4sI", b"last", 2**31) + b"x")
    tracemalloc.start()
    contents = read_metadata(probe(path)).contents
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()
    assert [c.name for c in contents.chunks] == ["bext", "tiny", "big0"]
    assert set(contents.left_out) == {"big1", "big2", "last"}
    assert len(contents.warnings) == 3


def test_a_swarm_of_chunks_ends(tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [], [(b"bee!", b"")] * 30000, sound=np.zeros((10, 1)))
    contents = read_metadata(probe(path)).contents
    assert len(contents.chunks) < 30000
    assert len(contents.warnings) == 1


def test_audio_without_a_length_is_not_taken_for_chunks(ttsr: Ttsr, tmp_path: Path) -> None:
    path = source(tmp_path / "a.wav", [(b"bext", bext(5))], [])
    data = path.read_bytes()
    at = data.index(b"data")
    path.write_bytes(data[: at + 4] + bytes(4) + chunk(b"fake", bytes(100)) + data[at + 8 :])
    said = rendered(ttsr, path, tmp_path / "b.wav")
    assert (said["carried"], said["left_out"]) == (["bext"], {})


NAMES = [b"cue ", b"smpl", b"cart", b"acid", b"inst", b"axml", b"chna", b"_PMX", b"id3 ", b"iXML", b"bext", b"LIST"]
MARK = struct.pack(">H", 2) + b"".join(struct.pack(">HIB", n, at, 4) + b"name\0" for n, at in ((1, 7), (2, 240)))


def whole_chunk(rng: random.Random, aiff: bool) -> tuple[bytes, bytes]:
    """A sound one, or one that nothing knows, of odd or even length."""
    unknown = bytes(rng.choices(range(97, 123), k=4)), rng.randbytes(rng.randrange(50))
    if aiff:
        known = [(b"MARK", MARK), (b"NAME", b"odd"), (b"(c) ", b"me"), (b"MIDI", b"\xf0"), (b"ID3 ", b"ID3")]
    else:
        known = [(b"bext", bext(rng.getrandbits(40))), (b"cue ", cue(*range(rng.randrange(5)))), (b"LIST", adtl(5))]
        known += [(b"LIST", INFO), (b"smpl", smpl(48000, (0, 1))), (b"iXML", b"<BWFXML/>" + b" " * rng.randrange(3))]
    return rng.choice([unknown, *known])


def copied(tmp_path: Path, kind: str, early: Chunks, late: Chunks, frames: int) -> tuple[Chunks, Chunks, Carried]:
    """What a render at the same rate holds before and after its audio; of bext without the history."""
    sound = np.zeros((frames, 1))
    info = probe(source(tmp_path / "a", early, late, kind=kind, sound=sound))
    carried = carry(read_metadata(info), Change(kind, "PCM_24", "PCM_24", 48000, 48000, frames, frames, 1))
    write_audio(tmp_path / "b", lambda: [np.float32(sound.T)], Encoding(48000, 1, kind, "PCM_24"), carried.insert)
    assert sf.info(tmp_path / "b").frames == frames
    before, after = ([(n, d[:602] if n == b"bext" else d) for n, d in part] for part in walk(tmp_path / "b"))
    return before, after, carried


@given(rng=st.randoms(), kind=st.sampled_from(["WAV", "WAVEX", "RF64", "AIFF"]))
def test_chunks_keep_their_order_and_bytes(tmp_path_factory: Temporary, rng: random.Random, kind: str) -> None:
    tmp_path = tmp_path_factory.mktemp("chunks")
    early, late = ([whole_chunk(rng, kind == "AIFF") for _ in range(rng.randrange(7))] for _ in range(2))
    before, after, carried = copied(tmp_path, kind, early, late, rng.choice([1, 2, 333]))
    early, late = ([(n, d[:602] if n == b"bext" else d) for n, d in part] for part in (early, late))
    behind: Chunks = []
    if kind == "RF64":  # libsndfile loses its way after an odd chunk
        early, late = ([(n, d + b" "[: len(d) % 2] if n == b"iXML" else d) for n, d in part] for part in (early, late))
        before, after = (
            [(n, d.replace(b"\0", b" ") if n == b"iXML" else d) for n, d in part] for part in (before, after)
        )
        behind = [(n, d) for n, d in early if len(d) % 2]
    first = ("bext", "iXML")
    assert before == [one for one in early if one not in behind] + [one for one in late if one[0].decode() in first]
    assert after == behind + [one for one in late if one[0].decode() not in first]
    assert (carried.left_out, carried.warnings) == ({}, ())


@given(rng=st.randoms(), kind=st.sampled_from(["WAV", "WAVEX", "RF64"]))
def test_broken_chunks_are_carried_or_named(tmp_path_factory: Temporary, rng: random.Random, kind: str) -> None:
    tmp_path = tmp_path_factory.mktemp("chunks")
    sizes = [0, 1, 2, 5, 24, 601, 603, 2100]
    early, late = (
        [
            rng.choice([whole_chunk(rng, False), (rng.choice(NAMES), rng.randbytes(rng.choice(sizes)))])
            for _ in range(rng.randrange(7))
        ]
        for _ in range(2)
    )
    before, after, carried = copied(tmp_path, kind, early, late, 7)
    had = [(n, d[:602].rstrip(b"\0")) for n, d in early + late]
    has = [(n, d[:602].rstrip(b"\0")) for n, d in before + after]
    lost = [one for one in had if one not in has]
    assert all(Chunk(n.decode(), d).label in carried.left_out for n, d in lost), "a chunk is lost and not named"
    assert all(n in NAMES for n, _ in lost), "unknown ones are always carried"
    assert len(has) == len(had) - len(lost)


def test_bext_and_ixml_go_before_the_audio(tmp_path: Path) -> None:
    late = [(b"aaaa", b"1"), (b"iXML", ixml(48000, 1, 1)), (b"bbbb", b"2"), (b"bext", bext(1)), (b"cue ", cue(1))]
    info = probe(source(tmp_path / "a", [(b"cccc", b"3")], late, sound=np.zeros((5, 1))))
    carried = carry(read_metadata(info), Change("WAV", "PCM_24", "PCM_24", 48000, 48000, 5, 5, 1))
    write_audio(tmp_path / "b", lambda: [np.zeros((1, 5))], Encoding(48000, 1, "WAV", "PCM_24"), carried.insert)
    before, after = walk(tmp_path / "b")
    assert [name for name, _ in before] == [b"cccc", b"iXML", b"bext"]
    assert [name for name, _ in after] == [b"aaaa", b"bbbb", b"cue "]


def test_a_file_without_its_metadata_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = fitted("who?", b"1234").insert
    monkeypatch.setattr(write, "weave", lambda plain, woven, _: woven.write_bytes(plain.read_bytes()))
    with pytest.raises(OutputError, match="other metadata"):
        write_audio(tmp_path / "a.wav", lambda: [np.zeros((1, 9))], Encoding(48000, 1, "WAV", "PCM_24"), insert)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("WAV", "who?"), ("AIFF", "who?"), ("FLAC", "PICTURE")])
def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, kind: str, name: str) -> None:
    insert = fitted(name, bytes(60000), container=kind).insert
    assert insert.chunks
    sound = np.random.default_rng(0).standard_normal((1, 10000)) * 0.1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(OutputError, match="free space"):
            write_audio(tmp_path / "a.x", lambda: [sound], Encoding(48000, 1, kind, "PCM_24"), insert)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# numbers of one chunk


def test_smpl_follows_the_rate_and_stays_inside_the_file() -> None:
    def loops(data: bytes) -> list[tuple[int, ...]]:
        return [struct.unpack_from("<II", data, 36 + 24 * n + 8) for n in range(struct.unpack_from("<I", data, 28)[0])]

    given = smpl(48000, (0, 2**32 - 1), (10, 0), (999, 999), (5000, 6000))
    data = content(fitted("smpl", given, 48000, 44100, frames=1000))
    last = -(-1000 * 44100 // 48000) - 1
    assert loops(data) == [(0, last), (9, 0), (918, 918), (last, last)]
    assert struct.unpack_from("<I", data, 8) == (22676,)
    unusual = given[:8] + struct.pack("<I", 30000) + given[12:]
    assert struct.unpack_from("<I", content(fitted("smpl", unusual)), 8) == (15000,)
    none = given[:8] + bytes(4) + given[12:]
    assert struct.unpack_from("<I", content(fitted("smpl", none)), 8) == (0,)


def test_what_follows_the_coding_history_stays() -> None:
    data = content(fitted("bext", bext(0, history=b"A=PCM\r\n\0\0tail\0"), 48000, 48000))
    history, _, tail = data[602:].partition(b"\0")
    assert [line[:5] for line in history.split(b"\r\n")] == [b"A=PCM", b"A=PCM", b""]
    assert tail == b"\0tail\0"


def test_cart_timers_follow_the_rate() -> None:
    timers = b"MRK " + struct.pack("<I", 48000) + bytes(4) + struct.pack("<I", 7) + b"SEGe" + struct.pack("<I", 1)
    data = b"0101" + bytes(676) + struct.pack("<i", 32768) + timers + bytes(1340) + b"text"
    expected = b"MRK " + struct.pack("<I", 96000) + bytes(4) + struct.pack("<I", 7) + b"SEGe" + struct.pack("<I", 2)
    assert content(fitted("cart", data)) == data[:684] + expected + data[684 + 24 :]


def test_times_never_wrap_around() -> None:
    data = content(fitted("cue ", cue(2**32 - 1, 2**31)))
    assert struct.unpack_from("<I", data, 8) == (2**32 - 1,)
    assert struct.unpack_from("<Q", content(fitted("bext", bext(2**64 - 1))), 338) == (2**64 - 1,)


def test_pro_tools_positions_do_not_outlive_their_rate() -> None:
    assert content(fitted("regn", bytes(92), 48000, 48000)) == bytes(92)
    assert "regn" in fitted("regn", bytes(92), 48000, 96000).left_out


def test_checksums_of_the_source_are_left_out() -> None:
    assert "MD5" in fitted("MD5 ", bytes(16), 48000, 48000).left_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a><FILE_SAMPLE_RATE>44100</FILE_SAMPLE_RATE></a>", "<a><FILE_SAMPLE_RATE>96000</FILE_SAMPLE_RATE></a>"),
        ("<a><DIGITIZER_SAMPLE_RATE>48048</DIGITIZER_SAMPLE_RATE></a>", None),
        ("<a><FILE_SAMPLE_RATE/><SYNC_POINT_LOW></SYNC_POINT_LOW></a>", None),
        ("<a><SYNC_POINT_LOW>many</SYNC_POINT_LOW></a>", None),
        ("<a><SYNC_POINT_LOW>3000000000</SYNC_POINT_LOW></a>", "<a><SYNC_POINT_LOW>6000000000</SYNC_POINT_LOW></a>"),
        ("<a><AUDIO_BIT_DEPTH>16</AUDIO_BIT_DEPTH><USER>48000</USER></a>", None),
        (
            "<a><TIMESTAMP_SAMPLE_RATE>48048</TIMESTAMP_SAMPLE_RATE><TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO>7"
            "</TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO></a>",
            None,
        ),
        (
            "<a><SYNC_POINT_LOW>1</SYNC_POINT_LOW><SYNC_POINT_HIGH>3</SYNC_POINT_HIGH></a>",
            "<a><SYNC_POINT_LOW>2</SYNC_POINT_LOW><SYNC_POINT_HIGH>6</SYNC_POINT_HIGH></a>",
        ),
        (
            "<a><SYNC_POINT_LOW>2147483649</SYNC_POINT_LOW><SYNC_POINT_HIGH>0000</SYNC_POINT_HIGH></a>",
            "<a><SYNC_POINT_LOW>2</SYNC_POINT_LOW><SYNC_POINT_HIGH>0001</SYNC_POINT_HIGH></a>",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
def test_ixml_is_edited_in_its_own_encoding(text: str, expected: str | None, encoding: str) -> None:
    declared = "utf-16" if encoding.startswith("utf-16") else encoding.removesuffix("-sig")

    def coded(body: str) -> bytes:
        whole = f'<?xml version="1.0" encoding="{declared}"?>\r\n<x>\u00fc\r\n{body}</x>'
        return ("\ufeff" * (encoding in ("utf-16-le", "utf-16-be")) + whole).encode(encoding)

    for tail in (b"", bytes(2), bytes(500)):
        carried = fitted("iXML", coded(text) + tail)
        assert content(carried) == coded(expected or text) + tail
        assert carried.warnings == ()


def test_ixml_of_many_sync_points_is_edited_at_once() -> None:
    points = "".join(f"<p><SYNC_POINT_LOW>{number}</SYNC_POINT_LOW></p>" for number in range(60000))
    doubled = "".join(f"<p><SYNC_POINT_LOW>{2 * number}</SYNC_POINT_LOW></p>" for number in range(60000))
    assert content(fitted("iXML", f"<a>{points}</a>".encode())) == f"<a>{doubled}</a>".encode()


def test_ixml_names_the_depth_of_the_render() -> None:
    depth = b"<a><AUDIO_BIT_DEPTH>24</AUDIO_BIT_DEPTH></a>"
    assert content(fitted("iXML", depth, 48000, 48000, subtype="PCM_16")) == depth.replace(b"24", b"16")
    assert content(fitted("iXML", depth, 48000, 48000, subtype="FLOAT")) == depth.replace(b"24", b"32")
    assert content(fitted("iXML", depth, 48000, 48000)) == depth


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><a>&a;</a>", "document type"),
        (b"<a><FILE_SAMPLE_RATE>48000</a>", "not XML"),
        (b"", "not XML"),
        (b'<?xml version="1.0" encoding="UfF-8"?><a/>', "not XML"),
        (b"<a>" + bytes(9) + b"</a>", "not XML"),
        (b"<a>" + b" " * (5 << 20) + b"</a>", "larger"),
    ],
)
def test_ixml_that_is_not_understood_is_carried_as_it_is(data: bytes, words: str) -> None:
    carried = fitted("iXML", data)
    assert content(carried) == data
    assert words in carried.warnings[0]


# other containers


def test_aiff_keeps_its_markers_and_texts(ttsr: Ttsr, tmp_path: Path) -> None:
    texts = [(b"NAME", b"Song"), (b"AUTH", b"odd"), (b"(c) ", b"2024"), (b"ANNO", b"one"), (b"ANNO", b"two")]
    late = [
        (b"INST", bytes(20)),
        (b"COMT", bytes(2)),
        (b"ID3 ", b"ID3\3\0\0\0\0\0\0"),
        (b"APPL", b"stoc\0\0"),
        (b"MIDI", b"\x90"),
    ]
    path = source(tmp_path / "a.aif", [*texts, (b"MARK", MARK)], late, kind="AIFF")
    said = rendered(ttsr, path, tmp_path / "b.aif", "--rate", "96000")
    before, after = walk(tmp_path / "b.aif")
    scaled = struct.pack(">H", 2) + b"".join(struct.pack(">HIB", n, at, 4) + b"name\0" for n, at in ((1, 14), (2, 480)))
    assert before == [*texts, (b"MARK", scaled)]
    assert after == late
    assert said["left_out"] == {}
    assert said["warnings"] == ["APPL: carried as it is: positions in it, if any, count 48000 Hz"]
    with sf.SoundFile(tmp_path / "b.aif") as file:
        assert (file.copy_metadata()["title"], file.samplerate) == ("Song", 96000)


FRAMES = 19199  # odd, so that 24 bits need a pad byte


def flac(path: Path, blocks: list[tuple[int, bytes]], **tags: str) -> Path:
    """A FLAC with blocks (type, content) put in at its end."""
    with sf.SoundFile(path, "w", 48000, 1, "PCM_16", format="FLAC") as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(audio()[:FRAMES])
    own, sound = flac_blocks(path)
    whole = [*own, *blocks]
    coded = [
        bytes([kind | (n == len(whole) - 1) << 7]) + len(d).to_bytes(3, "big") + d for n, (kind, d) in enumerate(whole)
    ]
    path.write_bytes(b"fLaC" + b"".join(coded) + sound)
    return path


def flac_blocks(path: Path) -> tuple[list[tuple[int, bytes]], bytes]:
    data, at, found, last = path.read_bytes(), 4, [], False
    assert data[:4] == b"fLaC"
    while not last:
        last, kind, size = bool(data[at] & 128), data[at] & 127, int.from_bytes(data[at + 1 : at + 4], "big")
        found.append((kind, data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found, data[at:]


def cuesheet(lead_in: int, tracks: list[tuple[int, int, list[int]]], disc: bool) -> bytes:
    """RFC 9639, 8.7."""
    head = b"1234567890123".ljust(128, b"\0") + struct.pack(">QB", lead_in, disc << 7) + bytes(258)
    rows = [
        struct.pack(">QB12sB13xB", at, number, b"", 0, len(points))
        + b"".join(struct.pack(">QB3x", point, n) for n, point in enumerate(points))
        for at, number, points in tracks
    ]
    return head + bytes([len(rows)]) + b"".join(rows)


PICTURE = struct.pack(">II", 3, 10) + b"image/jpeg" + bytes(20) + struct.pack(">I", 5) + b"\xff\xd8abc"


def test_flac_keeps_its_blocks(ttsr: Ttsr, tmp_path: Path) -> None:
    frames = FRAMES
    sheet = cuesheet(88200, [(0, 1, [0, 480]), (4800, 2, [0]), (frames, 170, [])], disc=True)
    blocks = [(6, PICTURE), (2, b"abcdwhatever"), (1, bytes(100)), (5, sheet), (100, b"future")]
    path = flac(tmp_path / "a.flac", blocks, title="T\u00eftel", artist="Someone", license="CC0")
    said = rendered(ttsr, path, tmp_path / "b.flac", "--rate", "96000", "--depth", "24")
    found, _ = flac_blocks(tmp_path / "b.flac")
    half = cuesheet(176400, [(0, 1, [0, 960]), (9600, 2, [0]), (2 * frames, 255, [])], disc=False)
    assert [kind for kind, _ in found] == [0, 4, 6, 2, 5, 100]
    assert found[2:] == [(6, PICTURE), (2, b"abcdwhatever"), (5, half), (100, b"future")]
    with sf.SoundFile(path) as given, sf.SoundFile(tmp_path / "b.flac") as made:
        assert made.copy_metadata() == given.copy_metadata()
        assert (made.samplerate, made.frames) == (96000, 2 * frames)
    assert said["left_out"] == {}
    unknown = "APPLICATION abcd, block 100: carried as it is: positions in it, if any, count 48000 Hz"
    assert said["warnings"] == [unknown]
    same = rendered(ttsr, path, tmp_path / "c.flac")
    assert (5, sheet) in flac_blocks(tmp_path / "c.flac")[0]
    assert same["carried"] == ["VORBIS_COMMENT", "PICTURE", "APPLICATION abcd", "CUESHEET", "block 100"]


def foreign(rate: int, frames: int) -> list[tuple[int, bytes]]:
    """What `flac --keep-foreign-metadata` makes of a BWF."""
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16))
    data = struct.pack("<4sI", b"data", 2 * frames)
    kept = [fmt, chunk(b"bext", bext(rate * 3600)), chunk(b"odd!", b"123"), data, chunk(b"cue ", cue(480))]
    size = sum(map(len, kept)) + 2 * frames + 4
    return [(2, b"riff" + part) for part in (struct.pack("<4sI4s", b"RIFF", size, b"WAVE"), *kept)]


def test_a_wav_inside_a_flac_fits_the_render(ttsr: Ttsr, tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", foreign(48000, FRAMES))
    for rate, depth, width, subtype in ((96000, "source", 2, "PCM_16"), (48000, "24", 3, "PCM_24")):
        rendered(ttsr, path, tmp_path / "b.flac", "--rate", rate, "--depth", depth)
        kept = [data[4:] for kind, data in flac_blocks(tmp_path / "b.flac")[0] if kind == 2]
        samples = sf.read(tmp_path / "b.flac", dtype="int32")[0]
        pcm = samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
        at = next(n for n, part in enumerate(kept) if part[:4] == b"data") + 1
        wav = b"".join(kept[:at]) + pcm + bytes(len(pcm) % 2) + b"".join(kept[at:])
        (tmp_path / "whole.wav").write_bytes(wav)  # as `flac -d --keep-foreign-metadata` puts it together
        early, late = walk(tmp_path / "whole.wav")
        assert [name for name, _ in early + late] == [b"bext", b"odd!", b"cue "]
        assert sf.info(tmp_path / "whole.wav").subtype == subtype
        np.testing.assert_array_equal(sf.read(tmp_path / "whole.wav", dtype="int32")[0], samples)
        reader = WavInfoReader(str(tmp_path / "whole.wav"))
        assert (reader.bext.time_reference, reader.cues.cues[0].sample_offset) == (rate * 3600, rate // 100)


def test_flac_to_wav_gives_a_wav_its_chunks_back(ttsr: Ttsr, tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", [*foreign(48000, FRAMES), (6, PICTURE)], title="T\u00eftel", genre="Jazz")
    said = rendered(ttsr, path, tmp_path / "b.wav")
    reader = WavInfoReader(str(tmp_path / "b.wav"), info_encoding="utf-8")
    assert (reader.info.title, reader.info.genre) == ("T\u00eftel", "Jazz")
    assert (reader.bext.time_reference, reader.cues.cues[0].sample_offset) == (48000 * 3600, 480)
    assert said["carried"] == ["title", "genre", "bext", "odd!", "cue"]
    assert said["left_out"] == {"PICTURE": "WAV has no place for it"}


def test_wav_to_flac_keeps_texts_and_says_what_is_lost(ttsr: Ttsr, tmp_path: Path) -> None:
    info = listed(b"INFO", (b"INAM", b"Title\0"), (b"IART", "J\u00fcrg\0".encode("cp1252")), (b"IENG", b"Eng\0"))
    early = [(b"bext", bext(5)), (b"LIST", info), (b"iXML", ixml(48000, 5, 5))]
    path = source(tmp_path / "a.wav", early, [(b"cue ", cue(1))], subtype="PCM_16")
    said = rendered(ttsr, path, tmp_path / "b.flac")
    with sf.SoundFile(tmp_path / "b.flac") as file:
        assert file.copy_metadata() == {"title": "Title", "artist": "J\u00fcrg"}
    assert sorted(said["left_out"]) == ["IENG", "bext", "cue", "iXML"]
    assert said["left_out"]["bext"] == "FLAC has no place for it"
    assert "metadata left out: IENG, bext, cue, iXML" in said["line"]


def test_a_flac_behind_an_id3_tag_is_read(tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", [(6, PICTURE)], title="T")
    path.write_bytes(b"ID3\3\0\0\0\0\1\2" + bytes(130) + path.read_bytes())
    assert [c.name for c in read_metadata(probe(path)).contents.chunks] == ["VORBIS_COMMENT", "PICTURE"]


def test_broken_texts_of_a_flac_are_left_out(tmp_path: Path) -> None:
    path = flac(tmp_path / "a.flac", [(6, PICTURE)], title="T")
    info, data = probe(path), path.read_bytes()
    at = data.lower().index(b"title=t") - 4
    path.write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])
    contents = read_metadata(info).contents
    assert [c.name for c in contents.chunks] == ["PICTURE"]
    assert contents.warnings == ["VORBIS_COMMENT: left out: it is broken"]


def test_chunks_that_soundfile_stumbles_over_go_behind_the_audio_or_out(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    moved = fitted("basc", b"", container="AIFF")
    assert [(c.name, c.early) for c in moved.insert.chunks] == [("basc", False)]
    assert not fitted("COMT", b"aaa", container="AIFF").insert.chunks[0].early
    for name, size in (("COMT", 19), ("COMT", 8192), ("NAME", 8192)):
        lost = fitted(name, b"a" * size, 48000, 48000, container="AIFF")
        assert (lost.insert.chunks, list(lost.left_out)) == ((), [name])
    assert not printed, "a traceback for the user"


def test_a_block_of_flac_ends_at_16_mib() -> None:
    carried = fitted("PICTURE", bytes(2**24 - 1), container="FLAC")
    assert (carried.insert.chunks, list(carried.left_out)) == ((), ["PICTURE"])
    assert fitted("PICTURE", bytes(2**20), container="FLAC").insert.chunks


def across(container: str, *chunks: Chunk, tags: dict[str, str] | None = None, old: str = "FLAC") -> Carried:
    """What becomes of a file of another container, at the same rate."""
    info = SourceInfo(Path("x"), old, "PCM_24", 48000, 1, 9, (0, 0, 0))
    return carry(
        Found(info, Contents(chunks=[*chunks]), tags or {}),
        Change(container, "PCM_24", "PCM_24", 48000, 48000, 9, 9, 1),
    )


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC"])
def test_texts_too_long_for_a_container_do_not_break_it(tmp_path: Path, container: str) -> None:
    carried = across(container, tags={"title": "x" * 9000, "comment": "y" * 2**21, "artist": "me"}, old="MP3")
    write_audio(tmp_path / "a", lambda: [np.zeros((1, 9))], Encoding(48000, 1, container, "PCM_24"), carried.insert)
    kept = {"artist"} if container == "AIFF" else {"title", "artist"}
    if container == "WAV":  # soundfile gives up at 2 kB, others do not
        assert len(WavInfoReader(str(tmp_path / "a")).info.title) == 9000
    else:
        assert set(sf.SoundFile(tmp_path / "a").copy_metadata()) == kept
    assert set(carried.names) == kept
    assert set(carried.left_out) == {"title", "comment"} - kept


def test_a_flac_has_its_own_texts_before_those_of_the_wav_inside() -> None:
    comment = b"TITLE=new"
    block = Chunk("VORBIS_COMMENT", struct.pack("<II", 1, len(comment)) + comment)
    inside = Chunk("APPLICATION", b"riff" + chunk(b"LIST", listed(b"INFO", (b"INAM", b"old\0"))))
    both, alone = across("WAV", block, inside), across("WAV", inside)
    assert [c.data for c in both.insert.chunks] == [listed(b"INFO", (b"INAM", b"new\0"))]
    assert [c.data for c in alone.insert.chunks] == [listed(b"INFO", (b"INAM", b"old\0"))]


@pytest.mark.parametrize(("kind", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("AIFF", "PCM_16")])
def test_texts_move_between_containers(ttsr: Ttsr, tmp_path: Path, kind: str, subtype: str) -> None:
    tags = {"title": "T\u00eftel", "artist": "odd", "comment": "four"}
    path = tmp_path / f"a.{kind.lower()}"
    with sf.SoundFile(path, "w", 48000, 1, subtype, format=kind) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(audio(seconds=1.0))
    for suffix, names in (("wav", {*tags}), ("flac", {*tags}), ("aif", {*tags})):
        said = rendered(ttsr, path, tmp_path / f"b_{suffix}.{suffix}", "--depth", "16")
        with sf.SoundFile(tmp_path / f"b_{suffix}.{suffix}") as file:
            assert {name: text for name, text in file.copy_metadata().items() if text} == tags
        expected = {"VORBIS_COMMENT"} if (kind, suffix) == ("OGG", "flac") else names
        assert kind == "AIFF" == suffix.upper() + "F" or set(said["carried"]) == expected
