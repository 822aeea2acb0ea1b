"""The numbers of `ttsr evaluate`: right on signals whose answer is known, kept, and the same for every system."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy import signal

from ttsr_studio.cli.commands.evaluate import evaluate_command
from ttsr_studio.config.presets import available
from ttsr_studio.engines.builtin.engine import WEIGHTS
from ttsr_studio.errors import InputError, MissingError, OptionError
from ttsr_studio.evaluation.benchmark.baselines import replicate
from ttsr_studio.evaluation.benchmark.dataset import RATE, Clip, find_output, fit, load_corpus, read_clip
from ttsr_studio.evaluation.benchmark.degradation import brick, check_cutoff, simulate
from ttsr_studio.evaluation.benchmark.metrics import METRICS, measure
from ttsr_studio.evaluation.benchmark.report import write_tables
from ttsr_studio.evaluation.benchmark.system_spec import plan_specs
from ttsr_studio.evaluation.benchmark.systems import RenderSystem
from ttsr_studio.evaluation.reporting.bootstrap import bootstrap, paired
from ttsr_studio.evaluation.verifier_study.accuracy import accuracy
from ttsr_studio.evaluation.verifier_study.candidates import WindowScores

Audio = NDArray[np.float32]
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the built-in engine's weights are not there")


def noise(seconds: float = 2.0, level: float = 0.1, seed: int = 0, channels: int = 1) -> Audio:
    """White noise [channels, samples] of an RMS."""
    draw = np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE)))
    return (level * draw).astype(np.float32)


def bursts(quiet: float, seconds: float = 2.0) -> Audio:
    """Noise that jumps from an RMS to 0.1 every quarter of a second, for 0.1 s."""
    gate = np.full(round(seconds * RATE), quiet)
    for start in range(4800, len(gate), RATE // 4):
        gate[start : start + 4800] = 0.1
    return noise(seconds, 1.0) * gate.astype(np.float32)


def formula(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """LSD of two mono signals, written out: n_fft 2048, hop 512, Hann, log10 of power, clamp 1e-8."""

    def logs(audio: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.pad(audio, 1024, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 2048)[::512]
        return np.log10(np.maximum(np.abs(np.fft.rfft(frames * signal.windows.hann(2048, sym=False))) ** 2, 1e-8))

    return float(np.sqrt(((logs(x) - logs(y)) ** 2).mean(axis=1)).mean())


# metrics


def test_equal_audio_has_no_distance_and_no_bias() -> None:
    values = measure(noise(channels=2) * bursts(1e-3), noise(channels=2) * bursts(1e-3), 4000, None)
    apart = {key for key in values if "contrast" not in key}
    assert {key: values[key] for key in apart} == dict.fromkeys(apart, 0.0)
    assert values["tonal_contrast"] == values["tonal_contrast_truth"]


def test_half_the_level_is_known_in_every_metric() -> None:
    values = measure(noise(), noise() / 2, 4000, 16000)
    decibels = 20 * math.log10(2)
    for key in ("lsd", "lsd_edge", "lsd_hf"):
        assert values[key] == pytest.approx(decibels / 10, abs=1e-4), key
    assert values["hf_bias_db"] == pytest.approx(-decibels, abs=1e-4)


def test_lsd_is_the_published_formula_on_each_channel() -> None:
    truth, output = noise(channels=2), noise(seed=1, level=0.02, channels=2)
    expected = np.mean(
        [formula(t.astype(np.float64), o.astype(np.float64)) for t, o in zip(truth, output, strict=True)]
    )
    assert measure(truth, output, 4000, None)["lsd"] == pytest.approx(expected, abs=1e-4)


def test_only_the_band_between_cutoff_and_edge_counts() -> None:
    """A change above the clip's own edge, or below the cutoff, must not reach the metrics of the band between."""
    truth = noise()
    top = signal.sosfilt(signal.butter(8, 20000, "highpass", fs=RATE, output="sos"), noise(seed=1)).astype(np.float32)
    values = measure(truth, truth + top, 4000, 15000)
    assert values["lsd"] > 0.05
    assert values["lsd_edge"] < 0.01
    assert abs(values["hf_bias_db"]) < 0.01
    bass = signal.sosfilt(signal.butter(8, 1500, fs=RATE, output="sos"), noise(seed=1)).astype(np.float32)
    assert measure(truth, truth + bass, 4000, 15000)["lsd_hf"] < 0.01


