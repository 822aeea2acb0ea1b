"""`ttsr score`: the same verifiers on finished files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from helpers import Ttsr, below, save, voice

from ttsr_studio.weights import store


@pytest.fixture(autouse=True)
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))


def rows(text: str) -> dict[str, dict[str, float]]:
    return {Path(row["file"]).name: row["scores"] for row in json.loads(text)}


def test_files_are_compared_with_truth_and_input(ttsr: Ttsr, tmp_path: Path) -> None:
    truth = save(tmp_path / "truth.wav", voice(2.0))
    low = save(tmp_path / "low.wav", below(voice(2.0), 5000))
    noisy = save(tmp_path / "noisy.wav", voice(2.0) + 0.01 * np.random.default_rng(0).standard_normal((96000, 1)))
    done = ttsr("score", low, noisy, truth, "--input", low, "--reference", truth, "--json")
    assert done.exit_code == 0, done.output
    scores = rows(done.stdout)
    assert scores["truth.wav"]["lsd"] == pytest.approx(0, abs=1e-6)
    assert scores["low.wav"]["lsd"] < scores["noisy.wav"]["lsd"] < 0
    assert scores["low.wav"]["lowband"] == 60
    assert "consensus" not in scores["truth.wav"]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_table_keeps_names_and_scores_whole_on_any_terminal(
    ttsr: Ttsr, tmp_path: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    folder = tmp_path / ("far down, " * 20) / "stems"
    folder.mkdir(parents=True)
    low = save(folder / "low [b]and[b] dull.wav", below(voice(0.6), 5000))
    truth = save(folder / "truth.wav", voice(0.6))
    done = ttsr("score", low, truth, "--reference", truth, "--verifier", "lsd")
    assert done.exit_code == 0, done.output
    head, *lines = (line.split() for line in done.stdout.splitlines())
    assert head == ["file", "lsd"]
    for (*words, score), path in zip(lines, (low, truth), strict=True):
        assert math.isfinite(float(score))
        assert str(path).endswith(" ".join(words).removeprefix("…"))
        assert " ".join(words).endswith(path.name if columns > 40 else path.name[-19:])


def test_without_an_input_only_what_needs_none_is_asked(ttsr: Ttsr, tmp_path: Path) -> None:
    truth = save(tmp_path / "truth.wav", voice(1.0))
    done = ttsr("score", truth, "--json")
    assert done.exit_code == 0, done.output
    assert set(rows(done.stdout)["truth.wav"]) <= {"dnsmos", "distillmos", "probe"}
    for options, message in {
        ("--verifier", "critic"): "--input",
        ("--verifier", "wer"): "--transcript",
        ("--verifier", "speaker"): "--speaker",
        ("--verifier", "clap"): "--caption",
        ("--verifier", "lsd"): "--reference",
        ("--verifier", "consensus"): "during a search",
        ("--verifier", "pesq"): "unknown verifier",
        ("--verifier", "aesthetics"): "ttsr models fetch aesthetics",
    }.items():
        done = ttsr("score", truth, *options)
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.output.split())


def test_a_file_that_cannot_be_scored_does_not_stop_the_others(ttsr: Ttsr, tmp_path: Path) -> None:
    low = save(tmp_path / "low.wav", below(voice(1.0), 5000))
    longer = save(tmp_path / "longer.wav", voice(2.0))
    (tmp_path / "text.wav").write_text("not audio")
    done = ttsr("score", tmp_path / "text.wav", longer, low, "--input", low, "--verifier", "lowband", "--json")
    assert done.exit_code == 1
    assert set(rows(done.stdout)) == {"low.wav"}
    assert "text.wav" in done.output
    assert "longer.wav: 1 channels, 2.00 s; the input has 1, 1.00 s" in done.output
