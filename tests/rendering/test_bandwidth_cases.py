"""Sounds whose band was heard wrongly once, through the command line: nothing of a source is lost, none is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Ttsr, band, below, level_db, load, save, voice
from scipy.signal import chirp

RATE = 48000
PLAIN = ("--candidates", 1, "--verifier", "critic", "--loudness", "off")


def render(ttsr: Ttsr, source: Path, *options: object) -> dict[str, Any]:
    """What `ttsr render --json` says of a file that is to be rendered or skipped."""
    result = ttsr("render", source, "-o", source.with_name("out.wav"), "--json", *PLAIN, *options)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return told


def note(pitch: float, level: Any, seconds: float = 1.5) -> np.ndarray:
    """Partials k of a pitch at `level(k)`, [samples, 1]."""
    at = np.arange(int(RATE * seconds)) / RATE
    partials = [level(k) * np.sin(2 * np.pi * pitch * k * at + k) for k in range(1, int(20000 / pitch) + 1)]
    return np.asarray(0.2 * np.sum(partials, axis=0)[:, None])


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("piano", note(523.25, lambda k: 10 ** (-0.9 * (k - 1)))),
        ("square", note(440.0, lambda k: (k % 2) / k)),
        ("flute", note(1046.5, lambda k: 10.0**-k) + 1e-3 * np.random.default_rng(1).standard_normal((72000, 1))),
        ("two tones", note(700.0, lambda k: float(k == 1)) + note(6000.0, lambda k: 0.3 * (k == 1))),
        ("sweep", 0.3 * chirp(np.arange(2 * RATE) / RATE, 300.0, 2.0, 6000.0)[:, None]),
        ("hum", note(50.0, lambda k: 0.5**k)),
    ],
)
def test_tonal_sounds_are_skipped_and_the_reason_is_said(ttsr: Ttsr, tmp_path: Path, name: str, sound: Any) -> None:
    source = save(tmp_path / f"{name}.wav", sound)
    told = render(ttsr, source)
    assert told["status"] == "skipped"
    assert "nothing to add" in told["reason"] or "left as it is" in told["reason"]
    assert not (tmp_path / "out.wav").exists()


def test_a_skipped_file_is_no_failure_among_others(ttsr: Ttsr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "full.wav", voice(1.0))
    save(tmp_path / "in" / "dull.wav", below(voice(1.0), 5000))
    result = ttsr("render", tmp_path / "in", "-o", tmp_path / "out", *PLAIN)
    assert result.exit_code == 0, result.output
    assert "full.wav: full-band already" in result.output
    assert [path.name for path in (tmp_path / "out").glob("*.wav")] == ["dull.wav"]


@pytest.mark.golden
def test_a_whine_stays_or_goes_as_asked_and_does_not_count(ttsr: Ttsr, tmp_path: Path) -> None:
    whine = 0.1 * np.sin(2 * np.pi * 15734 * np.arange(2 * RATE) / RATE)[:, None]
    sound = below(voice(2.0), 6000)
    sources = {"plain": save(tmp_path / "plain.wav", sound), "crt": save(tmp_path / "crt.wav", sound + whine)}
    matched = ("--loudness", "match", "--overwrite", "--no-report")
    found = {}
    for name, source, asked in (("plain", "plain", ()), ("kept", "crt", ()), ("gone", "crt", ("--remove", "tones"))):
        told = render(ttsr, sources[source], *matched, *asked)
        assert told["status"] == "rendered"
        found[name] = load(tmp_path / "out.wav"), told
    programme, line = ({name: level_db(band(audio, *where)) for name, (audio, _) in found.items()}
                       for where in ((300, 4500), (15700, 15770)))  # fmt: skip
    assert programme["kept"] == pytest.approx(programme["plain"], abs=0.1)
    assert programme["gone"] == pytest.approx(programme["plain"], abs=0.1)
    assert line["kept"] == pytest.approx(level_db(whine), abs=1.0)
    assert line["gone"] < level_db(whine) - 40
    for name in ("kept", "gone"):
        tone = found[name][1]["beyond"][0]
        assert tone["low_hz"] == pytest.approx(15734, abs=1)
        assert tone["level_db"] == pytest.approx(level_db(whine), abs=0.5)
        assert (tone["what"], tone["removed"]) == ("tone", name == "gone")
        assert tone["stop_s"] == pytest.approx(2.0, abs=0.2)


def test_the_terminal_names_what_was_removed_above_the_band(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = below(voice(2.0), 6000)
    hat = 0.05 * np.random.default_rng(2).standard_normal((4800, 1))
    sound[RATE : RATE + 4800] += hat - below(hat, 7000)
    source = save(tmp_path / "hat.wav", sound)
    result = ttsr("render", source, "-o", tmp_path / "out.wav", *PLAIN, "--remove", "above")
    assert result.exit_code == 0, result.output
    assert "removed above the band: sound of" in result.output
    assert "at 1 to 2 s" in result.output


def test_a_single_hit_is_rendered(ttsr: Ttsr, tmp_path: Path) -> None:
    hit = np.zeros((RATE, 1))
    burst = np.random.default_rng(3).standard_normal((4000, 1)) * np.exp(-np.arange(4000) / 700)[:, None] * 0.2
    hit[RATE // 2 : RATE // 2 + 4000] = burst
    told = render(ttsr, save(tmp_path / "snap.wav", below(hit, 6000)))
    assert told["status"] == "rendered"
    assert told["cutoff_hz"] == pytest.approx(6000, rel=0.1)


def test_a_splice_is_filled_where_it_is_dull_and_kept_where_it_is_not(ttsr: Ttsr, tmp_path: Path) -> None:
    wide = voice(4.0)
    spliced = np.concatenate((below(wide, 4000)[: 2 * RATE], wide[2 * RATE :]))
    render(ttsr, save(tmp_path / "splice.wav", spliced))
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    assert len(report["input"]["bandwidth"]) == 2
    before, after = load(tmp_path / "splice.wav"), load(tmp_path / "out.wav")
    dull, bright = slice(RATE // 4, 7 * RATE // 4), slice(9 * RATE // 4, 15 * RATE // 4)
    assert level_db(band(after[dull], 5000, 12000)) > level_db(band(before[dull], 5000, 12000)) + 20
    assert np.abs(after[bright] - before[bright]).max() < 1e-3


def test_every_channel_is_filled_from_its_own_edge(ttsr: Ttsr, tmp_path: Path) -> None:
    wide = voice(2.0)
    both = np.concatenate((below(wide, 4000), below(wide, 9000)), axis=1)
    render(ttsr, save(tmp_path / "both.wav", both))
    before, after = load(tmp_path / "both.wav"), load(tmp_path / "out.wav")
    assert level_db(band(after[:, :1], 5000, 8000)) > level_db(band(before[:, :1], 5000, 8000)) + 20
    kept = band(after[:, 1:] - before[:, 1:], 1000, 7500)
    assert level_db(kept) < level_db(band(before[:, 1:], 1000, 7500)) - 60


def test_edges_may_be_given_for_every_channel(ttsr: Ttsr, tmp_path: Path) -> None:
    wide = voice(1.0)
    both = save(tmp_path / "both.wav", np.concatenate((below(wide, 4000), below(wide, 9000)), axis=1))
    render(ttsr, both, "--cutoff", "4000,8800")
    report = json.loads((tmp_path / "out.ttsr.json").read_text())
    assert [row["edges_hz"] for row in report["input"]["bandwidth"]] == [[4000.0, 8800.0]]
    again = ttsr("render", both, "--again", tmp_path / "out.ttsr.json", "-o", tmp_path / "two.wav")
    assert again.exit_code == 0, again.output
    for given, words in (("1,2,3", "--cutoff 1,2,3: from 500"), ("4000,5000,6000", "has 2 channels, and --cutoff")):
        refused = ttsr("render", both, "-o", tmp_path / "x.wav", "--cutoff", given)
        assert refused.exit_code in (1, 2)
        assert words in refused.output


def test_what_a_full_band_file_holds_is_not_raised_by_a_cutoff(ttsr: Ttsr, tmp_path: Path) -> None:
    white = 0.1 * np.random.default_rng(4).standard_normal((RATE, 1))
    wide = 0.8 * below(white, 6000) + 0.2 * white
    told = render(ttsr, save(tmp_path / "full.wav", wide), "--cutoff", 5000)
    after = load(tmp_path / "out.wav")
    for low in range(5000, 20000, 2500):
        before_db, after_db = (level_db(band(audio, low, low + 2500)) for audio in (wide, after))
        assert after_db == pytest.approx(before_db, abs=0.5)
    assert "it holds sound up to 24.0 kHz" in " ".join(told["warnings"])


def test_an_output_without_room_above_the_band_is_skipped(ttsr: Ttsr, tmp_path: Path) -> None:
    told = render(ttsr, save(tmp_path / "phone.wav", voice(1.0, 8000), 8000), "--rate", "source")
    assert told["status"] == "skipped"
    assert "at 8000 Hz" in told["reason"]


def test_the_report_names_what_ended_the_band(ttsr: Ttsr, tmp_path: Path) -> None:
    spectrum = np.fft.rfft(0.1 * np.random.default_rng(6).standard_normal(RATE))
    spectrum[11950:] = 0
    source = save(tmp_path / "radio.wav", np.fft.irfft(spectrum, RATE)[:, None])
    render(ttsr, source)
    asked = ttsr("inspect", source, "--json", "--no-estimate")
    told = json.loads((tmp_path / "out.ttsr.json").read_text())["input"]["codec"]
    assert "a rate of 24 kHz" in told
    assert json.loads(asked.stdout)["codec"] == told


def test_nothing_is_made_on_a_steady_tone_that_is_kept(ttsr: Ttsr, tmp_path: Path) -> None:
    faint = 0.002 * np.sin(2 * np.pi * 7563 * np.arange(2 * RATE) / RATE)[:, None]
    source = save(tmp_path / "tone.wav", below(voice(2.0), 6000) + faint)
    assert render(ttsr, source)["status"] == "rendered"
    after = load(tmp_path / "out.wav")
    for start in range(RATE // 8, 15 * RATE // 8 - 8192, 8192):
        part = np.hanning(8192) * after[start : start + 8192, 0]
        level = np.abs(part @ np.exp(-2j * np.pi * 7563 * np.arange(8192) / RATE)) / 2048
        assert level == pytest.approx(0.002, rel=0.05)


def test_images_are_named_with_what_takes_them_out(ttsr: Ttsr, tmp_path: Path) -> None:
    low = np.round(voice(1.0, 12000)[:, 0] * 400) / 512
    source = save(tmp_path / "game.wav", np.repeat(low, 4)[:, None])
    asked = json.loads(ttsr("inspect", source, "--json", "--no-estimate").stdout)
    assert asked["images"] == {"rate": 12000, "kind": "held samples"}
    told = render(ttsr, source)
    assert told["status"] == "skipped"
    remedy = "--remove images"
    assert remedy in told["reason"]
    told = render(ttsr, source, *remedy.split())
    assert told["status"] == "rendered"
    assert told["cutoff_hz"] == pytest.approx(5520)
    assert {(row["what"], row["removed"]) for row in told["beyond"]} == {("image", True)}
    assert any("removed above the band: images" in notice["text"] for notice in told["notices"])
    before, after = load(source), load(tmp_path / "out.wav")
    image = level_db(band(before, 11900, 12100)), level_db(band(after, 11900, 12100))
    assert image[0] != pytest.approx(image[1], abs=0.5)


def test_an_edge_above_the_band_says_what_stays_empty(ttsr: Ttsr, tmp_path: Path) -> None:
    stem = tmp_path / "stem.wav"
    save(stem, below(voice(1.5), 6000))
    result = ttsr("render", stem, "--cutoff", "15000", "--candidates", "1", "-o", tmp_path / "out.wav")
    assert "below --cutoff nothing was heard from" in result.stdout
    assert "to 15.0 kHz" in result.stdout


def test_birdies_go_by_name_are_listed_and_do_not_count(ttsr: Ttsr, tmp_path: Path) -> None:
    sound, rng = below(voice(2.0), 6000), np.random.default_rng(5)
    places = [(0.15 + 0.23 * k, float(hz)) for k, hz in enumerate(rng.uniform(7000, 14000, 8))]
    blips = np.zeros_like(sound)
    for start, hz in places:
        at = np.arange(int(0.06 * RATE))
        blips[int(start * RATE) :][: len(at), 0] += 0.02 * np.hanning(len(at)) * np.sin(2 * np.pi * hz * at / RATE)
    hat = 0.05 * rng.standard_normal((2400, 1)) * np.exp(-np.arange(2400) / 500)[:, None]
    blips[RATE // 20 : RATE // 20 + 2400] += hat - below(hat, 7000)
    clean, full = save(tmp_path / "clean.wav", sound), save(tmp_path / "birds.wav", sound + blips)
    matched = ("--loudness", "match", "--overwrite")
    found = {}
    for name, source, asked in (("clean", clean, "nothing"), ("kept", full, "nothing"), ("gone", full, "birdies")):
        told = render(ttsr, source, *matched, "--remove", asked)
        found[name] = load(tmp_path / "out.wav"), [row for row in told["beyond"] if row["what"] == "birdie"], told
    assert found["kept"][1] == []
    rows = sorted(found["gone"][1], key=lambda row: row["start_s"])
    assert len(rows) == len(places)
    for row, (start, hz) in zip(rows, places, strict=True):
        assert row["low_hz"] == pytest.approx(hz, abs=30)
        assert row["level_db"] == pytest.approx(20 * np.log10(0.02 / 2**0.5), abs=3)
        assert row["start_s"] - 0.03 < start < start + 0.06 < row["stop_s"] + 0.05
        assert row["removed"]
    assert any("8 codec birdies" in notice["text"] for notice in found["gone"][2]["notices"])
    for start, hz in places:
        part = slice(int(start * RATE), int((start + 0.06) * RATE))
        level = {name: level_db(band(audio, hz - 60, hz + 60)[part]) for name, (audio, _, _) in found.items()}
        assert level["gone"] < level["kept"] - 10
    beginning = slice(RATE // 20, RATE // 20 + 2400)
    hats = [level_db(band(found[name][0], 14500, 20000)[beginning]) for name in ("kept", "gone")]
    assert hats[1] == pytest.approx(hats[0], abs=0.5)
    programme = [level_db(band(found[name][0], 300, 4500)) for name in ("clean", "gone")]
    assert programme[1] == pytest.approx(programme[0], abs=0.1)


def test_short_tones_below_the_edge_and_partials_above_it_are_no_birdies(ttsr: Ttsr, tmp_path: Path) -> None:
    at = np.arange(2 * RATE) / RATE
    bell = 0.02 * np.sin(2 * np.pi * 8000 * at) * np.exp(-1.5 * at) * np.minimum(1, at / 0.01)
    pip = 0.02 * np.sin(2 * np.pi * 4000 * at) * (np.abs(at - 1) < 0.05)
    source = save(tmp_path / "bell.wav", below(voice(2.0), 6000) + below((bell + pip)[:, None], 9000))
    told = render(ttsr, source, "--remove", "birdies")
    assert [row for row in told["beyond"] if row["removed"]] == []
