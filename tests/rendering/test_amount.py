"""How much of what was made is mixed in, and its tilt: through the real command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers import Ttsr, band, below, level_db, load, save, voice

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.resample import resample_blocks
from ttsr_studio.audio.tilt import HOP, MadeGain, ShareMap

QUICK = ("--candidates", 2, "--steps", 1, "--loudness", "off")


def rendered(ttsr: Ttsr, source: Path, out: Path, *options: object) -> tuple[np.ndarray, dict[str, Any]]:
    result = ttsr("render", source, "-o", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    return load(out), json.loads(out.with_name(f"{out.stem}.ttsr.json").read_text())


def resampled(source: Path, rate: int) -> np.ndarray:
    """[samples, channels], as the tool resamples."""
    audio, own = soundfile.read(source, dtype="float32", always_2d=True)
    blocks = resample_blocks(iter([audio.T]), own, rate, audio.shape[1], len(audio))
    return np.concatenate(list(blocks), axis=1).T.astype(np.float64)


@pytest.mark.parametrize(("rate", "asked", "channels"), [(16000, 48000, 2), (44100, 44100, 1)])
def test_amounts_null_as_they_should(ttsr: Ttsr, tmp_path: Path, rate: int, asked: int, channels: int) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.8, rate, channels), 5000, rate), rate, "FLOAT")
    plain, _ = rendered(ttsr, source, tmp_path / "plain.wav", "--rate", asked)
    made = {}
    for amount in ("0", "0.5", "1"):
        made[amount], report = rendered(
            ttsr, source, tmp_path / f"{amount}.wav", "--rate", asked, "--amount", amount, "--keep-top", 2, "--control"
        )
        assert report["amount"]["asked"] == float(amount)
        assert (
            ttsr(
                "render", source, "-o", tmp_path / f"again{amount}.wav", "--again", tmp_path / f"{amount}.ttsr.json"
            ).exit_code
            == 0
        ), "the same, bit for bit"
    dry = resampled(source, asked)
    assert np.array_equal(made["1"], plain), "bit for bit as without the option"
    assert np.array_equal(made["0"], dry), "the source, resampled"
    assert np.abs(made["0.5"] - (plain + dry) / 2).max() < 1e-6, "halfway"
    assert level_db(plain - dry) > -60, "there is something to mix in"
    for other in ("0_top2.wav", "0_control.wav"):
        assert np.array_equal(load(tmp_path / other), dry), "the others have the same amount"


def test_a_tilt_turns_about_where_the_band_ends(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(1.5), 4000), subtype="FLOAT")
    plain, report = rendered(ttsr, source, tmp_path / "plain.wav")
    dark, told = rendered(ttsr, source, tmp_path / "dark.wav", "--tilt", "-6", "--amount", "0.5")
    edge, dry = report["input"]["cutoff_hz"], resampled(source, 48000)
    assert (told["amount"]["asked"], told["amount"]["tilt_db"]) == (0.5, -6)
    assert level_db(band(dark - dry, 20, edge - 1200)) - level_db(dry) < -95, "the low band is the source's"
    for low, high in ((edge, 1.1 * edge), (2 * edge, 2.1 * edge), (3.9 * edge, 4 * edge)):
        fallen = level_db(band(dark - dry, low, high)) - level_db(band(plain - dry, low, high))
        octaves = np.log2(np.sqrt(low * high) / edge)
        assert fallen == pytest.approx(-6.02 - 6 * octaves, abs=0.7), f"{low:.0f} Hz"


@pytest.mark.golden
def test_auto_takes_less_where_candidates_disagree(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(3.0), 3000), subtype="FLOAT")
    plain, _ = rendered(ttsr, source, tmp_path / "plain.wav", "--candidates", 4)
    auto, report = rendered(ttsr, source, tmp_path / "auto.wav", "--candidates", 4, "--amount", "auto")
    amount, dry = report["amount"], load(source)
    assert 0.25 <= amount["mean"] < 1
    assert len(amount["per_second"]) == 3
    assert np.ptp([row["amount"] for row in amount["per_band"]]) > 0.05, "a curve, not a number"
    assert level_db(band(auto - dry, 20, 2000)) - level_db(dry) < -95
    fallen = []
    for row in amount["per_band"][:8]:
        low, high = row["low_hz"], row["high_hz"]
        fallen.append(level_db(band(auto - dry, low, high)) - level_db(band(plain - dry, low, high)))
    assert all(-12.1 < value < 0.2 for value in fallen)
    assert min(fallen) < -0.2
    result = ttsr("render", source, "-o", tmp_path / "again.wav", "--again", tmp_path / "auto.ttsr.json")
    assert (result.exit_code, "bit for bit" in result.output) == (0, True), result.output
    assert "amount auto" in result.output


def test_what_cannot_be_an_amount_is_refused(ttsr: Ttsr, tmp_path: Path) -> None:
    source = save(tmp_path / "in.wav", below(voice(0.3), 5000))
    for options, words in (
        (("--amount", "1.2"), "--amount 1.2: from 0 to 1, or auto"),
        (("--amount", "much"), "from 0 to 1, or auto"),
        (("--tilt", "40"), "--tilt 40: from -12 to 12 dB an octave"),
        (("--amount", "auto", "--candidates", "1"), "allow two or more --candidates"),
        (("--amount", "auto", "--decode-top", "1"), "allow two or more --candidates"),
    ):
        result = ttsr("render", source, "-o", tmp_path / "out.wav", *options)
        assert result.exit_code == 2, options
        assert words in result.output
        assert not (tmp_path / "out.wav").exists()


def test_the_corner_follows_the_map_and_blocks_leave_no_trace() -> None:
    bandwidth = BandwidthMap((0.0, 1.0), ((4000.0, 8000.0), (8000.0, 8000.0)))
    shares = ShareMap(np.array([[1.0, 0.5], [1.0, 0.25]]), np.array([4000.0, 20000.0]), np.array([0.0, 2.0]))
    noise = np.random.default_rng(0).standard_normal((2, 96000)).astype(np.float32)

    def read(start: int, stop: int) -> np.ndarray:
        inside = noise[:, max(0, start) : max(0, min(stop, 96000))]
        return np.pad(inside, ((0, 0), (max(0, -start), max(0, stop - 96000))))

    gain = MadeGain(48000, bandwidth, -6.0, shares)
    whole = gain.block(read, 0, 96000)
    parts = [gain.block(read, start, min(start + 16 * HOP, 96000)) for start in range(0, 96000, 16 * HOP)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    early = gain.gains(np.array([0.1]), 2)[:, :, 0]
    late = gain.gains(np.array([1.9]), 2)[:, :, 0]
    at_8k = round(8000 * 2048 / 48000)
    assert early[0, at_8k] / early[1, at_8k] == pytest.approx(0.5, abs=0.01), "an octave above 4 kHz in one channel"
    assert late[0, at_8k] == late[1, at_8k]
    assert early[0, 40] > 0.95 > 0.6 > late[0, 40], "the share falls with time"