def test_energy_bias_of_no_energy_is_finite_and_edge_below_the_cutoff_is_not_measured() -> None:
    truth = noise()
    empty = measure(truth, np.zeros_like(truth), 8000, None)
    assert empty["hf_bias_db"] == pytest.approx(-120 + 20 + 10 * math.log10(24 / 16), abs=0.05)
    values = measure(truth, truth / 2, 8000, 7900)
    assert math.isnan(values["lsd_hf"])
    assert math.isnan(values["hf_bias_db"])
    assert values["lsd_edge"] == pytest.approx(0.602, abs=1e-3)


def test_pause_hiss_is_the_level_over_silence() -> None:
    truth = noise()
    truth[:, RATE:] = 0
    hiss = noise(seed=2, level=1e-3)
    hiss[:, :RATE] = 0
    # -60 dB over all bins, of which 20 of 24 kHz are heard, against the floor of -90 dB
    assert measure(truth, truth + hiss, 4000, None)["pause_hiss_db"] == pytest.approx(30 - 0.79, abs=0.4)
    assert measure(truth, truth, 4000, None)["pause_hiss_db"] == 0


def test_pause_hiss_is_not_a_number_without_pauses() -> None:
    assert math.isnan(measure(noise(), noise(), 4000, None)["pause_hiss_db"])


def test_onset_error_is_the_missing_rise() -> None:
    truth = bursts(1e-3)
    assert measure(truth, bursts(1e-2), 4000, None)["onset_error_db"] == pytest.approx(20, abs=0.5)
    assert measure(truth, np.zeros_like(truth), 4000, None)["onset_error_db"] == pytest.approx(40, abs=1)
    assert math.isnan(measure(noise(), noise(), 4000, None)["onset_error_db"]), "stationary noise has no onsets"


def test_very_short_and_silent_clips_are_measured() -> None:
    for frames in (1, 50, 150, 2000):
        values = measure(np.zeros((1, frames), np.float32), np.zeros((1, frames), np.float32), 4000, None)
        assert values["lsd"] == 0
        assert math.isnan(values["onset_error_db"])


# statistics


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(3).normal(5, 2, 200)
    estimate = bootstrap(values, seed=0)
    half = 1.96 * values.std() / math.sqrt(200)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, rel=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, rel=0.02)
    assert bootstrap(values, seed=0) == estimate
    assert bootstrap(values, seed=1) != estimate


def test_bootstrap_leaves_out_what_is_missing() -> None:
    values = np.array([1.0, math.nan, 3.0])
    assert (bootstrap(values, 0).mean, bootstrap(values, 0).n) == (2, 2)
    assert math.isnan(bootstrap(np.array([1.0]), 0).low), "one clip has no interval"
    assert bootstrap(np.array([math.nan]), 0).n == 0


def test_paired_difference_sees_what_means_hide() -> None:
    baseline = np.random.default_rng(0).normal(2, 1, 50)
    difference = paired(baseline - 0.1, baseline, seed=0)
    assert difference.estimate.mean == pytest.approx(-0.1)
    assert difference.estimate.high < 0, "clips differ far more than the systems, and the pairs still tell"
    assert difference.percent == pytest.approx(-10 / baseline.mean())
    assert paired(np.array([1.0, math.nan]), np.array([math.nan, 1.0]), 0).estimate.n == 0


# inputs


@pytest.mark.parametrize("cutoff", [1000.0, 4000.0, 8000.0, 20000.0])
def test_brick_wall_is_as_documented(cutoff: float) -> None:
    hertz, response = signal.freqz(brick(cutoff), worN=1 << 16, fs=RATE)
    level = 20 * np.log10(np.abs(response) + 1e-12)
    assert np.abs(level[hertz <= cutoff - 100]).max() < 0.001
    assert level[hertz >= cutoff].max() < -100


def test_simulation_does_not_delay() -> None:
    truth = np.zeros((2, 9600), np.float32)
    truth[:, 5000] = 1
    lr, rate = simulate(truth, 4000, "brick")
    assert (lr.shape, rate, int(lr[1].argmax())) == ((2, 9600), RATE, 5000)


