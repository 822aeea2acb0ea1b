"""Names of outputs and reports on the command line: nothing is replaced unasked, nothing is printed raw."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import Ttsr, below, save, voice

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
    assert "--reference" in ttsr("render", stem, "-o", "there.wav", "--verifier", "lsd").output


def test_channels_that_are_alike_have_one_chart(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = below(voice(1.0, channels=2), 5000)
    save(tmp_path / "two.wav", sound)
    assert ttsr("inspect", tmp_path / "two.wav", "--no-estimate").output.count("24.0 kHz") == 1
    save(tmp_path / "three.wav", np.concatenate([sound, 0 * sound[:, :1]], axis=1))
    told = ttsr("inspect", tmp_path / "three.wav", "--no-estimate").output
    assert told.count("24.0 kHz ") == 2
    assert "channels 1, 2" in told
    assert "channel 3: silence" in told
