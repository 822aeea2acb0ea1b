"""The columns of `ttsr evaluate` that measure partials, hits, width and quality; its ceiling and contact sheets."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from matplotlib.image import imread
from numpy.typing import NDArray

from ttsr_studio.analysis.spectra import power_spectrogram
from ttsr_studio.cli.commands.evaluate import evaluate_command
from ttsr_studio.evaluation.benchmark import perceptual, pictures
from ttsr_studio.evaluation.benchmark.ceiling import ceiling, cells
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip
from ttsr_studio.evaluation.benchmark.degradation import simulate
from ttsr_studio.evaluation.benchmark.energies import bands_between
from ttsr_studio.evaluation.benchmark.metrics import METRICS, measure
from ttsr_studio.evaluation.benchmark.perceptual import LISTENERS, Listener, opinion
from ttsr_studio.evaluation.benchmark.pictures import ContactSheets
from ttsr_studio.evaluation.benchmark.stereo import channel_correlations, correlation_error, stereo_spectrum

Audio = NDArray[np.float32]


def noise(seconds: float = 2.0, level: float = 0.1, seed: int = 0, channels: int = 1) -> Audio:
    """White noise [channels, samples] of an RMS."""
    draw = np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE)))
    return (level * draw).astype(np.float32)


def gated(before: float, quiet: float = 1e-3) -> Audio:
    """Noise of RMS 0.1 for 0.1 s every quarter of a second, `quiet` between, and `before` in the 20 ms before."""
    gate = np.full(2 * RATE, quiet)
    for start in range(4800, len(gate), RATE // 4):
        gate[start - 960 : start] = before
        gate[start : start + 4800] = 0.1
    return noise(level=1.0) * gate.astype(np.float32)


def clicks() -> Audio:
    """A click every 0.1 s, 60 dB over noise."""
    audio = noise(level=1e-4)
    audio[:, 2400::4800] += 0.5
    return audio


def partials() -> Audio:
    """Harmonics of 250 Hz up to 22 kHz, 60 dB over noise."""
    t = np.arange(2 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * 250 * k * t + k * k) for k in range(1, 89))
    return (0.01 * np.asarray(tones)[None]).astype(np.float32) + noise(level=1e-5)


# texture


@pytest.mark.parametrize("level", [0.1, 0.001])
def test_white_noise_has_the_contrasts_that_theory_gives_it(level: float) -> None:
    values = measure(noise(level=level), noise(level=level, seed=1), 4000, None)
    assert values["tonal_contrast_truth"] == pytest.approx(0.55, abs=0.02)
    assert values["tonal_contrast"] == pytest.approx(0.55, abs=0.02)
    assert values["onset_contrast"] == pytest.approx(0.08, abs=0.02)
    assert values["tonal_off"] < 0.005
    assert values["onset_off"] < 0.005


def test_noise_in_place_of_partials_is_seen_and_so_is_noise_in_place_of_clicks() -> None:
    tonal = measure(partials(), noise(), 4000, None)
    assert tonal["tonal_contrast_truth"] > 0.9
    assert tonal["tonal_off"] == pytest.approx(tonal["tonal_contrast_truth"] - tonal["tonal_contrast"])
    assert tonal["onset_off"] < 0.1
    hit = measure(clicks(), noise(), 4000, None)
    assert hit["onset_contrast_truth"] > 1
    assert hit["onset_contrast_truth"] > 5 * hit["onset_contrast"]
    assert hit["onset_off"] > 0.9


@pytest.mark.parametrize("truth", [partials(), clicks()], ids=["partials", "clicks"])
def test_what_a_filter_leaves_of_the_truth_has_no_texture(truth: Audio) -> None:
    """100 dB down nobody hears it, and a contrast would be the truth's own: the input would look perfect."""
    lr, _ = simulate(truth, 4000, "brick")
    values = measure(truth, lr, 4000, None)
    assert values["tonal_contrast"] < 0.05
    assert values["onset_contrast"] < 0.05