def test_resampling_keeps_what_it_says() -> None:
    t = np.arange(RATE) / RATE
    for hertz, kept in ((3600, True), (4100, False)):
        tone = np.sin(2 * np.pi * hertz * t) * np.hanning(RATE)  # faded, for a tone cut off is no tone
        lr, rate = simulate(tone[None].astype(np.float32), 4000, "resample")
        assert (rate, lr.shape) == (8000, (1, 8000))
        level = 20 * math.log10(lr.std() / tone.std() + 1e-12)
        assert abs(level) < 0.1 if kept else level < -100
    with pytest.raises(OptionError, match="resample takes 4000"):
        check_cutoff(2000, "resample")


def levels(audio: Audio, width: float = 500.0) -> NDArray[np.float64]:
    """Mean level, dB, of bands of equal width."""
    hertz, power = signal.welch(audio[0], RATE, nperseg=4096)
    bands = (hertz / width).astype(int)
    return 10 * np.log10(np.array([power[bands == b].mean() for b in range(int(24000 / width))]) + 1e-20)


@pytest.mark.parametrize("tilt", [0.0, -6.0])
def test_replication_keeps_the_low_band_and_fills_the_rest_without_a_step(tilt: float) -> None:
    spectrum = np.fft.rfft(noise(4.0)[0])
    hertz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    spectrum *= np.maximum(hertz, 200) ** (tilt / 6.02)
    truth = np.fft.irfft(spectrum)[None].astype(np.float32)
    truth *= 0.1 / truth.std()
    lr, _ = simulate(truth, 4000, "brick")
    wide = replicate(lr, 3900)
    assert wide.shape == lr.shape
    change = np.fft.rfft((wide - lr)[0] * np.hanning(4 * RATE))[: 4 * 2800]
    assert 20 * math.log10(np.abs(change).max() / np.abs(np.fft.rfft(lr[0])).max()) < -80, "the low band is the input's"
    made, true = levels(wide), levels(truth)
    assert np.abs(made - true).max() < 2.5, "noise of an even slope is continued as it was"
    assert np.abs(np.diff(made)[6:9] - np.diff(true)[6:9]).max() < 1.5, "no step at the cutoff"


def test_replication_of_silence_is_silent_and_loud_bands_do_not_explode() -> None:
    assert not replicate(np.zeros((2, 4800), np.float32), 3900).any()
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE, dtype=np.float32)[None]
    assert np.abs(replicate(tone, 3900)).max() < 1.2


# corpus


