"""Renders through the real command line, measured as a mix engineer would: null test, level, length, image, seams."""

import json
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from helpers import Ttsr, band, below, level_db, load, save, voice

from ttsr_studio.engines.builtin.engine import BuiltinEngine
from ttsr_studio.report.validate import validate

QUICK = ("--candidates", 2, "--steps", 2)


def rendered(ttsr: Ttsr, source: Path, out: Path, *options: object) -> tuple[np.ndarray, dict]:
    result = ttsr("render", source, "-o", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    return load(out), json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())


@pytest.mark.golden
def test_a_stem_gets_its_top_back_and_a_report(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(2.0), 6000))
    before = source.read_bytes(), source.stat().st_mtime_ns
    audio, report = rendered(ttsr, source, tmp_path / "out.wav")
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before, "the source was touched"
    original = load(source)
    assert audio.shape == original.shape
    assert level_db(band(audio, 8000, 20000)) > level_db(band(original, 8000, 20000)) + 25
    validate(report)
    assert report["input"]["cutoff_hz"] == pytest.approx(6000, rel=0.1)
    assert report["output"]["gain_reason"]
    assert all(w["reason"] and len(w["candidates"]) == 2 for w in report["windows"])
    assert report["timing"]["nfe"] == (2 * 2 + 2) * len(report["windows"]), "two candidates, and the mean render"
    assert (tmp_path / "out.ttsr.png").read_bytes().startswith(b"\x89PNG")
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name or "tmp" in p.name]


@pytest.mark.golden
def test_low_band_nulls_against_the_input_and_loudness_holds(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(4.0, channels=2), 6000), subtype="FLOAT")
    audio, report = rendered(ttsr, source, tmp_path / "out.wav")
    gain = 10 ** (report["output"]["gain_db"] / 20)
    original = load(source)
    kept = report["input"]["cutoff_hz"] - 1000
    assert level_db(band(audio - gain * original, 0, kept)) - level_db(band(original, 0, kept)) <= -80
    meter = pyloudnorm.Meter(48000)
    assert abs(meter.integrated_loudness(audio) - meter.integrated_loudness(original)) <= 0.1


def test_rate_conversion_keeps_length_and_position(ttsr: Ttsr, tmp_path: Path) -> None:
    gains = {}
    for rate, samples in ((16000, 16001), (22050, 20011), (44100, 44099)):
        source = save(tmp_path / f"{rate}.wav", below(voice(3, rate), 5000, rate)[:samples], rate)
        for asked in ("48000", "source", "96000"):
            out = tmp_path / f"{rate}_{asked}.wav"
            audio, report = rendered(ttsr, source, out, "--rate", asked)
            expected = {"source": rate}.get(asked) or int(asked)
            assert soundfile.info(out).samplerate == expected
            assert len(audio) == -(-samples * expected // rate)
            gains[out.stem] = 10 ** (report["output"]["gain_db"] / 20)
    out, original = load(tmp_path / "44100_source.wav"), load(tmp_path / "44100.wav")
    error = band(out - gains["44100_source"] * original, 200, 3500, 44100)[2000:-2000]
    assert level_db(error) - level_db(original) < -80, "shifted, or not the input's low band"


@pytest.mark.golden
def test_stereo_image_holds(ttsr: Ttsr, tmp_path: Path) -> None:
    mono = below(voice(2.0), 5000)
    source = save(tmp_path / "wide.wav", np.hstack([mono, 0.5 * mono]), subtype="FLOAT")
    audio, _ = rendered(ttsr, source, tmp_path / "out.wav")
    new = band(audio, 6000, 20000)
    left, right = new.T
    correlation = (left @ right) / np.sqrt((left @ left) * (right @ right))
    assert correlation > 0.99, "the new band of a panned mono source must stay where the source is"
    assert level_db(right) - level_db(left) == pytest.approx(-6.0, abs=1.5)
    low = band(audio, 0, 3800)
    assert level_db(low[:, 1] - 0.5 * low[:, 0]) - level_db(low) < -100


@pytest.mark.golden
def test_same_seed_is_bit_identical_and_batch_size_changes_nothing_to_hear(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(5.6), 5000), subtype="FLOAT")
    first, report = rendered(ttsr, source, tmp_path / "a.wav", "--candidates", 4)
    again, _ = rendered(ttsr, source, tmp_path / "b.wav", "--candidates", 4)
    assert np.array_equal(first, again)
    small, other = rendered(ttsr, source, tmp_path / "c.wav", "--candidates", 4, "--batch", 1)
    assert [w["chosen"] for w in report["windows"]] == [w["chosen"] for w in other["windows"]]
    keys = [[c["key"] for c in w["candidates"]] for w in report["windows"]]
    assert keys == [[c["key"] for c in w["candidates"]] for w in other["windows"]]
    assert level_db(first - small) - level_db(first) < -100
    different, _ = rendered(ttsr, source, tmp_path / "d.wav", "--candidates", 4, "--seed", 1)
    assert not np.array_equal(first, different)


def test_file_order_changes_nothing(ttsr: Ttsr, tmp_path: Path) -> None:
    a = save(tmp_path / "a.wav", below(voice(1.0), 5000))
    b = save(tmp_path / "b.wav", below(voice(1.3, seed=1), 7000))
    for name, order in (("one", (a, b)), ("two", (b, a))):
        assert ttsr("render", *order, "-o", f"{tmp_path / name}/", *QUICK).exit_code == 0
    for stem in ("a.wav", "b.wav"):
        assert (tmp_path / "one" / stem).read_bytes() == (tmp_path / "two" / stem).read_bytes()


