"""`ttsr session` on DAWproject files: only references change, positions stay, bad archives cost a line."""

import json
import re
import zipfile
from pathlib import Path

import dawprojects
import numpy as np
import pytest
import soundfile
import soxr
from dawprojects import assert_valid, entries, pack, project_xml, song, sound
from helpers import Ttsr, band, level_db
from lxml import etree

from ttsr_studio.rendering.pipeline import FileRender

QUICK = ("--candidates", 1, "--steps", 2, "--loudness", "off", "--no-report")
REFERENCE = re.compile(rb' (path|sampleRate|channels|duration)="[^"]*"')


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return song(tmp_path / "in")


def without_references(project: bytes) -> bytes:
    """A project without what may change at an `Audio` and its `File`."""
    return re.sub(rb"<(Audio|File)\b[^>]*>", lambda tag: REFERENCE.sub(b"", tag[0]), project)


def positions(project: bytes) -> list[tuple[str, ...]]:
    """Every clip and warp: all that places audio in time."""
    root = etree.fromstring(project)
    return [(each.tag, *sorted(f"{k}={v}" for k, v in each.attrib.items())) for each in root.iter("Clip", "Warp")]


def test_references_change_and_nothing_else(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    before, out = made.read_bytes(), tmp_path / "in" / "new.dawproject"
    done = ttsr("session", made, "-o", out, *QUICK, "--json")
    assert done.exit_code == 0, done.output
    assert made.read_bytes() == before
    old, new = entries(made), entries(out)
    assert list(new) == [*old, "audio/My vocals_ttsr.wav", "audio/drums_ttsr.wav"]
    assert {name: data for name, data in new.items() if name in old and name != "project.xml"} == {
        name: data for name, data in old.items() if name != "project.xml"
    }
    assert_valid(old["project.xml"])
    assert_valid(new["project.xml"])
    assert_valid(new["metadata.xml"], "MetaData")
    assert without_references(new["project.xml"]) == without_references(old["project.xml"])
    assert positions(new["project.xml"]) == positions(old["project.xml"])
    said = [each.attrib["path"] for each in etree.fromstring(new["project.xml"]).iter("File")]
    assert said == [
        "audio/My vocals_ttsr.wav", "audio/My vocals_ttsr.wav", "audio/drums_ttsr.wav", "new_ttsr/Ext é_ttsr.wav",
    ]  # fmt: skip
    assert (out.parent / said[-1]).is_file()
    report = json.loads(done.stdout.splitlines()[-1])
    assert [each["places"] for each in report["replaced"]] == [2, 1, 1]
    assert not list(out.parent.glob("new_ttsr/My*")), "the session holds it"


def test_the_archive_is_packed_as_it_was(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.dawproject"
    assert ttsr("session", made, "-o", out, *QUICK, "--tracks", "vocals").exit_code == 0
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(out) as new:
        assert new.comment == old.comment
        for one, other in zip(old.infolist(), new.infolist(), strict=False):
            same = ("filename", "compress_type", "date_time", "external_attr", "create_system")
            assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert new.infolist()[-1].compress_type == zipfile.ZIP_STORED


def test_a_rate_that_changes_is_said_and_the_sound_stays_in_place(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "in" / "new.dawproject"
    assert ttsr("session", made, "-o", out, *QUICK, "--tracks", "Vocals").exit_code == 0
    new = entries(out)
    audio = etree.fromstring(new["project.xml"]).find(".//Audio")
    assert audio is not None
    assert (audio.get("sampleRate"), audio.get("channels"), audio.get("duration")) == ("48000", "1", "1.5")
    (tmp_path / "render.wav").write_bytes(new["audio/My vocals_ttsr.wav"])
    render, rate = soundfile.read(tmp_path / "render.wav", always_2d=True)
    source, _ = soundfile.read(tmp_path / "in/made/My vocals.wav", always_2d=True)
    assert rate == 48000
    assert len(render) == 72000
    low = [np.fft.rfft(each[:, 0])[:3000] / len(each) for each in (render, source)]
    assert level_db(np.abs(low[0] - low[1])) < level_db(np.abs(low[1])) - 50


def test_tracks_that_are_not_meant_play_what_they_did(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "in" / "new.dawproject"
    assert ttsr("session", made, "-o", out, *QUICK, "--tracks", "Drums & Bass").exit_code == 0
    said = [each.attrib["path"] for each in etree.fromstring(entries(out)["project.xml"]).iter("File")]
    assert said == ["audio/My vocals.wav", "audio/My vocals.wav", "audio/drums_ttsr.wav", "media/Ext%20é.wav"]
    refused = ttsr("session", made, "-o", tmp_path / "b.dawproject", "--tracks", "Vocal")
    assert refused.exit_code == 2
    assert "nearest: Vocals" in refused.output


def test_alternatives_are_muted_copies_of_tracks(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "in" / "new.dawproject"
    done = ttsr("session", made, "-o", out, *QUICK, "--as", "alternatives")
    assert done.exit_code == 0, done.output
    old, new = entries(made)["project.xml"], entries(out)["project.xml"]
    assert_valid(new)
    root = etree.fromstring(new)
    names = [track.get("name") for track in root.iter("Track")]
    assert names == [
        "Vocals", "Vocals (TTSR)", "Group", "Drums & Bass", "Drums & Bass (TTSR)", "Référence", "Référence (TTSR)",
        "Master",
    ]  # fmt: skip
    for track in root.iter("Track"):
        if str(track.get("name")).endswith("(TTSR)"):
            timelines = [each for each in root.iter("Lanes") if each.get("track") == track.get("id")]
            mute = track.find("Channel/Mute")
            silent = mute.get("value") == "true" if mute is not None else timelines[0].find("Clips/Clip").get("enable")
            assert silent in (True, "false")
            assert all("_ttsr" in file.get("path") for file in timelines[0].iter("File"))
            track.getparent().remove(track)
            timelines[0].getparent().remove(timelines[0])
    plain = etree.fromstring(old)
    for tree in (root, plain):
        for each in tree.iter():
            each.tail = each.text = None
    assert etree.tostring(root) == etree.tostring(plain), "taking the copies away gives what was there"


def test_the_example_of_the_format_itself(ttsr: Ttsr, tmp_path: Path) -> None:
    loop = sound(tmp_path / "loop.wav", 2.823541666666667, 48000, 2)
    made = pack(tmp_path / "a.dawproject", dawprojects.README_EXAMPLE, {"audio/Drumfunk3 170bpm.wav": loop})
    out = tmp_path / "b.dawproject"
    assert ttsr("session", made, "-o", out, *QUICK).exit_code == 0
    old, new = entries(made), entries(out)
    assert_valid(old["project.xml"])
    assert_valid(new["project.xml"])
    assert new["project.xml"] == old["project.xml"].replace(b"170bpm.wav", b"170bpm_ttsr.wav")
    render, source = (tmp_path / "r.wav"), soundfile.read(loop, always_2d=True)[0]
    render.write_bytes(new["audio/Drumfunk3 170bpm_ttsr.wav"])
    assert level_db(band(soundfile.read(render, always_2d=True)[0] - source, 50, 3000)) < level_db(source) - 50


def test_what_it_plays_is_listed_with_its_parts(ttsr: Ttsr, made: Path) -> None:
    done = ttsr("session", made, "--list", "--json")
    assert done.exit_code == 0
    media = [json.loads(line) for line in done.stdout.splitlines()]
    parts = [[(use["track"], use["start_s"], use["stop_s"]) for use in each["uses"]] for each in media]
    assert parts[0] == [("Vocals", 0.0, 1.0), ("Vocals", 1.0, 1.5)]
    assert {(track, start, stop) for track, start, stop in parts[1]} == {("Drums & Bass", 0.0, 1.0)}
    assert parts[2] == [("Référence", 0.0, 1.0)]
    assert media[2]["path"].endswith("media/Ext é.wav")


def test_what_is_missing_fails_alone_and_the_rest_goes_on(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    (tmp_path / "in/media/Ext é.wav").unlink()
    out = tmp_path / "in" / "new.dawproject"
    done = ttsr("session", made, "-o", out, *QUICK[:-1])
    assert done.exit_code == 1
    assert "media/Ext%20é.wav: there is no such file" in done.stderr
    said = [each.attrib["path"] for each in etree.fromstring(entries(out)["project.xml"]).iter("File")]
    assert said[-1] == "media/Ext%20é.wav"
    report = json.loads((tmp_path / "in/new_ttsr/session.ttsr.json").read_text())
    assert [(each["failed"], each["reason"]) for each in report["left"]] == [
        (True, "media/Ext%20é.wav: there is no such file")
    ]


def test_what_is_in_the_archive_is_called_as_the_session_calls_it(ttsr: Ttsr, tmp_path: Path) -> None:
    made = pack(tmp_path / "a.dawproject", project_xml(), {"audio/drums.wav": b"no audio at all"})
    done = ttsr("session", made, "-o", tmp_path / "b.dawproject", *QUICK, "--tracks", "Drums & Bass")
    assert done.exit_code == 1
    assert done.stderr.startswith("failed: audio/drums.wav: is not audio that can be read")


def hostile(name: str, folder: Path) -> Path:
    """An archive to keep away from."""
    path, files = folder / "x.dawproject", {"audio/a.wav": b"RIFF"}
    if name == "no zip":
        path.write_bytes(b"RIFF of something else")
        return path
    if name == "cut":
        whole = pack(path, project_xml(), files).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        return path
    if name == "no project":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("audio/a.wav", b"RIFF")
        return path
    texts = {
        "entities": project_xml().replace("<!-- a", '<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><!-- a'),
        "not well-formed": project_xml().replace("</Structure>", ""),
        "another root": "<MetaData/>",
        "other encoding": project_xml().encode("utf-8").replace("é".encode(), b"\xe9"),
        "newer": project_xml().replace('<Project version="1.0">', '<Project version="2.1">'),
    }
    pack(path, texts.get(name, project_xml()), files | ({"../out.wav": b"x"} if name == "leads out" else {}))
    if name == "bomb":
        content = path.read_bytes()
        entry = content.rindex(b"PK\x01\x02")
        path.write_bytes(content[: entry + 24] + (0xFFFFFFF0).to_bytes(4, "little") + content[entry + 28 :])
    if name == "twice":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("project.xml", project_xml())
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no zip", "not a zip archive"),
        ("cut", "not a zip archive"),
        ("no project", "there is no project.xml in it"),
        ("entities", "defines entities"),
        ("not well-formed", "not well-formed XML"),
        ("another root", "no project"),
        ("other encoding", "not UTF-8 as it says"),
        ("newer", "newer than 1.0"),
        ("leads out", "a path that leads out of it"),
        ("bomb", "which is no session"),
        ("twice", "more than once"),
    ],
)
def test_an_archive_to_keep_away_from_costs_one_line(ttsr: Ttsr, tmp_path: Path, name: str, said: str) -> None:
    path = hostile(name, tmp_path)
    done = ttsr("session", path, "-o", tmp_path / "out.dawproject")
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.strip().splitlines()) <= 3
    assert {each.name for each in tmp_path.iterdir()} == {"x.dawproject"}


def test_only_what_is_played_is_rendered_on_request(ttsr: Ttsr, tmp_path: Path) -> None:
    project = project_xml()
    clip = 'time="0.0" duration="2.0" contentTimeUnit="seconds" playStart="{}"'
    project = project.replace(clip.format("0.0"), clip.format("5.0")).replace('playStart="1.0"', 'playStart="5.5"')
    project = project.replace('sampleRate="22050" duration="1.5"', 'sampleRate="44100" duration="9.0"')
    long = sound(tmp_path / "long.wav", 9.0, 44100)
    made = pack(tmp_path / "a.dawproject", project, {"audio/My vocals.wav": long})
    out = tmp_path / "b.dawproject"
    done = ttsr("session", made, "-o", out, "--candidates", 1, "--steps", 2, "--tracks", "Vocals", "--used-ranges")
    assert done.exit_code == 0, done.output
    assert "4.00-7.00 s" in done.stdout
    new = entries(out)
    assert_valid(new["project.xml"])
    assert positions(new["project.xml"]) == positions(project.encode())
    (tmp_path / "r.wav").write_bytes(new["audio/My vocals_ttsr.wav"])
    render, source = soundfile.read(tmp_path / "r.wav", always_2d=True)[0], soundfile.read(long, always_2d=True)[0]
    resampled = soxr.resample(source, 44100, 48000)
    assert len(render) == len(resampled) == 432000
    assert level_db(band(render - resampled, 50, 3000)) < level_db(source) - 50
    there, before, after = (render[round(48000 * a) : round(48000 * b)] for a, b in ((5, 6), (0, 4), (7, 9)))
    quiet = [level_db(band(each, 6000, 20000)) for each in (before, after)]
    assert level_db(band(there, 6000, 20000)) > max(quiet) + 30
    assert sorted(each.name for each in (tmp_path / "b_ttsr").glob("*.wav")) == []
    refused = ttsr("session", made, "-o", tmp_path / "c.dawproject", "--used-ranges", "--loudness", "-20")
    assert refused.exit_code == 2
    assert "--loudness" in refused.output


def test_five_hundred_clips_of_one_file_are_one_render(ttsr: Ttsr, tmp_path: Path) -> None:
    old = '<Clip time="4.0" duration="1.0" contentTimeUnit="seconds" playStart="1.0" name="two">'
    first = project_xml().index(old)
    clip = project_xml()[first : project_xml().index("</Clip>", first) + len("</Clip>")]
    many = "".join(clip.replace('time="4.0"', f'time="{n}.0"').replace('"a2"', f'"a2-{n}"') for n in range(5, 504))
    project = project_xml().replace(clip, clip + many)
    vocals = sound(tmp_path / "v.wav", 1.5, 22050)
    made, out = pack(tmp_path / "a.dawproject", project, {"audio/My vocals.wav": vocals}), tmp_path / "b.dawproject"
    assert ttsr("session", made, "-o", out, *QUICK, "--tracks", "Vocals").exit_code == 0
    new = entries(out)
    assert new["project.xml"].count(b'"audio/My vocals_ttsr.wav"') == 501
    assert list(new)[-1] == "audio/My vocals_ttsr.wav"


def test_a_second_run_refuses_to_write_over_the_first(ttsr: Ttsr, made: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / "new.dawproject", ("--tracks", "Vocals", *QUICK)
    assert ttsr("session", made, "-o", out, *arguments).exit_code == 0
    first = out.read_bytes()
    again = ttsr("session", made, "-o", out, *arguments)
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert out.read_bytes() == first
    assert ttsr("session", made, "-o", out, *arguments, "--overwrite").exit_code == 0
    assert out.read_bytes() == first, "the same seed, the same session"
    (tmp_path / "new.otio").write_text("another session")
    (tmp_path / "new_ttsr").mkdir(exist_ok=True)
    (tmp_path / "new_ttsr" / "session.ttsr.json").write_text(json.dumps({"output": str(tmp_path / "new.otio")}))
    anothers = ttsr("session", made, "-o", out, *arguments, "--overwrite")
    assert anothers.exit_code == 2
    assert "holds those of new.otio; choose another name" in " ".join(anothers.output.split())
    itself = ttsr("session", made, "-o", made, *arguments, "--overwrite")
    assert itself.exit_code == 2
    assert "never touched" in itself.output


def test_called_off_in_the_middle_nothing_is_written_and_the_renders_are_kept(
    ttsr: Ttsr, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, out = list[object](), tmp_path / "in" / "new.dawproject"

    def once(render: FileRender) -> None:
        seen.append(render)
        if len(seen) == 2:
            raise KeyboardInterrupt
        searched(render)

    searched = FileRender.search
    monkeypatch.setattr(FileRender, "search", once)
    done = ttsr("session", made, "-o", out, *QUICK[:-1])
    assert done.exit_code == 130
    assert "--skip-existing goes on there" in done.stderr
    assert not out.exists()
    assert [each.name for each in (tmp_path / "in/new_ttsr").glob("*.wav")] == ["My vocals_ttsr.wav"]
    (tmp_path / "in/new_ttsr/My vocals_ttsr.ttsr.png").unlink()
    done = ttsr("session", made, "-o", out, *QUICK[:-1], "--skip-existing")
    assert done.exit_code == 0, done.output
    assert "My vocals_ttsr.wav (exists; picture drawn anew)" in done.output
    assert len(seen) == 4, "the first one is not rendered again"
    assert entries(out)["project.xml"].count(b"_ttsr.wav") == 4