def write(path: Path, audio: Audio, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="PCM_24")
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of four clips of two kinds, with a manifest."""
    folder = tmp_path / "clips"
    rows = []
    for number, kind in enumerate(["speech", "speech", "music", "music"]):
        audio = bursts(1e-3, 0.6) + noise(0.6, 0.01, seed=number, channels=2 if number == 3 else 1)
        write(folder / kind / f"{kind}_{number}.flac", audio)
        edges = {"band_edge_hz": 24000, "floor_edge_hz": 15000 if number == 2 else 24000}
        rows.append({"file": f"{kind}/{kind}_{number}.flac", "kind": kind, **edges})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_manifest_and_folder_give_the_same_clips(clips: Path) -> None:
    listed, found = load_corpus(clips / "manifest.csv"), load_corpus(clips)
    assert {(c.name, c.kind) for c in listed} == {(c.name, c.kind) for c in found}
    assert [c.edge_hz for c in listed] == [None, None, 15000, None], "the lower of the two edges"
    assert [c.name for c in load_corpus(clips, ["music"], 1)] == ["music/music_2.flac"]
    with pytest.raises(OptionError, match="unknown kind 'sfx'; known: music, speech"):
        load_corpus(clips, ["sfx"])
    (clips / "bad.csv").write_text("name,kind\nx,y\n")
    with pytest.raises(OptionError, match="column 'file'"):
        load_corpus(clips / "bad.csv")


def test_finished_audio_is_found_by_stem_or_refused(clips: Path, tmp_path: Path) -> None:
    clip = Clip(clips / "speech/speech_0.flac", "speech/speech_0.flac", "speech", None)
    with pytest.raises(InputError, match="no audio with the stem speech_0"):
        find_output(tmp_path / "clips" / "music", clip)
    for place in ("a", "speech"):
        write(tmp_path / "out" / place / "speech_0.wav", noise(0.1))
    assert find_output(tmp_path / "out", clip).parent.name == "speech"
    with pytest.raises(InputError, match="2 channels against 1"):
        fit(noise(1, channels=2), 1, RATE, "x")
    with pytest.raises(InputError, match=r"1\.020 s against 1\.000 s"):
        fit(noise(1.02), 1, RATE, "x")
    assert fit(noise(0.995), 2, RATE, "x").shape == (2, RATE)


# systems


def test_specs_and_grids_multiply() -> None:
    specs = plan_specs(["rs: search=random verifier=continuity,lowband"], ["candidates=1,4", "steps=2,4"], 7, False)
    assert [s.name for s in specs] == [f"rs candidates={n} steps={k}" for n in (1, 4) for k in (2, 4)]
    options = specs[-1].options
    assert (options.verifiers, options.candidates, options.steps) == (("continuity", "lowband"), 4, 4)
    assert (options.seed, options.loudness, options.depth) == (7, "off", "32f")
    (alone, both) = plan_specs([], ["verifier=continuity,continuity+lowband"], 0, False)
    assert (alone.options.verifiers, both.options.verifiers) == (("continuity",), ("continuity", "lowband"))
    assert plan_specs(["p: preset=music steps=3"], [], 0, False)[0].options.verifiers == ("critic", "consensus")


@pytest.mark.parametrize(
    ("renders", "grids", "message"),
    [
        (["a: candidate=3"], [], "unknown --render key 'candidate'; known: "),
        (["a: candidates=three"], [], "candidates=three: a whole number is needed"),
        (["candidates=3"], [], "write NAME: KEY=VALUE"),
        (["a: candidates"], [], "'candidates' is not KEY=VALUE"),
        (["a: candidates=0"], [], "--candidates 0: at least 1"),
        (["a: solver=magic"], [], "unknown solver 'magic'"),
        (["a: verifier=lsd"], [], "pass --oracle"),
        (["a: candidates=3"], ["candidates=1,2"], "both set candidates"),
        ([], ["candidates=1,1"], "once each"),
        ([], ["steps=1", "steps=2"], "two --grid set the same key"),
    ],
)
def test_a_wrong_spec_is_refused_by_name(renders: list[str], grids: list[str], message: str) -> None:
    with pytest.raises(OptionError) as error:
        plan_specs(renders, grids, 0, False)
    assert message in str(error.value)


def test_every_preset_can_be_evaluated() -> None:
    for name in available():
        (spec,) = plan_specs([f"p: preset={name}"], [], 0, False)
        assert spec.options.loudness == "off"


@needs_weights
def test_weights_that_change_during_a_run_are_not_taken_for_the_old_ones() -> None:
    """Results are kept under the weights' checksum: a row from other weights would be wrong for good."""
    system = RenderSystem.load(plan_specs(["a: candidates=1"], [], 0, False)[0], tell_cutoff=False)
    stale = replace(system, weights={"builtin.safetensors": "0" * 64})
    with pytest.raises(MissingError, match="changed during the evaluation"):
        stale.session(4000)
    assert replace(system, tell_cutoff=True).session(4000).options.cutoff == 4000


# the command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate_command, [str(a) for a in arguments])


