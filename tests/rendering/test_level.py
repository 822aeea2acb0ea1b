"""Integer outputs never clip: what is written is what was rendered, at one gain, for inputs over full scale as well."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from helpers import Ttsr, band, below, level_db, save, voice

QUICK = ("--candidates", 1, "--steps", 1)


def hot(peak_db: float, channels: int = 1, seconds: float = 0.6, seed: int = 0) -> np.ndarray:
    """A band-limited voice of that sample peak, dBFS, in the last of its channels, [samples, channels]."""
    audio = below(voice(seconds, 16000, channels, seed), 6000, 16000)
    audio *= 10 ** (peak_db / 20) / np.abs(audio).max(axis=0)
    audio[:, :-1] *= 0.05
    return audio


def rendered(ttsr: Ttsr, source: Path, out: Path, *options: object) -> tuple[np.ndarray, dict[str, Any], str]:
    result = ttsr("render", source, "-o", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    report = json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())
    return soundfile.read(out, always_2d=True)[0], report, result.output


def true_peak_db(audio: np.ndarray) -> float:
    over = soxr.resample(audio, 48000, 4 * 48000, quality="VHQ")
    return float(20 * np.log10(np.abs(over).max()))


@pytest.mark.parametrize(
    ("depth", "more", "channels"),
    [
        ("24", ("--ceiling", -1), 1),
        ("16", ("--ceiling", 0), 1),
        ("24", ("--loudness", "off"), 2),
        ("16", ("--loudness", "-3"), 2),
        ("24", ("--keep-top", 2, "--control", "--candidates", 2), 2),
    ],
)
def test_a_hot_float_input_fits_integers_as_the_same_wave(
    ttsr: Ttsr, tmp_path: Path, depth: str, more: tuple[object, ...], channels: int
) -> None:
    source = save(tmp_path / "hot.wav", hot(6.0, channels), 16000, "FLOAT")
    audio, report, said = rendered(ttsr, source, tmp_path / "out.wav", "--depth", depth, *more)
    free, whole, _ = rendered(ttsr, source, tmp_path / "free.wav", "--depth", "32f", "--loudness", "off", *more[2:])
    gain = 10 ** (report["output"]["gain_db"] / 20)
    step = 2.0 / 2 ** (int(depth) - 1)
    assert whole["output"]["gain_db"] == 0
    assert np.abs(free).max() > 1.8, "the input is hot"
    assert np.abs(audio - gain * free).max() <= step, "one gain for all channels, and nothing cut off"
    ceiling = -1.0 if "--ceiling" in more and -1 in more else 0.0
    assert true_peak_db(audio) <= ceiling + 0.1
    assert true_peak_db(audio) >= ceiling - 0.3, "lowered to the ceiling, not below it"
    assert report["output"]["lowered_db"] > 3
    assert f"lowered by {report['output']['lowered_db']:.2f} dB" in report["output"]["gain_reason"]
    assert report["output"]["gain_reason"] in said, "the terminal says so as well"
    for other in tmp_path.glob("out_*.wav"):
        assert true_peak_db(soundfile.read(other)[0]) <= 0.1, other.name


def test_no_integer_output_clips_whatever_the_peaks(ttsr: Ttsr, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        save(folder / f"{number}.wav", hot(rng.uniform(-0.5, 20), 1 + number % 2, 0.3, number), 16000, "FLOAT")
    result = ttsr("render", folder, "-o", f"{tmp_path / 'out'}/", *QUICK, "--depth", 16, "--loudness", "off")
    assert result.exit_code == 0, result.output
    for number in range(8):
        steps = soundfile.read(tmp_path / "out" / f"{number}.wav", dtype="int16")[0]
        assert steps.min() > -32768, number
        assert steps.max() < 32767, number


@pytest.mark.golden
def test_what_was_there_keeps_its_level_where_most_is_made(ttsr: Ttsr, tmp_path: Path) -> None:
    noise = 0.05 * np.random.default_rng(5).standard_normal((96000, 1))
    source = save(tmp_path / "noise.wav", below(noise, 3000), subtype="FLOAT")
    kept, report, said = rendered(ttsr, source, tmp_path / "kept.wav")
    output = report["output"]
    low = [level_db(band(audio, 100, 2000)) for audio in (soundfile.read(source, always_2d=True)[0], kept)]
    assert low[1] == pytest.approx(low[0] - 0.5, abs=0.05)
    assert output["lufs"] - report["input"]["lufs"] == pytest.approx(output["held_db"], abs=0.1)
    assert output["held_db"] > 2
    assert f"{output['held_db']:.1f} LU louder than the input, as what was there keeps its level" in said
    matched, report, said = rendered(ttsr, source, tmp_path / "matched.wav", "--loudness", "match")
    assert report["output"]["lufs"] == pytest.approx(report["input"]["lufs"], abs=0.1)
    moved = level_db(band(matched, 100, 2000)) - low[0]
    assert moved < -2
    assert f"the loudness match lowers what was there by {-moved:.1f} dB" in said
    assert f"loudness matched by -0.50 of {moved:.2f} dB" in output["gain_reason"]
