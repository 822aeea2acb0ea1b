"""Programmes of joined clips, and uncertainty against error: known answers, then the command line."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import Ttsr, save, voice

from ttsr_studio.evaluation.benchmark.concatenate import join_clips
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, read_clip
from ttsr_studio.evaluation.verifier_study.calibration import calibration


def noisy(gains: np.ndarray, seed: int) -> torch.Tensor:
    """White noise [1, samples] whose level changes by blocks of 8 frames: gains in dB."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(10 ** (gains / 20), 8 * 512)
    return torch.from_numpy((0.01 * envelope * rng.standard_normal(envelope.size)).astype(np.float32))[None]


def world(follow: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Candidates and a truth that stray by a width of their own in every block; the truth's follows theirs or not."""
    rng = np.random.default_rng(seed)
    widths = rng.uniform(0.1, 10.0, 40)
    strange = widths if follow else rng.permutation(widths)
    renders = torch.stack([noisy(widths * rng.standard_normal(40), 100 + i) for i in range(12)])
    return renders, noisy(strange * rng.standard_normal(40), 99)


def test_uncertainty_that_is_true_correlates_with_error_and_other_does_not() -> None:
    true, false = ([calibration(*world(follow, seed), 4000, None) for seed in range(6)] for follow in (True, False))
    assert np.mean([row["spread"] for row in true]) > 0.35
    assert np.mean([row["middle"] for row in true]) > 0.3
    assert abs(np.mean([row["middle"] for row in false])) < 0.2
    assert all(row["uncertain_db"] > 1.5 * row["certain_db"] for row in true)


def test_candidate_0_is_measured_and_has_no_part_in_uncertainty() -> None:
    renders, truth = world(follow=True)
    odd = renders.clone()
    odd[0] *= 100.0
    assert (
        calibration(odd, truth, 4000, None)["certain_db"] > calibration(renders, truth, 4000, None)["certain_db"] + 20
    )


def test_uncertainty_is_tabled_by_kind_and_kept(ttsr: Ttsr, tmp_path: Path) -> None:
    for kind in ("speech", "music"):
        (tmp_path / "clips" / kind).mkdir(parents=True)
        save(tmp_path / "clips" / kind / "a.wav", voice(1.5, seed=len(kind)), subtype="FLOAT")
    command = ("evaluate", tmp_path / "clips", "--out", tmp_path / "out", "--system", "lr", "--cutoff", 4000)
    options = (*command, "--uncertainty", "--judged", 4)
    done = ttsr(*options)
    assert done.exit_code == 0, done.output
    table = (tmp_path / "out" / "uncertainty.md").read_text()
    assert "| speech | 4000 | 1 |" in table
    assert "| music | 4000 | 1 |" in table
    kept = (tmp_path / "out" / "uncertainty.jsonl").read_text()
    assert len(kept.splitlines()) == 2
    assert ttsr(*options).exit_code == 0
    assert (tmp_path / "out" / "uncertainty.jsonl").read_text() == kept, "nothing is measured twice"


def clips(folder: Path) -> list[Clip]:
    made = []
    for number, (kind, seconds, edge) in enumerate(
        [("a", 1.0, None), ("a", 1.5, 20000.0), ("b", 2.0, None), ("a", 0.5, None), ("a", 0.4, None)]
    ):
        path = save(folder / f"{number}.wav", voice(seconds, channels=1 + number % 2, seed=number), subtype="FLOAT")
        made.append(Clip(path, path.name, kind, edge))
    return made


def test_clips_are_joined_by_kind_without_a_rest_that_is_too_short(tmp_path: Path) -> None:
    joined = join_clips(clips(tmp_path), 2.0, tmp_path / "out")
    assert [(clip.kind, clip.edge_hz) for clip in joined] == [("a", 20000.0), ("b", None)]
    lengths = [soundfile.info(clip.path).frames / RATE for clip in joined]
    assert lengths == pytest.approx([1.0 + 1.5 + 0.5 + 0.4, 2.0])
    assert b"PEAK" not in joined[0].path.read_bytes()[:128], "a peak has the time of day: another clip every second"
    audio = read_clip(joined[0].path)
    assert audio.shape[0] == 1
    edge = RATE
    assert np.abs(audio[0, edge - 3 : edge + 3]).max() < 0.02 * np.abs(audio).max(), "no click where two meet"


def test_programmes_are_measured_like_clips(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for number in range(3):
        save(tmp_path / "clips" / f"{number}.wav", voice(0.7, seed=number), subtype="FLOAT")
    done = ttsr(
        "evaluate", tmp_path / "clips", "--out", tmp_path / "out", "--system", "lr", "--cutoff", 4000, "--join", 1
    )
    assert done.exit_code == 0, done.output
    assert "programmes of at least 1 s" in (tmp_path / "out" / "tables.md").read_text()
    assert "1 results, 1 of them computed now, 0 failed" in done.output