def read_rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def table(out: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (out / "tables.csv").open(newline="") as file:
        return {(r["kind"], r["cutoff_hz"], r["system"], r["metric"]): r for r in csv.DictReader(file)}


def test_a_run_writes_tables_and_computes_nothing_twice(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (clips / "manifest.csv", "--out", out, "--baseline", "lr")
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "24 results, 24 of them computed now, 0 failed" in done.output
    rows = table(out)
    hf = rows["music", "4000", "replication", "lsd_hf"]
    assert float(hf["difference"]) < 0, "filling the band is nearer than leaving it empty"
    assert float(hf["difference_low"]) <= float(hf["difference"]) <= float(hf["difference_high"])
    assert int(rows["all kinds", "8000", "lr", "lsd"]["n"]) == 4
    text = (out / "tables.md").read_text()
    assert "## speech, cutoff 4000 Hz (2 clips)" in text
    assert "Difference to lr:" in text
    before = (out / "results.jsonl").read_bytes()
    again = run(*arguments)
    assert "24 results, 0 of them computed now" in again.output
    assert (out / "results.jsonl").read_bytes() == before
    assert (out / "tables.md").read_text() == text


def test_a_changed_clip_low_pass_or_length_is_computed_and_a_torn_line_is_dropped(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = (clips / "manifest.csv", "--out", out, "--system", "lr", "--cutoff", 4000)
    assert "4 of them computed" in run(*arguments).output
    write(clips / "speech" / "speech_0.flac", noise(0.6, seed=9))
    assert "4 results, 1 of them computed" in run(*arguments).output
    assert "4 of them computed" in run(*arguments, "--lowpass", "resample").output
    assert "4 of them computed" in run(*arguments, "--seconds", 0.5).output
    path = out / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert "4 results, 1 of them computed" in run(*arguments, "--seconds", 0.5).output
    assert "4 of them computed" in run(*arguments, "--recompute").output
    assert len(read_rows(out)) == 17
    path.write_text("[]\n")
    assert "not a results file" in run(*arguments).output


def test_a_peer_is_measured_like_any_system(clips: Path, tmp_path: Path) -> None:
    """The inputs handed out and handed back are the system `lr`; the truth handed back is perfect."""
    out, lr, perfect = tmp_path / "out", tmp_path / "lr", tmp_path / "perfect"
    assert run(clips, "--out", out, "--system", "lr", "--write-lr", lr).exit_code == 0
    for cutoff in (4000, 8000):
        for clip in load_corpus(clips):
            write(perfect / str(cutoff) / f"{clip.stem}.wav", read_clip(clip.path))
    peers = ("--outputs", lr, "--name", "echo", "--outputs", perfect, "--name", "perfect")
    done = run(clips, "--out", out, "--system", "lr", *peers, "--baseline", "lr")
    assert done.exit_code == 0, done.output
    rows = read_rows(out)
    by = {(r["system"], r["clip"], r["cutoff_hz"]): r for r in rows}
    for (system, clip, cutoff), row in by.items():
        if system == "echo":
            assert row["lsd"] == by["lr", clip, cutoff]["lsd"]
            assert row["x_real_time"] is None
        if system == "perfect":
            assert row["lsd"] == pytest.approx(0, abs=1e-4)
    truth, given = (soundfile.read(p)[0] for p in (clips / "speech/speech_0.flac", lr / "4000/speech/speech_0.wav"))
    assert by["echo", "speech/speech_0.flac", 4000]["lsd"] == pytest.approx(formula(truth, given), abs=0.01)


def test_a_peer_at_another_rate_is_resampled_and_a_missing_or_long_file_fails_alone(
    clips: Path, tmp_path: Path
) -> None:
    peer = tmp_path / "peer"
    for clip in load_corpus(clips):
        audio = read_clip(clip.path)
        changed = signal.resample_poly(audio, 147, 160, axis=1).astype(np.float32)
        write(peer / f"{clip.stem}.wav", changed, 44100)
    (peer / "speech_0.wav").unlink()
    write(peer / "speech_1.wav", noise(0.7))
    arguments = (clips / "manifest.csv", "--out", tmp_path / "out", "--cutoff", 8000)
    done = run(*arguments, "--outputs", peer, "--name", "peer")
    assert done.exit_code == 1
    assert "no audio with the stem speech_0" in done.output
    assert "0.700 s against 0.600 s of the truth" in done.output
    assert "14 results, 14 of them computed now, 2 failed" in done.output
    (row,) = (r for r in read_rows(tmp_path / "out") if (r["system"], r["clip"]) == ("peer", "music/music_2.flac"))
    assert row["lsd_hf"] < 0.05, "this clip ends at 15 kHz, which 44.1 kHz holds"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cutoff", "30000"], "--cutoff 30000"),
        (["--baseline", "best"], "unknown --baseline 'best'; known: ceiling, lr, replication"),
        (["--render", "lr: steps=2"], "two systems are named 'lr'"),
        (["--outputs", "."], "needs its --name"),
        (["--kind", "sfx"], "unknown kind 'sfx'"),
        (["--judge", "ears"], "unknown verifier 'ears'"),
        (["--judge", "lsd"], "--judge lsd: the oracle is what verifiers are compared with"),
    ],
)
@needs_weights
def test_usage_errors_are_one_line_before_anything_runs(
    clips: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run(clips, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_curves_are_drawn_for_what_varies_only(tmp_path: Path) -> None:
    rows = [
        {"clip": f"c{clip}", "kind": "speech", "cutoff_hz": 4000.0, "system": f"{search} {n}"}
        | {"settings": {"search": search, "candidates": n, "steps": 4, "window_nfe": 4 * n}}
        | {metric.key: 1.0 + clip / n for metric in METRICS}
        for search in ("random", "zero-order")
        for n in (1, 2, 4)
        for clip in range(3)
    ]
    written = {path.name for path in write_tables(tmp_path, rows, None, 0, "title")}
    assert {"lsd-candidates.png", "lsd_hf-nfe.png"} <= written
    assert not any("steps" in name for name in written), "all systems took four steps"
    assert (tmp_path / "curves" / "lsd-candidates.png").stat().st_size > 5000


@needs_weights
def test_renders_are_measured_with_their_cost(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--kind", "speech", "--limit", 1, "--cutoff", 8000, "--oracle", "--tell-cutoff")
    grid = ("--render", "oracle: verifier=lsd steps=2", "--grid", "candidates=1,4")
    done = run(clips, "--out", out, *arguments, *grid)
    assert done.exit_code == 0, done.output
    rows = {str(row["system"]): row for row in read_rows(out)}
    one, four = rows["oracle candidates=1"], rows["oracle candidates=4"]
    assert (one["nfe"], four["nfe"]) == (2, 8)
    assert four["lsd"] <= one["lsd"] + 1e-3, "an oracle that may choose does not get worse"
    assert four["lsd_hf"] < rows["lr"]["lsd_hf"]
    assert four["x_real_time"] > 0
    assert (out / "curves" / "lsd-candidates.png").exists()
    assert "0 of them computed" in run(clips, "--out", out, *arguments, *grid).output


def test_verifiers_are_compared_with_the_oracle() -> None:
    rng = np.random.default_rng(0)
    windows = []
    for _ in range(50):
        distance = 1 + 0.1 * rng.standard_normal(16)
        scores = {"right": -distance, "wrong": distance, "blind": np.zeros(16), "guess": rng.standard_normal(16)}
        windows.append(WindowScores(distance, scores, 0.5))
    assert accuracy(windows, "right")["closed"] == accuracy(windows, "right")["spearman"] == 1
    assert accuracy(windows, "wrong")["spearman"] == -1
    assert accuracy(windows, "wrong")["closed"] < -0.5
    assert abs(accuracy(windows, "guess")["closed"]) < 0.3
    assert accuracy(windows, "blind")["spearman"] == 0
    together = accuracy(windows, "right+guess")["spearman"]
    assert accuracy(windows, "guess")["spearman"] < together < 1
    best = accuracy(windows, "guess")
    assert best["best"] < best["mean"] < 1.05
    assert best["range"] == 0.5


@needs_weights
def test_verifiers_are_measured_on_windows_of_clips_and_kept(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    judges = ("--judge", "consensus", "--judge", "continuity", "--judged", 4, "--system", "lr")
    done = run(clips, "--out", out, "--limit", 1, "--cutoff", 8000, *judges)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (out / "judges.jsonl").read_text().splitlines()]
    assert {(row["kind"], row["judge"]) for row in rows} == {
        (kind, judge) for kind in ("speech", "music") for judge in ("consensus", "continuity")
    }
    for row in rows:
        assert row["best"] <= row["chosen"]
        assert row["best"] < row["mean"]
        assert -1 <= row["spearman"] <= 1
    text = (out / "judges.md").read_text()
    assert "## music, cutoff 8000 Hz (1 clips, best of 4)" in text
    before = (out / "judges.jsonl").read_text()
    assert run(clips, "--out", out, "--limit", 1, "--cutoff", 8000, *judges).exit_code == 0
    assert (out / "judges.jsonl").read_text() == before, "what is known is not measured again"


def test_a_broken_clip_is_told_once(clips: Path, tmp_path: Path) -> None:
    (clips / "speech" / "speech_0.flac").write_bytes(b"not audio")
    done = run(clips, "--out", tmp_path / "out", "--cutoff", 4000, "--cutoff", 8000)
    assert done.exit_code == 1
    assert done.output.count("failed: speech/speech_0.flac") == 1
    assert "18 results" in done.output