def test_texture_is_heard_up_to_the_edge_in_whole_bands_or_not_at_all() -> None:
    truth = noise()
    high = partials() - simulate(partials(), 16000, "brick")[0]
    changed = truth + 10 * high
    assert measure(truth, changed, 4000, None)["tonal_off"] > 0.02
    assert measure(truth, changed, 4000, 15000)["tonal_off"] < 0.001
    assert math.isnan(measure(truth, truth, 8000, 8900)["tonal_contrast"]), "narrower than a band of 1 kHz"
    assert [len(bands_between(4000, edge)) for edge in (24000, 15900, 4999)] == [20, 11, 0]


def test_lsd_below_the_cutoff_is_that_of_the_low_band() -> None:
    truth = noise()
    high = truth - simulate(truth, 5000, "brick")[0]
    values = measure(truth, truth + high, 4000, None)
    assert values["lsd_low"] < 0.001
    assert values["lsd_hf"] > 0.5
    assert measure(truth, truth / 2, 4000, None)["lsd_low"] == pytest.approx(0.602, abs=1e-3)


def test_a_ghost_before_the_hits_is_as_loud_as_it_is() -> None:
    truth = gated(before=1e-3)
    assert measure(truth, gated(before=1e-2), 4000, None)["pre_onset_db"] == pytest.approx(20, abs=0.5)
    assert measure(truth, gated(before=3e-4, quiet=3e-4), 4000, None)["pre_onset_db"] == pytest.approx(-10.5, abs=0.5)
    assert measure(truth, truth, 4000, None)["pre_onset_db"] == 0
    assert math.isnan(measure(noise(), noise(), 4000, None)["pre_onset_db"]), "stationary noise has no onsets"


# stereo


def test_correlation_is_one_for_a_centred_source_none_for_independent_ones_and_minus_one_in_anti_phase() -> None:
    wide = noise(channels=2)
    for right, expected in ((wide[0], 1.0), (0.1 * wide[0], 1.0), (wide[1], 0.0), (-wide[0], -1.0), (0 * wide[0], 0.0)):
        spectra = stereo_spectrum(np.stack([wide[0], right]))
        for band in bands_between(4000, 24000):
            assert float(channel_correlations(spectra[:, band])[0][0, 1]) == pytest.approx(expected, abs=0.15)
    bands = bands_between(4000, 24000)
    centred, opposed = np.stack([wide[0], wide[0]]), np.stack([wide[0], -wide[0]])
    assert correlation_error(centred, wide, bands) == pytest.approx(1, abs=0.05)
    assert correlation_error(centred, opposed, bands) == pytest.approx(2, abs=1e-6)
    assert correlation_error(wide, noise(channels=2, seed=5), bands) < 0.1
    assert correlation_error(opposed, opposed / 3, bands) == pytest.approx(0, abs=1e-9)


def test_correlation_is_of_sounding_channels_alone() -> None:
    bands, one = bands_between(4000, 24000), noise()
    centred = np.repeat(one, 2, axis=0)
    assert math.isnan(measure(one, one, 4000, None)["icc_off"]), "mono"
    assert math.isnan(correlation_error(np.concatenate([one, 0 * one]), centred, bands)), "no image to keep"
    lr, _ = simulate(centred, 4000, "brick")
    assert correlation_error(centred, lr, bands) == pytest.approx(1, abs=0.06), "nothing is left but the skirt"


# perceptual


@pytest.mark.parametrize(("column", "best"), [("visqol", 4.732), ("zimtohrli", 5.0)])
def test_equal_audio_is_best_and_low_passed_audio_is_worse(column: str, best: float) -> None:
    (listener,) = (listener for listener in LISTENERS if listener.column == column)
    if listener.version is None:
        pytest.skip(f"{listener.package} is not installed")
    truth = gated(before=1e-3)
    low, lower = (simulate(truth, cutoff, "brick")[0] for cutoff in (8000, 2000))
    assert opinion(listener, truth, truth) == pytest.approx(best, abs=0.01)
    scores = [opinion(listener, truth, output) for output in (truth, low, lower)]
    assert scores[0] > scores[1] + 0.3 > scores[2] + 0.3
    assert opinion(listener, truth, 0 * truth) < scores[1] - 0.3, "silence is no answer"
    pair, half = np.concatenate([truth, truth]), np.concatenate([truth, low])
    assert opinion(listener, pair, half) == pytest.approx((scores[0] + scores[1]) / 2, abs=1e-3), "mean over channels"
    left_only = np.concatenate([truth, 0 * truth])
    assert opinion(listener, left_only, np.concatenate([low, truth])) == pytest.approx(scores[1], abs=1e-3)
    assert math.isnan(opinion(listener, 0 * truth, truth))
    assert math.isnan(opinion(listener, truth[:, :4000], truth[:, :4000])), "too short for it"


