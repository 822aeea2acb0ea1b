"""The recipe by which the clips of the results are made anew."""

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import save, voice

from ttsr_studio.evaluation.benchmark.dataset import load_corpus

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "evaluation_clips.py"))


def test_the_clips_of_a_table_are_made_anew_and_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "sources/who/what").mkdir(parents=True)
    sound = voice(0.5, rate=48000)
    save(tmp_path / "sources/who/what/a.wav", sound, rate=48000)
    with (ROOT / "docs/research/evaluation_sources.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file)) | {"source_repo": "who/what (a note)", "channels": "1"}
    wanted = {
        "speech/whole.flac": ("a.wav", 0.5),
        "speech/part.flac": ("a.wav @0.1-0.4s", 0.3),
        "speech/rest.flac": ("a.wav @0.2s", 0.3),
        "speech/twice.flac": ("a.wav", 1.0),
        "speech/joined.flac": ("a.wav;a.wav", 1.2),
        "speech/missing.flac": ("b.wav", 1.0),
    }
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        for name, (path, seconds) in wanted.items():
            writer.writerow(row | {"file": name, "source_path": path, "duration_s": seconds})
    arguments = [str(tmp_path / "sources"), str(tmp_path / "out"), "--table", str(table)]
    done = CliRunner().invoke(SCRIPT["main"], arguments)
    assert done.exit_code == 1
    assert done.stdout == f"5 of 6 clips written to {tmp_path / 'out'}\n"
    assert done.stderr.startswith("speech/missing.flac: ")
    clips = load_corpus(tmp_path / "out/manifest.csv")
    lengths = {clip.name: soundfile.info(clip.path).frames / 48000 for clip in clips}
    assert lengths == {name: pytest.approx(seconds) for name, (_, seconds) in list(wanted.items())[:5]}
    part, _ = soundfile.read(tmp_path / "out/speech/part.flac")
    heard = np.asarray(sound).reshape(-1)[4800:19200]
    heard = heard * min(1.0, 0.89 / np.abs(heard).max())
    assert np.abs(part - heard)[240:-240].max() < 1e-4


def test_the_table_names_every_clip_of_the_results() -> None:
    with (ROOT / "docs/research/evaluation_sources.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [sum(row["kind"] == kind for row in rows) for kind in ("speech", "music", "sfx")] == [30, 30, 30]
    assert all(row["source_repo"] and row["source_path"] and row["licence"] and row["floor_edge_hz"] for row in rows)
