"""`ttsr session` on sessions of editors: what names media changes, and what an adapter loses is said."""

import difflib
import json
import shutil
import subprocess
from pathlib import Path

import aaf2
import cuts
import opentimelineio as otio
import pytest
import soundfile
import tiny_videos
from helpers import Ttsr, band, level_db

QUICK = ("--candidates", 1, "--steps", 2, "--loudness", "off", "--no-report")


def changed_lines(one: Path, other: Path) -> list[tuple[str, str]]:
    """Lines that differ, in pairs; those that are gone have no other."""
    old, new = (path.read_bytes().decode().splitlines(keepends=True) for path in (one, other))
    pairs = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            pairs += [(x, y) for x, y in zip(old[a:b], [*new[c:d], *[""] * (b - a)], strict=False)]
    return pairs


@pytest.mark.parametrize(("ending", "lines"), [(".otio", 4), (".fcpxml", 4), (".xml", 2), (".kdenlive", 2)])
def test_names_of_media_change_and_nothing_else(ttsr: Ttsr, tmp_path: Path, ending: str, lines: int) -> None:
    made, out = cuts.cut(tmp_path, ending), tmp_path / "out" / f"new{ending}"
    out.parent.mkdir()
    content = made.read_bytes()
    done = ttsr("session", made, "-o", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert made.read_bytes() == content
    pairs = changed_lines(made, out)
    assert len(pairs) == lines, pairs
    said = "".join(new for _, new in pairs)
    assert said.count("_ttsr.wav") == (4 if ending == ".otio" else 2)
    listed = ttsr("session", out, "--list", "--json")
    found = [json.loads(line) for line in listed.stdout.splitlines()]
    sounding = [each for each in found if not each["trouble"]]
    assert [Path(each["path"]).name for each in sounding] == ["My voice_ttsr.wav", "drums é_ttsr.wav"]
    assert all(Path(each["path"]).is_file() for each in sounding)
    spans = [(round(use["start_s"], 3), round(use["stop_s"], 3)) for each in sounding for use in each["uses"]]
    assert set(spans) == {(0.2, 1.0), (0.0, 1.0)}


def test_what_marks_the_old_file_in_fcpxml_goes(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = cuts.cut(tmp_path, ".fcpxml"), tmp_path / "new.fcpxml"
    done = ttsr("session", made, "-o", out, *QUICK, "--tracks", "dialogue")
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    assert "bookmark" not in text
    assert "0123ABC" not in text
    assert 'audioRate="48000"' in text
    assert "file:///proxies/voice.mov" in text
    assert text.count("_ttsr") == 2, "the file and its folder; music plays on"


def test_alternatives_of_otio_are_other_media_of_a_clip(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = cuts.cut(tmp_path, ".otio"), tmp_path / "new.otio"
    assert ttsr("session", made, "-o", out, *QUICK, "--as", "alternatives").exit_code == 0
    old, new = (otio.adapters.read_from_file(str(path)) for path in (made, out))
    for one, other in zip(old.find_clips(), new.find_clips(), strict=True):
        assert other.media_reference.is_equivalent_to(one.media_reference), "it plays what it did"
        assert other.media_references()["TTSR"].target_url.endswith("_ttsr.wav")
        assert other.media_references()["TTSR"].available_range == one.media_reference.available_range
        other.set_media_references({"DEFAULT_MEDIA": other.media_reference}, "DEFAULT_MEDIA")
    assert new.is_equivalent_to(old)


def test_relative_names_lead_to_the_same_files_from_another_folder(ttsr: Ttsr, tmp_path: Path) -> None:
    made = tmp_path / "cut.otio"
    otio.adapters.write_to_file(cuts.timeline(cuts.media(tmp_path), tmp_path), str(made))
    (tmp_path / "there").mkdir()
    out = tmp_path / "there" / "new.otio"
    assert ttsr("session", made, "-o", out, *QUICK, "--tracks", "music").exit_code == 0
    urls = [each.media_reference.target_url for each in otio.adapters.read_from_file(str(out)).find_clips()]
    assert urls == [
        "../media/My voice.wav", "../media/drums é.wav", "new_ttsr/My voice_ttsr.wav", "new_ttsr/drums é_ttsr.wav",
    ]  # fmt: skip


def by_melt(path: Path) -> tuple[Path, object]:
    """What kdenlive's renderer makes of a session's sound."""
    wav = path.with_suffix(".wav")
    frames = sum(length + cuts.GAP for _, length in cuts.PLAYED)
    command = [
        "melt",
        path,
        f"out={frames - 1}",
        "-consumer",
        f"avformat:{wav}",
        "acodec=pcm_s24le",
        "vn=1",
        "ar=48000",
        "real_time=-1",
    ]
    for left in reversed(range(5)):
        try:
            subprocess.run([str(each) for each in command], check=True, capture_output=True, timeout=30)
            break
        except subprocess.TimeoutExpired:  # melt itself hangs now and then (1 of 48 calls), whatever it renders
            if not left:
                raise
    return wav, soundfile.read(wav, always_2d=True)[0]


@pytest.mark.skipif(shutil.which("melt") is None, reason="melt is not installed")
def test_melt_renders_what_was_otio_and_the_low_band_nulls(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = cuts.cut(tmp_path, ".otio", 48000), tmp_path / "new.kdenlive"  # melt resamples in its own way
    done = ttsr("session", made, "-o", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert "adapter kdenlive" in done.stderr
    (tmp_path / "plain").mkdir()
    (_, before), (_, after) = by_melt(cuts.cut(tmp_path / "plain", ".kdenlive", 48000)), by_melt(out)
    assert len(before) == len(after)
    assert level_db(band(before, 50, 3000)) > -45, "there is something to hear"
    assert level_db(band(after - before, 50, 3000)) < level_db(band(before, 50, 3000)) - 50
    assert level_db(band(after, 6000, 20000)) > level_db(band(before, 6000, 20000)) + 15


def test_an_adapter_that_cannot_costs_a_line_and_writes_nothing(ttsr: Ttsr, tmp_path: Path) -> None:
    made, out = cuts.cut(tmp_path, ".otio"), tmp_path / "new.fcpxml"
    done = ttsr("session", made, "-o", out, *QUICK)
    assert done.exit_code == 2
    assert "the adapter fcpx_xml cannot write it" in done.output
    assert not list(tmp_path.glob("*.fcpxml"))
    refused = ttsr("session", made, "-o", tmp_path / "new.dawproject", *QUICK)
    assert "a session of another kind" in refused.output


def aaf_file(folder: Path) -> Path:
    """An AAF composition: one file on a track, from its second quarter on, after a filler."""
    path = folder / "cut.aaf"
    with aaf2.open(str(path), "w") as file:
        source, master, composition = (
            file.create.SourceMob("voice.wav"), file.create.MasterMob("voice"), file.create.CompositionMob("cut"),
        )  # fmt: skip
        source.descriptor = file.create.PCMDescriptor()
        for key, value in (("SampleRate", 48000), ("AudioSamplingRate", 48000), ("Channels", 1), ("Length", 96000)):
            source.descriptor[key].value = value
        for key, value in (("QuantizationBits", 24), ("BlockAlign", 3), ("AverageBPS", 144000)):
            source.descriptor[key].value = value
        locator = file.create.NetworkLocator()
        locator["URLString"].value = (folder / "media/My voice.wav").as_uri()
        source.descriptor["Locator"].append(locator)
        file.content.mobs.extend([source, master, composition])
        of_source = source.create_empty_slot(edit_rate=48000, media_kind="sound")
        of_source.segment.length = 96000
        of_master = master.create_timeline_slot(48000)
        of_master.segment = source.create_source_clip(of_source.slot_id, start=0, length=96000, media_kind="sound")
        track = composition.create_sound_slot(48000) if hasattr(composition, "create_sound_slot") else None
        track = track or composition.create_timeline_slot(48000)
        track.name = "Dialogue 1"
        track.segment = file.create.Sequence(media_kind="sound")
        track.segment.components.append(file.create.Filler("sound", 24000))
        track.segment.components.append(
            master.create_source_clip(of_master.slot_id, start=12000, length=48000, media_kind="sound")
        )
    return path


def test_aaf_is_listed_with_its_parts_and_only_read(ttsr: Ttsr, tmp_path: Path) -> None:
    cuts.media(tmp_path)
    path = aaf_file(tmp_path)
    done = ttsr("session", path, "--list", "--json")
    assert done.exit_code == 0, done.output
    (found,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert found["path"] == str(tmp_path / "media/My voice.wav")
    assert found["uses"] == [
        {"track": "Dialogue 1", "clip": "voice", "at": "0.500 s", "start_s": 0.25, "stop_s": 1.25}
    ]  # fmt: skip
    refused = ttsr("session", path, "-o", tmp_path / "new.aaf")
    assert refused.exit_code == 2
    assert "only read" in refused.output
    path.write_bytes(path.read_bytes()[:700])
    assert "cannot be read as AAF" in ttsr("session", path, "--list").output


def test_a_film_comes_back_with_its_picture(ttsr: Ttsr, tmp_path: Path) -> None:
    film = tiny_videos.make(tmp_path / "scene 1.mov", tiny_videos.Film("mpeg4", "pcm_s16le"))
    made, out = tmp_path / "cut.xml", tmp_path / "new.xml"
    otio.adapters.write_to_file(cuts.timeline([film, film]), str(made), adapter_name="fcp_xml")
    done = ttsr("session", made, "-o", out, *QUICK, "--used-ranges")
    assert done.exit_code == 0, done.output
    ((old, new),) = changed_lines(made, out)
    assert old.strip() == f"<pathurl>{film.as_uri()}</pathurl>"
    assert new.strip() == f"<pathurl>{(tmp_path / 'new_ttsr/scene 1_ttsr.mov').as_uri()}</pathurl>"
    pictures = [tiny_videos.packets(path) for path in (film, tmp_path / "new_ttsr/scene 1_ttsr.mov")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_other_encodings_stay(ttsr: Ttsr, tmp_path: Path, encoding: str) -> None:
    made, out = cuts.cut(tmp_path, ".xml"), tmp_path / "new.xml"
    text = made.read_text(encoding="utf-8").replace("<name>cut</name>", "<name>für Ännchen</name>")
    declared = text.replace(
        '<?xml version="1.0" ?>', f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    )
    made.write_bytes(declared.encode(encoding))
    done = ttsr("session", made, "-o", out, *QUICK)
    assert done.exit_code == 0, done.output
    new = out.read_bytes().decode(encoding)
    assert new.count("_ttsr.wav</pathurl>") == 2
    undone = new.replace("new_ttsr/", "media/").replace("_ttsr.wav", ".wav")
    assert undone.encode(encoding) == made.read_bytes()