def test_every_column_that_has_a_better_way_says_so() -> None:
    ways = {metric.key: metric.better for metric in METRICS}
    assert {key for key, way in ways.items() if way == "higher"} == {"visqol", "zimtohrli", "held_out", "x_real_time"}
    assert {"tonal_off", "onset_off", "icc_off", "lsd_low"} <= {key for key, way in ways.items() if way == "lower"}
    assert ways["pre_onset_db"] == "zero"
    assert [metric.key for metric in METRICS][:2] == ["visqol", "zimtohrli"], "the columns that count first"


# ceiling


def test_ceiling_has_the_truths_energies_and_nothing_else_of_it() -> None:
    truth = gated(before=1e-3)
    lr, _ = simulate(truth, 4000, "brick")
    made = ceiling(lr, truth, 3900)
    assert np.array_equal(made, ceiling(lr, truth, 3900))

    def level(audio: Audio) -> NDArray[np.float64]:
        window = torch.hann_window(512)
        stft = torch.stft(torch.from_numpy(audio), 512, 256, window=window, pad_mode="constant", return_complex=True)
        return 10 * np.log10(cells(stft).double().numpy() + 1e-12)

    change = np.abs(level(made) - level(truth))[:, 12:]
    assert np.median(change) < 3, "energies of cells are kept, but for what neighbouring frames mix in"
    fine = [power_spectrogram(torch.from_numpy(x))[:, 200:].log10() for x in (truth, made)]
    assert float((fine[0] - fine[1]).abs().mean()) > 0.4, "noise of its own"
    low = np.fft.rfft((made - lr)[0] * np.hanning(lr.shape[1]))[: 2 * 2900]
    assert 20 * math.log10(np.abs(low).max() / np.abs(np.fft.rfft(lr[0])).max()) < -80, "the low band is the input's"
    assert not ceiling(0 * lr, 0 * truth, 3900).any()


