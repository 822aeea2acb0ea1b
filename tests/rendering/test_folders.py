"""Folders of all kinds of files through the real command line: names, reports, and what is passed over."""

import hashlib
import json
from pathlib import Path

import soundfile
from helpers import Ttsr, below, save, voice
from tiny_videos import Film, make

QUICK = ("--candidates", 1, "--steps", 1)


def stems(folder: Path, *names: str) -> None:
    """Files of one band-limited sound each, all of them different."""
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        subtype = {".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}.get(Path(name).suffix, "PCM_16")
        save(folder / name, below(voice(0.4, seed=seed), 5000), subtype=subtype)


def audio(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".ttsr." not in path.name)


def owners(folder: Path) -> dict[str, str]:
    """Of every render the source that its report names; reports are told by what they say, not by their names."""
    reports = [json.loads(path.read_text()) for path in folder.glob("*.ttsr.json")]
    for report in reports:
        digest = hashlib.sha256((folder / report["output"]["name"]).read_bytes()).hexdigest()
        assert report["output"]["sha256"] == digest, "of another render"
    found = {report["output"]["name"]: report["input"]["name"] for report in reports}
    assert len(found) == len(reports), "two reports of one render"
    return found


def test_files_of_one_stem_get_outputs_and_reports_of_their_own(ttsr: Ttsr, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    stems(folder, "a.wav", "a.aiff", "a.flac", "a.mp3")
    make(folder / "a.mp4", Film("mpeg4", "aac"))
    expected = {
        "a.wav": "a.wav", "a.aiff": "a.aiff", "a.flac": "a.flac", "a.mp4": "a.mp4", "a.mp3.wav": "a.mp3",
    }  # fmt: skip
    result = ttsr("render", folder, "-o", f"{out}/", *QUICK, "--cutoff", 5000)
    assert result.exit_code == 0, result.output
    assert owners(out) == expected
    assert audio(out) == sorted(expected)
    assert {name: soundfile.info(out / name).format for name in ("a.wav", "a.aiff", "a.flac")} == {
        "a.wav": "WAV", "a.aiff": "AIFF", "a.flac": "FLAC"}  # fmt: skip
    reports = {path: path.read_bytes() for path in out.glob("*.json")}
    skipped = ttsr("render", folder, "-o", f"{out}/", *QUICK, "--cutoff", 5000, "--skip-existing")
    assert "0 rendered, 5 skipped" in skipped.output
    assert {path: path.read_bytes() for path in out.glob("*.json")} == reports
    anew = ttsr("render", folder / "a.flac", folder / "a.wav", "-o", f"{out}/", *QUICK, "--seed", 3, "--overwrite",
                "--cutoff", 5000)  # fmt: skip
    assert anew.exit_code == 0, anew.output
    assert owners(out) == expected


def test_without_a_folder_renders_lie_beside_their_sources(ttsr: Ttsr, tmp_path: Path) -> None:
    stems(tmp_path, "a.wav", "a.aiff", "a.ogg", "a.ogg.wav")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = ttsr("render", tmp_path, *QUICK, "--cutoff", 5000)
    assert result.exit_code == 0, result.output
    assert owners(tmp_path) == {
        "a_ttsr.wav": "a.wav", "a_ttsr.aiff": "a.aiff", "a.ogg_2_ttsr.wav": "a.ogg", "a.ogg_ttsr.wav": "a.ogg.wav",
    }  # fmt: skip
    assert {path: path.read_bytes() for path in before} == before


def test_what_is_passed_over_is_told_in_a_line(ttsr: Ttsr, tmp_path: Path) -> None:
    stems(tmp_path, "a.wav")
    for name in ("list.m3u8", "notes.txt", "more.TXT", "README", ".hidden", "old_ttsr.ttsr.json", "a.ttsr.toml"):
        (tmp_path / name).write_text("")
    result = ttsr("render", tmp_path, "-o", f"{tmp_path / 'out'}/", *QUICK)
    assert (result.exit_code, audio(tmp_path / "out")) == (0, ["a.wav"]), result.output
    assert "4 files passed over: 2 .txt, 1 .m3u8, 1 without an ending" in result.output.splitlines()
    alone = ttsr("render", tmp_path / "a.wav", "-o", tmp_path / "b.wav", *QUICK)
    assert "passed over" not in alone.output


def test_files_without_audio_are_a_line_each_and_the_others_go_on(ttsr: Ttsr, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    stems(folder, "good.wav")
    make(folder / "silent.mp4", Film("mpeg4", "aac", languages=()))
    for name, data in (("text.wav", b"notes\n" * 99), ("text.mp4", b"notes\n" * 99), ("no.wav", b""), ("no.mkv", b"")):
        (folder / name).write_bytes(data)
    result = ttsr("render", folder, "-o", f"{out}/", *QUICK)
    assert (result.exit_code, audio(out)) == (1, ["good.wav"]), result.output
    failed = {line.split(": ")[1].rpartition("/")[2]: line for line in result.output.splitlines() if "failed:" in line}
    assert sorted(failed) == ["no.mkv", "no.wav", "silent.mp4", "text.mp4", "text.wav"]
    for name, words in (("no.mkv", "is empty (0 bytes)"), ("text.mp4", "is not audio that can be read"),
                        ("silent.mp4", "holds no audio (1 x picture); give a file with a sound track")):  # fmt: skip
        assert words in failed[name]
