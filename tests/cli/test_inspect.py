"""`ttsr inspect` says what a render would do, before anything is loaded or written."""

import json
import re
from pathlib import Path

import numpy as np
from helpers import Ttsr, below, save, voice


def test_every_kind_of_file_is_told_apart(ttsr: Ttsr, tmp_path: Path) -> None:
    save(tmp_path / "dull.wav", below(voice(1.0), 5000))
    save(tmp_path / "full.wav", voice(1.0))
    save(tmp_path / "silent.wav", np.zeros((48000, 1)))
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)[:, None]
    save(tmp_path / "tone.wav", tone)
    before = {path.name for path in tmp_path.iterdir()}
    result = ttsr("inspect", tmp_path, "--json", "--no-estimate")
    assert result.exit_code == 0, result.output
    told = {Path(row["input"]).name: row for row in map(json.loads, result.stdout.splitlines())}
    assert told["dull.wav"]["verdict"] == "limited"
    assert abs(told["dull.wav"]["cutoff_hz"] - 5000) < 500
    assert told["full.wav"]["verdict"] == "full band"
    assert told["silent.wav"]["verdict"] == "silence"
    assert told["tone.wav"]["cutoff_hz"] is None
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_splice_is_drawn_as_a_step(ttsr: Ttsr, tmp_path: Path) -> None:
    wide = voice(4.0)
    spliced = np.concatenate((below(wide, 4000)[:96000], wide[96000:]))
    result = ttsr("inspect", "--no-estimate", save(tmp_path / "splice.wav", spliced))
    assert result.exit_code == 0, result.output
    kilohertz = [line.split(" kHz ") for line in result.output.splitlines()]
    rows = [parts[1] for parts in kilohertz if len(parts) == 2 and set(parts[1]) <= set("█▄·")]
    assert len(rows) == 8
    assert rows[0].startswith("·" * 20)
    assert rows[0].endswith("█" * 20)
    assert set(rows[-1]) == {"█"}


def test_what_cannot_be_read_is_one_line_and_the_others_are_told(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html>")
    good = save(tmp_path / "dull.wav", below(voice(0.5), 5000))
    result = ttsr("inspect", tmp_path / "page.wav", good)
    assert result.exit_code == 1
    assert "failed: " in result.output
    assert "would be rendered from" in result.output


def test_a_silent_channel_is_drawn_empty_and_the_time_is_told(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = below(voice(1.0), 5000)
    source = save(tmp_path / "half.wav", np.concatenate((sound, 0 * sound), axis=1))
    result = ttsr("inspect", source)
    assert result.exit_code == 0, result.output
    drawn = result.output.split("channel 2: silence")[1]
    assert "█" not in drawn
    assert "measured on 2 s of noise, 8 candidates" in result.output
    planned = json.loads(ttsr("render", source, "-o", tmp_path / "o.wav", "--dry-run", "--json").stdout)
    assert planned["action"] == "render"
    assert planned["render_s"] > 0
    assert not (tmp_path / "o.wav").exists()


def test_of_a_long_file_three_parts_are_heard(ttsr: Ttsr, tmp_path: Path) -> None:
    part = below(voice(5.0, 8000), 2000, 8000)
    source = save(tmp_path / "long.wav", np.tile(part, (252, 1)), 8000, "PCM_16")
    told = json.loads(ttsr("inspect", source, "--json", "--no-estimate").stdout)
    assert told["heard_s"] == [[0.0, 120.0], [570.0, 690.0], [1140.0, 1260.0]]
    assert abs(told["cutoff_hz"] - 2000) < 200


def test_gaps_between_sparse_tones_are_no_codecs_holes(ttsr: Ttsr, tmp_path: Path) -> None:
    t = np.arange(2 * 48000) / 48000
    tones = sum(0.05 * np.sin(2 * np.pi * hz * t + hz) for hz in range(300, 8000, 1100))
    tones = tones * np.where(np.sin(2 * np.pi * 1.5 * t) > 0, 1.0, 0.3)
    sound = tones + 1e-3 * np.random.default_rng(0).standard_normal(len(t))
    source = save(tmp_path / "sparse.wav", below(sound[:, None], 8000))
    told = json.loads(ttsr("inspect", source, "--json", "--no-estimate").stdout)
    assert told["verdict"] == "limited"
    assert "lossy codec" not in str(told["codec"])


def test_channels_that_end_at_different_places_are_all_told(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = voice(0.7)
    source = save(tmp_path / "s.wav", np.concatenate((below(sound, 7000), below(sound, 3500)), axis=1))
    told = ttsr("inspect", source, "--no-estimate")
    assert "the band ends there" not in told.output
    assert re.search(r"in channel 2 the band ends at 3\.[3-6] kHz", " ".join(told.output.split())), told.output
    few = ("--candidates", 1, "--steps", 1)
    for number, given in enumerate(((), ("--cutoff", "7000,3500"))):
        done = ttsr("render", source, "-o", tmp_path / f"{number}.wav", *given, *few)
        assert done.exit_code == 0, done.output
        assert re.search(r"(6\.[89]|7\.0) and 3\.[3-6] kHz -> full band", " ".join(done.output.split())), done.output
