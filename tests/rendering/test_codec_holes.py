"""--fill-holes: what a codec emptied is filled, and nothing else is touched."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers import Ttsr, below

from ttsr_studio.audio.bandwidth.map import BandwidthMap
from ttsr_studio.audio.codec_holes import HOP, SIZE, HoleFinder, fill, levels, per_bin, spectrum
from ttsr_studio.audio.disk_buffer import Scratch
from ttsr_studio.report.validate import validate

RATE = 48000
QUICK = ("--candidates", 1, "--steps", 1, "--depth", "32f")
HOLES = {(8, 100, 130): 0, (17, 60, 80): 0, (24, 200, 230): 1}  # (first of 8 bands, first frame, last): channel


def noise(seconds: float = 2.0, channels: int = 2) -> np.ndarray:
    """[samples, channels], as loud everywhere up to 24 kHz, with headroom."""
    drawn = np.random.default_rng(1).standard_normal((int(seconds * RATE), channels))
    return (0.03 * drawn).astype(np.float32)


def emptied(sound: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
    """(sound with `HOLES`, bool [channels, 64, frames] of the cells that were emptied)."""
    made = spectrum(np.ascontiguousarray(sound.T))
    cells = torch.zeros(made.shape[0], 64, made.shape[2], dtype=torch.bool)
    for (band, first, last), channel in HOLES.items():
        cells[channel, band : band + 8, first:last] = True
    window = torch.hann_window(SIZE)
    kept = made * (1 - per_bin(cells.float()))
    return torch.istft(kept, SIZE, HOP, window=window, length=len(sound)).numpy().T, cells


def scratch(sound: np.ndarray) -> Scratch:
    buffer = Scratch(sound.shape[1])
    buffer.append(sound.T)
    return buffer


def written(path: Path, sound: np.ndarray) -> Path:
    sf.write(path, sound, RATE, "FLOAT")
    return path


def rendered(ttsr: Ttsr, source: Path, target: Path, *options: object) -> tuple[np.ndarray, dict, str]:
    result = ttsr("render", source, "-o", target, "--overwrite", *QUICK, *options)
    assert result.exit_code == 0, result.output
    report = json.loads(target.with_name(f"{target.stem}.ttsr.json").read_text())
    validate(report)
    return sf.read(target, dtype="float32")[0], report, result.output


def test_emptied_cells_are_found_and_nothing_else() -> None:
    sound, cells = emptied(noise())
    bandwidth = BandwidthMap.constant(RATE / 2, 2)
    finder = HoleFinder(scratch(sound), bandwidth, RATE)
    found = finder.find()
    inside = int(cells.sum())
    assert 0.4 * inside < found.cells <= inside, "the ends of a hole are half full"
    assert HoleFinder(scratch(noise()), bandwidth, RATE).find().cells == 0
    edges = np.array(found.edges.edges_hz)
    assert edges[0].min() == 8 * 375 and (edges[0, -1], edges[1, 0]) == (RATE / 2, RATE / 2)  # noqa: PT018
    low = HoleFinder(scratch(sound), BandwidthMap.constant(8000.0, 2), RATE).find()
    assert low.by_band[19:].sum() == 0 < low.cells, "above the edge nothing is a hole"


@pytest.mark.parametrize("what", ["a fade", "bursts", "partials", "a pause"])
def test_sounds_that_end_by_themselves_hold_no_holes(what: str) -> None:
    at = np.arange(2 * RATE) / RATE
    sound = {
        "a fade": noise(channels=1) * np.exp(-6 * at)[:, None],
        "bursts": noise(channels=1) * np.exp(-25 * (at % 0.25))[:, None],
        "partials": sum(0.02 * np.sin(2 * np.pi * 1500 * k * at) for k in range(1, 12))[:, None],
        "a pause": noise(channels=1) * (abs(at - 1) > 0.1)[:, None],
    }[what]
    buffer = scratch(sound.astype(np.float32))
    assert HoleFinder(buffer, BandwidthMap.constant(RATE / 2), RATE).find().cells == 0


def test_holes_do_not_depend_on_how_a_file_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    sound, _ = emptied(noise())
    bandwidth = BandwidthMap.constant(RATE / 2, 2)
    whole = HoleFinder(scratch(sound), bandwidth, RATE).find()
    monkeypatch.setattr("ttsr_studio.audio.codec_holes.STRETCH", 100 * HOP)
    cut = HoleFinder(scratch(sound), bandwidth, RATE).find()
    np.testing.assert_array_equal(cut.by_band, whole.by_band)
    assert cut.edges == whole.edges


def test_only_holes_are_filled(ttsr: Ttsr, tmp_path: Path) -> None:
    sound, cells = emptied(below(noise(), 14000, RATE).astype(np.float32))
    source = written(tmp_path / "a.wav", sound)
    plain, before, _ = rendered(ttsr, source, tmp_path / "plain.wav", "--cutoff", 14000)
    full, after, said = rendered(ttsr, source, tmp_path / "full.wav", "--cutoff", 14000, "--fill-holes")
    assert before["codec_holes"] is None
    assert after["output"]["gain_db"] == before["output"]["gain_db"], "what was filled counts in the loudness match"
    holes = after["codec_holes"]
    assert holes["cells"] == sum(row["cells"] for row in holes["bands"]) > 0.4 * int(cells.sum())
    assert {row["low_hz"] for row in holes["bands"]} == {3000, 4000, 6000, 8000}
    assert f"codec holes filled: {holes['cells']} cells" in said
    reach = np.zeros(sound.shape, bool)
    for (_, first, last), channel in HOLES.items():
        reach[(first - 2) * HOP : (last + 1) * HOP, channel] = True
    assert np.array_equal(full[~reach], plain[~reach]), "samples outside of the holes' time are not the same"
    assert (full[reach] != plain[reach]).any()
    added = levels(spectrum(np.ascontiguousarray((full - plain).T)))
    held = levels(spectrum(np.ascontiguousarray(plain.T)))
    filled = cells & (added > added.max() - 20)
    assert (added[cells].max(), int(filled.sum())) > (-100, 0)
    assert (added[filled] > held[filled]).float().mean() > 0.8, "a hole is no fuller than it was"
    near = torch.nn.functional.max_pool2d(cells.float()[None], (3, 9), 1, (1, 4))[0] > 0
    assert added[~near].max() < added.max() - 50, "something was added where nothing was missing"


def test_a_file_of_full_band_is_rendered_for_its_holes_alone(ttsr: Ttsr, tmp_path: Path) -> None:
    sound, _ = emptied(noise())
    source = written(tmp_path / "a.wav", sound)
    refused = ttsr("render", source, "-o", tmp_path / "b.wav", *QUICK)
    assert "full-band already" in refused.output
    full, report, said = rendered(ttsr, source, tmp_path / "b.wav", "--fill-holes", "--loudness", "off")
    assert report["codec_holes"]["cells"] > 0
    assert "nothing to add above; note: codec holes filled" in said
    assert 0 < (full != sound).mean() < 0.4
    clean = ttsr("render", written(tmp_path / "c.wav", noise()), "-o", tmp_path / "d.wav", *QUICK, "--fill-holes")
    assert "full-band already" in clean.output


def test_presets_and_json_know_of_holes(ttsr: Ttsr, tmp_path: Path) -> None:
    sound = below(noise(1.0), 9000, RATE)
    source = written(tmp_path / "a.wav", sound)
    (tmp_path / "mine.toml").write_text('description = "x"\nfill-holes = true\n')
    result = ttsr("render", source, "-o", tmp_path / "b.wav", *QUICK, "--preset", tmp_path / "mine.toml", "--json")
    assert result.exit_code == 0, result.output
    line = next(json.loads(text) for text in result.stdout.splitlines() if text.startswith("{"))
    assert line["codec_holes"] == {"cells": 0, "share": 0.0, "bands": []}


def test_a_hole_is_filled_at_the_level_around_it() -> None:
    sound, cells = emptied(noise())
    finder = HoleFinder(scratch(sound), BandwidthMap.constant(RATE / 2, 2), RATE)
    first, last = finder.reach(0)
    mine = np.pad(noise(), ((-first, last - len(sound)), (0, 0)))
    loud = np.ascontiguousarray(100 * mine.T)
    made = fill(loud, finder.cells(0)[0])
    level = levels(spectrum(np.ascontiguousarray(made[:, -first : -first + len(sound)])))
    around = levels(spectrum(np.ascontiguousarray(noise().T)))
    middle = torch.zeros_like(cells)
    middle[0, 10:14, 103:127] = True
    assert level[middle].mean() - around[middle].mean() < 0.7 * 40, "40 dB too loud an engine is heard as such"
    assert not made[:, : -first // 2].any()