@pytest.mark.golden
def test_no_seam_where_windows_join(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "stem.wav", below(voice(7.0), 5000), subtype="FLOAT")
    options = ("--candidates", 1, "--loudness", "off")
    windowed, report = rendered(ttsr, source, tmp_path / "windowed.wav", *options)
    joins = [round(w["start_s"] * 48000) for w in report["windows"][1:]]
    assert joins
    monkeypatch.setattr(BuiltinEngine, "core_seconds", 30.0)
    whole, single = rendered(ttsr, source, tmp_path / "whole.wav", *options)
    assert len(single["windows"]) == 1
    for join in joins:
        around = slice(join - 4800, join + 9600)
        assert level_db(windowed[around] - whole[around]) - level_db(whole[around]) <= -50


@pytest.mark.golden
def test_steady_noise_does_not_rise_where_the_file_is_cut(ttsr: Ttsr, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.05, (48000 * 4, 1))
    audio, _ = rendered(ttsr, save(tmp_path / "rain.wav", below(noise, 4000)), tmp_path / "out.wav")
    made = band(audio, 4600, 16000)
    assert level_db(made[-14400:]) < level_db(made[48000:-48000])


@pytest.mark.golden
def test_silence_stays_silence(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "silence.wav", np.zeros((30000, 2)))
    audio, report = rendered(ttsr, source, tmp_path / "out.wav")
    assert audio.shape == (30000, 2)
    assert not audio.any()
    assert report["output"]["gain_db"] == 0
    half = below(voice(12.0), 5000)
    half[: 6 * 48000] = 0
    audio, report = rendered(ttsr, save(tmp_path / "half.wav", half), tmp_path / "half_out.wav")
    assert not audio[: 5 * 48000].any()
    assert report["windows"][0]["reason"] == "silence: passed through"


def test_very_short_files_render(ttsr: Ttsr, tmp_path: Path) -> None:
    for samples in (1, 100, 3000):
        source = save(tmp_path / f"{samples}.wav", below(voice(1.0), 5000)[:samples])
        audio, _ = rendered(ttsr, source, tmp_path / f"{samples}_out.wav", "--cutoff", 5000)
        assert len(audio) == samples
        assert np.isfinite(audio).all()


def test_depth_container_and_loudness_options(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.flac", below(voice(1.0), 5000), subtype="PCM_16")
    for depth, subtype in (("source", "PCM_16"), ("24", "PCM_24"), ("16", "PCM_16")):
        out = tmp_path / f"{depth}.flac"
        rendered(ttsr, source, out, "--depth", depth)
        assert soundfile.info(out).subtype == subtype
    rendered(ttsr, source, tmp_path / "float.wav", "--depth", "32f")
    assert soundfile.info(tmp_path / "float.wav").subtype == "FLOAT"
    audio, report = rendered(ttsr, source, tmp_path / "loud.wav", "--loudness", "-30")
    assert report["output"]["lufs"] == pytest.approx(-30, abs=0.1)
    assert pyloudnorm.Meter(48000).integrated_loudness(audio) == pytest.approx(-30, abs=0.15)


def test_oracle_chooses_what_is_nearest_to_the_reference(ttsr: Ttsr, tmp_path: Path) -> None:
    full = voice(1.5)
    source, truth = save(tmp_path / "lr.wav", below(full, 5000)), save(tmp_path / "hr.wav", full)
    _, report = rendered(
        ttsr,
        source,
        tmp_path / "o.wav",
        "--verifier",
        "lsd",
        "--reference",
        truth,
        "--candidates",
        5,
        "--choice",
        "window",
    )
    for window in report["windows"]:
        scores = [c["scores"]["lsd"] for c in window["candidates"]]
        assert window["chosen"] == int(np.argmax(scores))
        assert len(set(scores)) == 5


def test_zero_order_search_and_evaluation_budget(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "stem.wav", below(voice(1.5), 5000))
    _, report = rendered(
        ttsr, source, tmp_path / "z.wav", "--search", "zero-order", "--candidates", 50, "--budget", "13nfe",
        "--verifier", "consensus",
    )  # fmt: skip
    candidates = report["windows"][0]["candidates"]
    assert len(candidates) == 5, "13 evaluations buy a mean render of 2 and 5 candidates of 2"
    assert report["timing"]["nfe"] == 12
    assert candidates[1]["key"]["lineage"][1][0] == "near"
    assert report["tool"]["options"]["search"] == "zero-order"


@pytest.mark.golden
@pytest.mark.parametrize("remove", ["nothing", "above"])
def test_what_lies_above_a_cutoff_stays_unless_it_is_to_go(ttsr: Ttsr, tmp_path: Path, remove: str) -> None:
    rng = np.random.default_rng(0)
    tone = 0.2 * np.sin(2 * np.pi * 11000 * np.arange(2 * 48000) / 48000)[:, None]
    source = save(tmp_path / "full.wav", below(voice(2.0), 5000) + tone + 1e-4 * rng.standard_normal((2 * 48000, 1)))
    audio, _ = rendered(ttsr, source, tmp_path / "out.wav", "--cutoff", 5000, "--remove", remove)
    before, after = (level_db(band(x, 10980, 11020)) for x in (load(source), audio))
    assert (after < before - 25) if remove == "above" else (after == pytest.approx(before, abs=0.5))