# the command


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three short clips of two kinds, one in stereo."""
    folder = tmp_path / "clips"
    audio = {"speech/a": gated(1e-3), "speech/b": gated(1e-2), "music/c": noise(channels=2) * gated(1e-3)}
    for name, samples in audio.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{name}.flac", samples[:, : int(0.7 * RATE)].T, RATE, subtype="PCM_24")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate_command, [str(a) for a in arguments])


def values(out: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (out / "tables.csv").open(newline="") as file:
        return {(r["kind"], r["system"], r["metric"]): r for r in csv.DictReader(file)}


def test_the_ceiling_beats_the_input_in_every_column_that_sees_the_band(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(clips, "--out", out, "--cutoff", 4000, "--baseline", "lr")
    assert done.exit_code == 0, done.output
    table = values(out)
    for key in ("zimtohrli", "lsd", "lsd_hf", "tonal_off", "onset_off"):
        row = table["all kinds", "ceiling", key]
        if row["mean"]:
            better = float(row["difference"]) * (1 if row["better"] == "higher" else -1)
            assert better > 0, key
    assert table["speech", "lr", "icc_off"]["n"] == "0", "mono"
    assert table["all kinds", "lr", "icc_off"]["n"] == "1"
    text = (out / "tables.md").read_text()
    assert "| tonal contrast off by ↓ |" in text
    assert "(n 1)" in text, "a column that not every clip has says how many have it"
    speech = text[text.index("## speech") : text.index("## all kinds")]
    assert "inter-channel" not in speech, "no column without a value"
    assert "truth's tonal contrast" not in speech[speech.index("Difference to lr") :]


def test_without_the_packages_their_columns_are_empty_and_one_line_says_what_to_install(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (clips, "--out", tmp_path / "out", "--cutoff", 4000, "--system", "lr")
    absent = tuple(replace(listener, package=f"no-{listener.package}") for listener in LISTENERS)
    monkeypatch.setattr(perceptual, "LISTENERS", absent)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert done.output.count("pip install 'ttsr-studio[evaluate]'") == 1
    assert "no visqol and zimtohrli" in done.output
    assert values(tmp_path / "out")["speech", "lr", "zimtohrli"]["mean"] == ""
    present = Listener("zimtohrli", "numpy", 0.1, lambda: lambda truth, output: 3.0)
    monkeypatch.setattr(perceptual, "LISTENERS", (absent[0], present))
    assert "3 of them computed now" in run(*arguments).output, "what was measured without a package is measured again"
    assert values(tmp_path / "out")["speech", "lr", "zimtohrli"]["mean"] == "3"


def test_a_package_that_cannot_be_loaded_fails_in_one_line(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> perceptual.Opinion:
        raise ImportError("undefined symbol: x")

    monkeypatch.setattr(perceptual, "LISTENERS", (Listener("visqol", "numpy", 0.1, load), LISTENERS[1]))
    done = run(clips, "--out", tmp_path / "out", "--cutoff", 4000, "--system", "lr", "--kind", "music")
    assert done.exit_code == 1
    assert "numpy is installed and cannot be loaded (undefined symbol: x)" in done.output


def test_contact_sheets_show_what_is_there_and_what_is_missing(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (clips, "--out", out, "--cutoff", 4000)
    assert run(*arguments).exit_code == 0
    done = run(*arguments, "--pictures")
    assert done.exit_code == 0, done.output
    assert "9 results, 0 of them computed now" in done.output, "pictures alone do not measure again"
    assert [path.name for path in sorted((out / "pictures").glob("*.png"))] == ["music-4000.png", "speech-4000.png"]
    assert str(out / "pictures" / "music-4000.png") in done.output
    sheet = imread(out / "pictures" / "speech-4000.png")[..., :3].mean(-1)
    height, width = sheet.shape
    assert width / 120 == pytest.approx(1.2 + 2.6 * 4, abs=0.02), "input, truth, replication, ceiling"
    assert height / 120 == pytest.approx(0.75 + 2.17 * 2, abs=0.02), "two clips"
    top = sheet[int(0.75 * 120) + 20 : int(1.5 * 120)]
    given, truth, _, best = (top[:, int((0.7 + 2.6 * i) * 120) : int((3.0 + 2.6 * i) * 120)].mean() for i in range(4))
    assert truth > given + 0.1, "above the cutoff the truth has energy and the input none"
    assert best == pytest.approx(truth, abs=0.05)
    kept = {path: path.stat().st_mtime_ns for path in (out / "pictures" / "panels").iterdir()}
    assert len(kept) == 3 * 4
    assert run(*arguments, "--pictures").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "panels that are kept are not drawn again"
    assert len([json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]) == 9


def test_a_sheet_holds_eight_clips_and_a_failed_system_leaves_a_gap(tmp_path: Path) -> None:
    sheets = ContactSheets(tmp_path)
    sheets.keep({"in": noise(0.2, 1e-3), "out": noise(0.2)})
    assert not sheets.lacks("in", "out")
    assert sheets.lacks("in", "other")
    names = [f"clip {i} $x$.wav" for i in range(9)]
    for name in names:
        clip = Clip(Path(name), name, "a/b", 15000.0)
        sheets.show(clip, 8000.0, "in", "out", {} if name == names[0] else {"one": "out"})
    written = sheets.draw(dict.fromkeys(names, 0.2))
    assert [path.name for path in written] == ["a_b-8000.png", "a_b-8000-2.png"]
    first, second = (imread(path).shape for path in written)
    assert (first[0] - second[0]) / 120 == pytest.approx(7 * 2.17, abs=0.02)
    level = pictures.panel_levels(
        pictures.quantised_picture(np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)[None].astype("f4"))
    )
    assert level.max() == pytest.approx(0, abs=0.5), "a sine at full scale is 0 dB"
