"""Names of outputs and reports on the command line: nothing is replaced unasked, nothing is printed raw."""

import json
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import Ttsr, below, save, voice
from tiny_videos import Film, make

from ttsr_studio.audio.metadata.timecode import time_reference

QUICK = ("--candidates", 1, "--steps", 1)


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    return save(tmp_path / "v.wav", below(voice(0.6), 5000))


def test_a_report_is_not_replaced_by_that_of_another_output_of_its_stem(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    out = tmp_path / "t"
    for name in ("v.mp3", "v.m4a", "v.flac"):
        result = ttsr("render", stem, "-o", out / name, *QUICK)
        assert result.exit_code == 0, result.output
        assert (f"its report is {name}.ttsr.json" in result.output) == (name != "v.mp3")
    reports = {"v.mp3": "v.ttsr.json", "v.m4a": "v.m4a.ttsr.json", "v.flac": "v.flac.ttsr.json"}
    for name, report in reports.items():
        assert json.loads((out / report).read_text())["output"]["name"] == name
        assert (out / report).with_suffix(".png").exists()
        assert (out / report).with_suffix(".npz").exists()
    ttsr("render", stem, "-o", out / "v.m4a", *QUICK, "--seed", 1, "--overwrite")
    assert json.loads((out / "v.m4a.ttsr.json").read_text())["tool"]["options"]["seed"] == 1
    assert json.loads((out / "v.ttsr.json").read_text())["tool"]["options"]["seed"] != 1
    again = ttsr("render", stem, "--again", out / "v.ttsr.json", "-o", tmp_path / "again.mp3")
    assert again.exit_code == 0
    assert "the same, bit for bit" in again.output
    (out / "v.flac.ttsr.json").write_text("notes of mine")
    ttsr("render", stem, "-o", out / "v.flac", *QUICK, "--overwrite")
    assert (out / "v.flac.ttsr.json").read_text() == "notes of mine"


def test_names_are_printed_as_one_line(ttsr: Ttsr, tmp_path: Path, stem: Path) -> None:
    odd = stem.rename(tmp_path / "a\nb\x1b[31m.wav")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / odd.name).write_bytes(b"")
    asked = ("render", odd, "-o", tmp_path / "o")
    results = [ttsr(*asked, "--skip-existing"), ttsr(*asked), ttsr("inspect", odd, "--no-estimate")]
    results.append(ttsr("render", odd, "--dry-run", "-o", tmp_path / "p" / ""))
    for result in results:
        assert "a\\nb\\x1b" in result.output
        assert "\x1b" not in result.output
        assert "a\nb" not in result.output


def test_folders_are_printed_as_one_line(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "two\nlines"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(odd))
    monkeypatch.setenv("TTSR_MODELS", str(odd))
    assert ttsr("presets", "list").stdout.splitlines()[-1] == f"your own go to {str(odd / 'ttsr' / 'presets')!r}"
    assert ttsr("models", "list").stdout.splitlines()[-1].startswith(f"folder: {str(odd)!r} (")
    preset = odd / "mine.toml"
    preset.parent.mkdir()
    preset.write_text("candidate = 3\n", encoding="utf-8")
    assert ttsr("presets", "check", preset).stderr.splitlines()[0].count(str(preset).replace("\n", "\\n")) == 2


def test_what_is_wrong_with_names_and_options(
    ttsr: Ttsr, tmp_path: Path, stem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-dash.wav").write_bytes(stem.read_bytes())
    for command in ("render", "inspect"):
        assert "Write ./-dash.wav for the file of that name" in ttsr(command, "-dash.wav").output
    short = ttsr("render", stem, "-o", "a.xyz").output
    assert "use .wav, .flac" in short
    assert ".vob" not in short
    Path("there.wav").write_bytes(b"")
    assert "exists already" in ttsr("render", stem, "-o", "there.wav").output
    assert "--reference" in ttsr("render", stem, "-o", "there.wav", "--overwrite", "--verifier", "lsd").output
    assert Path("there.wav").read_bytes() == b""


def test_channels_that_are_alike_have_one_chart(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = below(voice(1.0, channels=2), 5000)
    save(tmp_path / "two.wav", sound)
    assert ttsr("inspect", tmp_path / "two.wav", "--no-estimate").output.count("24.0 kHz") == 1
    save(tmp_path / "three.wav", np.concatenate([sound, 0 * sound[:, :1]], axis=1))
    told = ttsr("inspect", tmp_path / "three.wav", "--no-estimate").output
    assert told.count("24.0 kHz ") == 2
    assert "channels 1, 2" in told
    assert "channel 3: silence" in told


def test_a_films_timecode_goes_into_its_wav(ttsr: Ttsr, tmp_path: Path) -> None:
    film = make(tmp_path / "film.mov", Film("mpeg4", "pcm_s24le", tags={"timecode": "01:00:00:00"}))
    told = ttsr("render", film, "-o", tmp_path / "film.wav", *QUICK, "--no-report", "--rate", 96000).output
    assert "handler_name" not in told
    written = (tmp_path / "film.wav").read_bytes()
    place = written.index(b"bext") + 8
    assert struct.unpack_from("<Q", written, place + 338)[0] == 3600 * 96000
    told = ttsr("render", film, "-o", tmp_path / "film.flac", *QUICK, "--no-report").output
    assert "timecode" in told.split("metadata left out")[1]


@pytest.mark.parametrize(
    ("timecode", "samples"),
    [("00:01:00;02@30000/1001", 2882880), ("00:10:00;00@30000/1001", 28799971), ("01:00:00:00@24000/1001", 172972800)],
)
def test_timecodes_count_the_frames_that_there_are(timecode: str, samples: int) -> None:
    assert struct.unpack_from("<Q", time_reference(timecode, 48000).data, 338)[0] == samples


def test_players_take_the_new_audio_of_a_stream_that_is_kept(ttsr: Ttsr, tmp_path: Path) -> None:
    film = make(tmp_path / "film.mp4", Film("mpeg4", "aac", languages=("eng", "fre")))
    new = tmp_path / "new.mp4"
    result = ttsr("render", film, "-o", new, "--stream", "fre", "--keep-original-audio", *QUICK, "--no-report")
    assert result.exit_code == 0, result.output
    with av.open(str(new)) as file:
        streams = [(each.metadata["language"], bool(each.disposition & 1)) for each in file.streams.audio]
        assert streams == [("eng", False), ("fre", True), ("fre", False)]
        assert "original" in file.streams.audio[2].metadata["handler_name"]
