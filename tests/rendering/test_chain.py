"""Effects before and after a render, and the limiter: pedalboard's own, through the real command line."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from helpers import Ttsr, below, level_db, load, save, voice

from ttsr_studio.audio import effects
from ttsr_studio.audio.effects import load_effects, processed

pytest.importorskip("pedalboard", reason="the extra ttsr-studio[chain] is not installed")

QUICK = ("--candidates", 2, "--steps", 1)


def rendered(ttsr: Ttsr, source: Path, out: Path, *options: object) -> tuple[np.ndarray, dict[str, Any], str]:
    result = ttsr("render", source, "-o", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    report = json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())
    return load(out), report, result.output


def chain(folder: Path, text: str, name: str = "chain.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


GAIN = """
[[before]]
plugin = "Gain"
gain_db = -6
[[after]]
plugin = "MP3Compressor"
vbr_quality = 0.5
[[after]]
plugin = "BrickwallLimiter"
ceiling_db = -20
"""


def test_a_chain_is_heard_reported_and_repeated_without_its_file(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(1.0, channels=2), 5000), subtype="FLOAT")
    file = chain(tmp_path, GAIN)
    audio, report, _ = rendered(ttsr, source, tmp_path / "out.wav", "--chain", file, "--loudness", "off")
    before, after = report["chain"]["before"], report["chain"]["after"]
    assert before == [{"name": "Gain", "file": None, "settings": {"gain_db": -6}}]
    assert [each["name"] for each in after] == ["MP3Compressor", "BrickwallLimiter"]
    assert after[1]["settings"] == {"ceiling_db": -20, "lookahead_ms": 5, "release_ms": 100, "true_peak": False}
    assert report["tool"]["versions"]["pedalboard"]
    assert len(audio) == 48000
    assert np.abs(audio).max() <= 10 ** (-20 / 20) + 1e-6
    mono, dry = audio[:, 0], 0.5 * load(source)[:, 0]
    near = np.correlate(mono[2000:-2000], dry, "valid")
    assert np.argmax(near) == 2000, "nothing is shifted"
    file.unlink()
    result = ttsr("render", source, "-o", tmp_path / "again.wav", "--again", tmp_path / "out.ttsr.json")
    assert (result.exit_code, "bit for bit" in result.output) == (0, True), result.output


def test_what_comes_before_is_what_is_rendered(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.6), 5000), subtype="FLOAT")
    presets = chain(
        tmp_path, f'chain = "{chain(tmp_path, GAIN.split("[[after]]")[0]).name}"\namount = 0\n', "mine.toml"
    )
    options = ("--preset", presets, "--loudness", "off")
    audio, report, _ = rendered(ttsr, source, tmp_path / "out.wav", *options)
    assert report["tool"]["options"]["chain"]["before"][0]["plugin"] == "Gain", "a path beside the preset"
    np.testing.assert_allclose(audio, 10 ** (-6 / 20) * load(source), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[befor]]\nplugin = 'Gain'", "unknown table 'befor'; known: after, before; nearest: before"),
        ("[[before]]\nplugin = 'Compresor'", "nearest: Compressor"),
        ("[[after]]\nplugin = 'Compressor'\nthreshold = -20", "nearest: threshold_db"),
        ("[[after]]\nplugin = 'Compressor'\nratio = 0.5", "after 1: Compressor: refuses ratio = 0.5"),
        ("[[after]]\nplugin = 'Compressor'\nratio = 'x'", "after 1: Compressor: refuses ratio = 'x'"),
        ("[[after]]\nplugin = 'LadderFilter'\nmode = 'HPF'", "mode: known: LPF12, HPF12"),
        ("[[after]]\nplugin = 'Convolution'", "after 1: Convolution: refuses no settings"),
        ("[[after]]\nthreshold_db = -20", "names no effect; give one of plugin, vst3, au"),
        ("[[after]]\nvst3 = 'DeEsser.vst3'", "DeEsser.vst3: no such plug-in; install it"),
        ("[[after]]\nvst3 = 'chain.toml'", "chain.toml: cannot be loaded"),
        ("[[after]]\nvst3 = 'a.vst3'\nthreshold = 3", "settings of the plug-in go into parameters"),
        ("[before]\nplugin = 'Gain'", "write [[before]] above each effect"),
        ("", "holds no effect"),
        ("[[after]\n", "not valid TOML"),
    ],
)
def test_what_is_no_chain_is_refused_in_a_line(ttsr: Ttsr, tmp_path: Path, text: str, words: str) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.3), 5000))
    result = ttsr("render", source, "-o", tmp_path / "out.wav", "--chain", chain(tmp_path, text))
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.wav").exists()


def test_without_pedalboard_the_extra_is_named(ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pedalboard", None)
    source = save(tmp_path / "in.wav", below(voice(0.3), 5000))
    for options in (("--limiter",), ("--chain", chain(tmp_path, GAIN))):
        result = ttsr("render", source, "-o", tmp_path / "out.wav", *options)
        assert result.exit_code == 2
        assert result.output.count("pip install 'ttsr-studio[chain]'") == 1
        assert "Traceback" not in result.output


def test_effects_keep_their_state_between_blocks_whatever_these_are(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal((2, 50000)).astype(np.float32)
    tables = [{"plugin": "Compressor", "threshold_db": -30, "ratio": 8, "release_ms": 300}, {"plugin": "Reverb"}]
    made = []
    for size, inner in ((50000, 1 << 16), (777, 4096), (20000, 4096)):
        monkeypatch.setattr(effects, "BLOCK", inner)
        blocks = (noise[:, start : start + size] for start in range(0, 50000, size))
        made.append(np.concatenate(list(processed(blocks, load_effects("after", tables), 48000, 50000)), axis=1))
        assert made[-1].shape == noise.shape
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], atol=1e-6)


@pytest.mark.parametrize("gain_db", [-9, 6])
def test_a_gain_after_the_render_is_taken_back(ttsr: Ttsr, tmp_path: Path, gain_db: float) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.6, 16000), 6000, 16000), 16000, "FLOAT")
    file = chain(tmp_path, f'[[after]]\nplugin = "Gain"\ngain_db = {gain_db}\n')
    _, plain, _ = rendered(ttsr, source, tmp_path / "plain.wav")
    _, report, _ = rendered(ttsr, source, tmp_path / "out.wav", "--chain", file)
    assert report["output"]["gain_db"] == pytest.approx(plain["output"]["gain_db"] - gain_db, abs=0.06)


@pytest.mark.parametrize(("depth", "loudness"), [("16", "match"), ("24", "off"), ("32f", "-14")])
def test_peaks_are_limited_where_that_is_wanted(ttsr: Ttsr, tmp_path: Path, depth: str, loudness: str) -> None:
    audio = below(voice(2.0, 16000, 2), 6000, 16000)
    audio *= 0.5 / np.abs(audio).max()
    loudest = np.abs(audio[:, 0]).argmax()
    audio[loudest - 20 : loudest + 20] *= 4
    source = save(tmp_path / "in.wav", audio, 16000, "FLOAT")
    options = ("--depth", depth, "--loudness", loudness, "--ceiling", -1)
    made, report, said = rendered(ttsr, source, tmp_path / "out.wav", *options, "--limiter")
    output = report["output"]
    assert 20 * np.log10(np.abs(soxr.resample(made, 48000, 192000, quality="VHQ")).max()) <= -0.9
    assert output["true_peak_db"] <= -0.99
    assert output["limited"]["most_db"] > 2
    assert 0 < output["limited"]["share"] < 0.9
    assert "limited by at most" in said
    assert "peaks limited to -1.00 dBTP" in output["gain_reason"]
    if loudness == "-14":
        assert output["lufs"] == pytest.approx(-14, abs=0.5)
    if loudness == "match":
        assert output["lufs"] == pytest.approx(report["input"]["lufs"], abs=0.5)
    if loudness == "off":
        lowered, _, _ = rendered(ttsr, source, tmp_path / "low.wav", *options)
        assert level_db(made) > level_db(lowered) + 3, "the rest is not lowered with the peak"
    result = ttsr("render", source, "-o", tmp_path / "again.wav", "--again", tmp_path / "out.ttsr.json")
    assert (result.exit_code, "bit for bit" in result.output) == (0, True), result.output


def test_a_limiter_with_nothing_to_do_changes_nothing(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.5), 6000))
    plain, _, _ = rendered(ttsr, source, tmp_path / "plain.wav")
    made, report, said = rendered(ttsr, source, tmp_path / "out.wav", "--limiter")
    assert np.array_equal(plain, made)
    assert report["output"]["limited"] is None
    assert "limited" not in said
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_24"
