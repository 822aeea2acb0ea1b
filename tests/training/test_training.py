"""Training: pairs that are what they say, and a run that can be stopped and resumed without a trace."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import voice
from safetensors.torch import load_file

from ttsr_studio.engines.builtin import engine as builtin
from ttsr_studio.engines.builtin.image import pair_powers
from ttsr_studio.engines.builtin.levels import LEVEL_BINS, LevelNetwork
from ttsr_studio.engines.builtin.networks import BuiltinNetwork, NetworkConfig, load_network
from ttsr_studio.engines.builtin.spectral import features, log_energy
from ttsr_studio.errors import InputError
from ttsr_studio.training import attribution, average
from ttsr_studio.training import critic as critic_training
from ttsr_studio.training import image as image_training
from ttsr_studio.training import levels as level_training
from ttsr_studio.training import probe as probe_training
from ttsr_studio.training.builtin import PARTS, LossTargets, losses, main
from ttsr_studio.training.critic import ranking_loss
from ttsr_studio.training.data import Batch, Corpus, Pairs, TrainingClip, at_speed, held_out, load_clips
from ttsr_studio.training.packing import forward, inverse
from ttsr_studio.training.probe import area_under_curve
from ttsr_studio.training.shards import load_shards
from ttsr_studio.training.shards import main as pack
from ttsr_studio.training.synthesis import piece
from ttsr_studio.verifiers.critic.verifier import Critic
from ttsr_studio.verifiers.probe.verifier import Probe
from ttsr_studio.verifiers.protocol import Context

Command = Callable[[list[str]], None]
FIELDS = ("file", "kind", "speaker_or_class", "eval_only", "band_edge_hz", "floor_edge_hz")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six short clips, one speaker of which belongs to the validation part."""
    folder = tmp_path_factory.mktemp("corpus")
    kept = next(f"voice {i}" for i in range(99) if held_out(f"voice {i}"))
    rows = []
    for i, kind in enumerate(["speech", "music", "sfx", "speech", "music", "speech"]):
        group = kept if i == 5 else next(f"{kind} {i} {j}" for j in range(99) if not held_out(f"{kind} {i} {j}"))
        soundfile.write(folder / f"{i}.flac", voice(1.5, channels=1 + i % 2, seed=i), 48000)
        edge = 12000 if i == 0 else 24000
        rows.append(dict(zip(FIELDS, (f"{i}.flac", kind, group, "", edge, edge), strict=True)))
    with (folder / "manifest.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, FIELDS)
        table.writeheader()
        table.writerows(rows)
    return folder


def call(command: Command, *arguments: object) -> None:
    command([str(a) for a in arguments])


def train(corpus: Path, folder: Path, *options: object) -> None:
    sizes = ("--width", 16, "--depth", 1, "--draw-width", 16, "--draw-depth", 1, "--batch", 2, "--frames", 20)
    steps = () if "--minutes" in options else ("--steps", 6)
    call(main, folder, corpus, *sizes, *steps, "--every", 2, "--no-speeds", *options)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "whole")
    for _ in range(3):
        train(corpus, tmp_path / "parts", "--stop-after", 2)
    whole, parts = (load_file(tmp_path / name / "builtin.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    engine = builtin.load_file("cpu", tmp_path / "whole" / "builtin.safetensors", expected=None)
    assert engine.config.width == 16
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert set(log[0]) == {"hours"}
    assert [line["step"] for line in log[1:]] == [2, 4, 6]
    assert all(math.isfinite(line[part]) for line in log[1:] for part in PARTS)


def test_a_run_goes_on_from_weights_of_its_size_only(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "old")
    start = ("--start-from", tmp_path / "old" / "builtin.safetensors")
    train(corpus, tmp_path / "new", "--steps", 1, *start)
    assert "of a network of other sizes" in refused(main, tmp_path / "wide", corpus, "--width", 24, *start)


def train_levels(corpus: Path, folder: Path, *options: object) -> None:
    call(level_training.main, folder, corpus, "--width", 16, "--batch", 3, "--every", 2, *options)


def test_levels_become_a_part_of_an_engine_and_stay_in_runs_from_it(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "engine", "--steps", 2)
    base = tmp_path / "engine" / "builtin.safetensors"
    train_levels(corpus, tmp_path / "levels", "--steps", 4, "--engine", base)
    made = tmp_path / "levels" / "builtin.safetensors"
    old, new = load_file(base), load_file(made)
    assert all(torch.equal(new[name], value) for name, value in old.items())
    assert {name.split(".")[0] for name in new.keys() - old.keys()} == {"levels"}
    train(corpus, tmp_path / "on", "--steps", 1, "--start-from", made)
    after = load_file(tmp_path / "on" / "builtin.safetensors")
    assert all(torch.equal(after[name], value) for name, value in new.items() if name.startswith("levels."))
    train_levels(corpus, tmp_path / "again", "--steps", 2, "--engine", made)
    again = load_file(tmp_path / "again" / "builtin.safetensors")
    assert not torch.equal(again["levels.leave.weight"], new["levels.leave.weight"])


def test_a_stopped_run_of_levels_goes_on_as_if_it_had_not_stopped(corpus: Path, tmp_path: Path) -> None:
    train_levels(corpus, tmp_path / "whole", "--steps", 6)
    for stop in (4, 6):
        train_levels(corpus, tmp_path / "parts", "--steps", 6, "--stop-at", stop)
    whole, parts = (load_file(tmp_path / name / "builtin.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4, 6]
    assert all(math.isfinite(line[part]) for line in log for part in level_training.PARTS)


def test_levels_learn_how_bright_a_recording_is_from_its_low_band(tmp_path: Path) -> None:
    """Noise whose treble falls as its bass rises: nothing else says how loud it is above the cutoff."""
    rng, clips = np.random.default_rng(0), []
    for i in range(40):
        spectrum = np.fft.rfft(rng.standard_normal(96000))
        octaves = np.log2(np.fft.rfftfreq(96000, 1 / 48000).clip(50) / 1000)
        tilted = np.fft.irfft(spectrum * 10 ** (-(i % 8) * octaves / 20))
        audio = torch.from_numpy(tilted / np.abs(tilted).max() * 20000).to(torch.int16)
        clips.append(TrainingClip(audio, "music", f"clip {i}", 24000, 0.1))
    run = level_training.LevelRun(tmp_path, 16, 0)
    pairs = level_training.LevelPairs(level_training.LevelCorpus(clips), 8, 0)
    held = level_training.LevelPairs(level_training.LevelCorpus(clips), 8, 1)
    level_training.train_levels(run, pairs, held, level_training.LevelSchedule(120, 3e-3, 60, 0.0))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    silent = level_training.level_loss(LevelNetwork(16), held.batch(0))[1]["slow_off"]
    assert log[-1]["slow_off"] < 0.5 * float(silent.detach())


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve stereo clips, alike below 3 kHz and the less alike the higher; a mono one that says it is stereo."""
    folder, rng, rows = tmp_path_factory.mktemp("wide"), np.random.default_rng(0), []
    hz = np.fft.rfftfreq(192000, 1 / 48000)
    own = np.sqrt(np.clip((hz - 3000) / 9000, 0, 1))
    for i in range(13):
        both, one, two = (np.fft.rfft(rng.standard_normal(192000)) for _ in range(3))
        channels = np.fft.irfft([both * np.sqrt(1 - own**2) + own * each for each in (one, two if i < 12 else one)])
        soundfile.write(folder / f"{i}.flac", 0.1 * channels.T, 48000)
        group = next(f"{i} {j}" for j in range(99) if held_out(f"{i} {j}") == (i % 4 == 0))
        rows.append(dict(zip(FIELDS, (f"{i}.flac", "music", group, "", 24000, 24000), strict=True)))
    with (folder / "manifest.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, FIELDS)
        table.writeheader()
        table.writerows(rows)
    return folder


def train_image(clips: Path, folder: Path, *options: object) -> None:
    call(image_training.main, folder, clips, "--width", 16, "--batch", 4, "--every", 2, *options)


def test_an_image_becomes_a_part_of_an_engine_and_stays_in_runs_from_it(
    corpus: Path, wide: Path, tmp_path: Path
) -> None:
    train(corpus, tmp_path / "engine", "--steps", 2)
    base = tmp_path / "engine" / "builtin.safetensors"
    train_image(wide, tmp_path / "whole", "--steps", 6, "--engine", base)
    for stop in (4, 6):
        train_image(wide, tmp_path / "parts", "--steps", 6, "--stop-at", stop, "--engine", base)
    old, whole, parts = (load_file(base.parent.parent / n / base.name) for n in ("engine", "whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    assert all(torch.equal(whole[name], value) for name, value in old.items())
    assert {name.split(".")[0] for name in whole.keys() - old.keys()} == {"image"}
    train(corpus, tmp_path / "on", "--steps", 1, "--start-from", tmp_path / "whole" / base.name)
    after = load_file(tmp_path / "on" / base.name)
    assert all(torch.equal(after[name], value) for name, value in whole.items() if name.startswith("image."))


def test_an_image_learns_how_wide_a_recording_is_above_its_cutoff(wide: Path, tmp_path: Path) -> None:
    run = image_training.ImageRun(tmp_path, 16, 0)
    assert len(list(image_training.stereo_clips([wide], validation=False))) == 9, "a mono clip among them"
    pairs, held = (image_training.ImagePairs(image_training.stereo_clips([wide], part), 8, 0) for part in (False, True))
    image_training.train_image(run, pairs, held, image_training.ImageSchedule(150, 3e-3, 50))
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert last["off"] < 0.7 * last["off_without"]


def test_changes_of_a_pair_are_those_of_its_audio() -> None:
    rng = np.random.default_rng(4)
    first, second = torch.from_numpy(rng.standard_normal((2, 1, 102400)).astype(np.float32))
    powers = pair_powers(first, first + second)
    for seed in range(12):
        made = image_training.changed_pair(powers, np.random.default_rng(seed))
        assert (made.first * made.second >= made.cross**2 * (1 - 1e-3)).all(), "no pair of channels has such powers"
    middle, side = first + second / 2, -second / 2
    heard = pair_powers(middle + 2 * side, middle - 2 * side)
    for value, wanted in zip(image_training.widened(powers, 2), heard, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-3, atol=1e-4)


def test_pairs_of_levels_are_what_they_say(corpus: Path) -> None:
    pairs = level_training.LevelPairs(level_training.LevelCorpus(load_clips(corpus, False)), 6, 3)
    batch, again = pairs.batch(5), pairs.batch(5)
    assert torch.equal(batch.truth.power, again.truth.power)
    assert not torch.equal(batch.truth.power, pairs.batch(6).truth.power)
    shape = (6, LEVEL_BINS, level_training.FRAMES)
    assert batch.truth.power.shape == batch.heard.power.shape == shape
    assert batch.truth.gap.shape == (6, 64, level_training.FRAMES)
    assert (batch.heard.power <= batch.truth.power.clamp(min=-22) + 1).all()
    assert (batch.cutoff_hz <= batch.edge_hz).all()


def test_an_average_lies_between_weights_of_one_kin(corpus: Path, tmp_path: Path) -> None:
    first, second, out = tmp_path / "a" / "builtin.safetensors", tmp_path / "b" / "builtin.safetensors", tmp_path / "c"
    train(corpus, first.parent)
    train(corpus, second.parent, "--start-from", first, "--context", 4)
    call(average.main, out, first, second, "--share", 0.75)
    a, b, mixed = load_file(first), load_file(second), load_file(out)
    for name, value in mixed.items():
        if name in a:
            torch.testing.assert_close(value, (0.25 * a[name].float() + 0.75 * b[name].float()).half())
        else:
            assert torch.equal(value, (0.75 * b[name].float()).half() if ".leave." in name else b[name])
    call(average.main, out, first, second, "--share", 0)
    silence = features(torch.zeros(1, 40 * 512), torch.full((1, 41), 8000.0))
    heard = [load_network(path, torch.device("cpu")).conditioner(silence).location for path in (first, out)]
    torch.testing.assert_close(heard[1], heard[0])
    train(corpus, tmp_path / "wide", "--width", 24)
    assert "have no average" in refused(average.main, out, first, tmp_path / "wide" / "builtin.safetensors")


def test_a_run_measures_itself_beside_the_shipped_weights(corpus: Path, tmp_path: Path) -> None:
    clips, run = tmp_path / "clips", tmp_path / "a run"
    clips.mkdir()
    for seed in (8, 9):
        soundfile.write(clips / f"{seed}.flac", voice(1.0, seed=seed), 48000)
    train(corpus, run, "--steps", 2, "--columns", clips)
    entry = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert entry["step"] == 2
    (columns,) = entry["columns"].values()
    mean, difference, low, high = columns["visqol"]
    assert 1 <= mean <= 5
    assert low <= difference <= high
    assert list((run / "columns" / "pictures").iterdir())
    (tmp_path / "empty").mkdir()
    train(corpus, tmp_path / "other", "--steps", 2, "--columns", tmp_path / "empty")
    assert "columns_failed" in (tmp_path / "other" / "log.jsonl").read_text()


def test_the_conditioner_learns_a_rule_that_the_low_band_tells() -> None:
    """A band above the cutoff is loud exactly where the low band is: its energy must come to follow."""
    torch.manual_seed(0)
    net = BuiltinNetwork(NetworkConfig(cells=8, patches=8, width=32, depth=2, draw_cells=4, draw_patches=4,
                                       draw_width=16, draw_depth=1, dropout=0.0))  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        gate = (torch.rand(4, 10, generator=generator) > 0.5).float().repeat_interleave(1024, dim=1)
        hr = 0.1 * torch.randn(4, 10240, generator=generator) * (0.02 + gate)
        hz = torch.fft.rfftfreq(10240, 1 / 48000)
        lr = torch.fft.irfft(torch.fft.rfft(hr) * (hz < 6000), 10240)
        batch = Batch(hr, lr, torch.full((4, 21), 6000.0), torch.full((4,), 24000.0), ("sfx",) * 4)
        targets = LossTargets.of(batch)
        loss, _ = losses(net, targets, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        prediction = net.conditioner(targets.inputs).location[:, 30]
    loud = targets.energy[:, 30] > -8
    assert prediction[loud].mean() - prediction[~loud].mean() > 2


def test_shards_keep_energies_and_say_whose_clip_it_is(corpus: Path, tmp_path: Path) -> None:
    call(pack, tmp_path, corpus)
    for validation in (False, True):
        packed, plain = load_shards([tmp_path], validation), load_clips(corpus, validation)
        assert sorted((c.kind, c.group, c.edge_hz) for c in packed) == sorted(
            (c.kind, c.group, c.edge_hz) for c in plain
        )
    first = next(clip for clip in load_clips(corpus, False) if clip.kind == "music")
    again = next(clip for clip in load_shards([tmp_path], False) if clip.group == first.group)
    before, after = (log_energy(c.audio[None].float()[:, :69632] / c.audio.abs().max()) for c in (first, again))
    loud = before > before.max() - math.log(1e6)
    assert (after - before)[loud].abs().mean() < 0.4
    assert abs((after - before)[loud].mean()) < 0.15


def test_the_transform_of_shards_is_exact_without_quantisation() -> None:
    audio = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    assert (inverse(forward(audio))[:5000] - audio).abs().max() < 1e-5


def test_a_stopped_critic_goes_on_as_if_it_had_not_stopped(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "engine")
    sizes = ("--width", 16, "--depth", 1, "--batch", 4, "--frames", 20, "--windows", 8, "--held-windows", 4)
    steps = ("--count", 3, "--expect-steps", 3, "--rank-steps", 3, "--every", 2)
    for name, calls in (("whole", 1), ("parts", 4)):
        for _ in range(calls):
            stop = () if calls == 1 else ("--stop-after", 2)
            engine = ("--engine", tmp_path / "engine" / "builtin.safetensors")
            call(critic_training.main, tmp_path / name, corpus, *engine, *sizes, *steps, *stop)
    whole, parts = (load_file(tmp_path / name / "critic.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    assert Critic(weights=tmp_path / "whole" / "critic.safetensors", expected=None).network.config.width == 16


def test_the_probe_learns_what_is_told_apart_and_says_what_it_is_worth(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "engine")
    engine = ("--engine", tmp_path / "engine" / "builtin.safetensors", "--width", 4, "--batch", 4, "--frames", 24)
    sizes = ("--batches", 4, "--held-batches", 2, "--judged-batches", 1, "--count", 3, "--steps", 120)
    call(probe_training.main, tmp_path / "probe", corpus, *engine, *sizes)
    report = json.loads((tmp_path / "probe" / "report.json").read_text())
    assert report["pairs"] == 8
    assert 0.7 < report["auc"][0] <= 1, "an engine of six steps is no recording"
    assert report["auc"][1] <= report["auc"][0] <= report["auc"][2]
    assert -1 <= report["spearman"]["log_spectral"][0] <= 1
    judge = Probe(weights=tmp_path / "probe" / "probe.safetensors", expected=None)
    audio = torch.from_numpy(voice(1.0)[:, 0]).float()[None, None]
    assert judge.score(audio, Context(48000, 5000.0, audio[0])).isfinite()


def test_the_area_under_the_curve_is_a_chance() -> None:
    assert area_under_curve(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert area_under_curve(np.array([0.0, 3.0]), np.array([1.0, 1.0])) == 0.5
    assert area_under_curve(np.array([1.0]), np.array([1.0])) == 0.5


def test_the_ranking_loss_wants_the_nearest_first() -> None:
    distance = torch.tensor([[1.0, 1.2, 1.4]])
    right, wrong, flat = (torch.tensor([x]) for x in ([0.9, 1.0, 1.1], [1.1, 1.0, 0.9], [1.0, 1.0, 1.0]))
    assert ranking_loss(right, distance) < ranking_loss(flat, distance) < ranking_loss(wrong, distance)


def test_pieces_are_music_and_depend_on_their_seed_alone() -> None:
    styles = set()
    for index in range(40):
        file, style = piece(np.random.default_rng((0, index)), 6.0)
        again, _ = piece(np.random.default_rng((0, index)), 6.0)
        assert [list(track) for track in file.tracks] == [list(track) for track in again.tracks]
        notes = [m for track in file.tracks for m in track if m.type == "note_on"]
        assert len(notes) > 1
        assert file.length > 3
        styles.add(style)
    assert styles == {"solo", "struck", "drums", "duo", "band"}


def test_clips_are_heard_at_other_speeds_with_their_edge() -> None:
    tone = (8000 * torch.sin(torch.arange(96000) * (2 * math.pi * 3000 / 48000))).to(torch.int16)
    slow, fast = at_speed(tone, 8 / 9), at_speed(tone, 9 / 8)
    assert (slow.numel(), fast.numel()) == (108000, 85333)
    for part, hz in ((slow, 3000 * 8 / 9), (fast, 3000 * 9 / 8)):
        spectrum = torch.fft.rfft(part[10000:58000].float() * torch.hann_window(48000)).abs()
        assert abs(float(spectrum.argmax()) - hz) <= 1
    corpus = Corpus([TrainingClip(tone, "music", "a", 20000.0, 0.2)], torch.device("cpu"))
    assert corpus.edge_hz.tolist() == pytest.approx([20000, 20000 * 8 / 9, 22500])


def test_pairs_are_band_limited_and_depend_on_seed_and_step_alone(corpus: Path) -> None:
    clips = load_clips(corpus, validation=False)
    assert len({clip.group for clip in clips}) == 5
    heard = Corpus(clips, torch.device("cpu"), speeds=())
    pairs = Pairs(heard, 12, 20480, seed=3, splices=0.0)
    batch, again = pairs.batch(7), Pairs(heard, 12, 20480, seed=3, splices=0.0).batch(7)
    assert torch.equal(batch.hr, again.hr)
    assert not torch.equal(batch.hr, pairs.batch(8).hr)
    hz = torch.fft.rfftfreq(20480, 1 / 48000)
    window = torch.hann_window(20480)
    truth, low = ((torch.fft.rfft(x * window).abs() ** 2) for x in (batch.hr, batch.lr))
    for row in range(12):
        cutoff = float(batch.cutoff_hz[row, 0])
        above = hz > min(3 * cutoff + 1000, 23000)
        kept = hz < 0.4 * cutoff
        assert low[row, above].sum() < 0.1 * truth[row, above].sum() + 1e-4 * truth[row].sum()
        assert 0.2 < low[row, kept].sum() / truth[row, kept].sum() < 2
        assert 1300 <= cutoff <= 20000


def test_a_splice_changes_the_band_where_it_says(corpus: Path) -> None:
    heard = Corpus(load_clips(corpus, validation=False), torch.device("cpu"), speeds=())
    batch = Pairs(heard, 6, 61440, seed=1, splices=1.0).batch(0)
    low, high = batch.cutoff_hz[:, 0], batch.cutoff_hz[:, -1]
    assert (low != high).all()
    row = int((low / high).argmin())
    switch = int((batch.cutoff_hz[row] != low[row]).float().argmax()) * 512
    between = []
    for part in (batch.lr[row, :switch], batch.lr[row, switch:]):
        hz = torch.fft.rfftfreq(part.numel(), 1 / 48000)
        power = torch.fft.rfft(part * torch.hann_window(part.numel())).abs() ** 2
        inside = (hz > 0.6 * low[row] + 0.4 * high[row]) & (hz < high[row])
        between.append(power[inside].sum() / power.sum())
    assert between[1] > between[0]


def test_clips_for_evaluation_only_are_refused(corpus: Path, tmp_path: Path) -> None:
    text = (corpus / "manifest.csv").read_text().replace(",,", ",yes,")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match="licensed for evaluation only"):
        load_clips(tmp_path, validation=False)


def test_silence_has_no_active_level() -> None:
    from ttsr_studio.audio.level import ActiveLevel, active_rms

    assert active_rms(np.zeros((1, 9999)), 48000) == 0
    tone = np.sin(np.arange(96000) / 7)[None]
    assert active_rms(np.hstack([tone, np.zeros((1, 96000))]), 48000) == pytest.approx(np.sqrt(0.5), rel=1e-3)
    level = ActiveLevel(48000)
    for start in range(0, 96000, 777):
        level.update(tone[:, start : start + 777])
    assert level.rms() == pytest.approx(active_rms(tone, 48000), rel=1e-9)


def refused(command: Command, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        call(command, *arguments)
    return str(ended.value)


def test_bad_data_ends_training_commands_in_one_line(corpus: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no manifest.csv in it" in refused(pack, tmp_path / "out", empty)
    assert "no manifest.csv in it" in refused(attribution.main, tmp_path / "A.md", empty)
    assert "no manifest.csv in it" in refused(image_training.main, tmp_path / "run", empty)
    for command in (main, critic_training.main, probe_training.main, level_training.main):
        assert "neither a manifest.csv nor shards" in refused(command, tmp_path / "run", empty)
    (empty / "manifest.csv").write_text((corpus / "manifest.csv").read_text().replace(",,", ",yes,"))
    assert "licensed for evaluation only" in refused(pack, tmp_path / "out", empty)
    train(corpus, tmp_path / "small", "--steps", 2)
    assert "of a network of other sizes" in refused(main, tmp_path / "small", corpus, "--width", 24)


def test_attributions_name_every_work_by_licence(tmp_path: Path) -> None:
    fields = (*FIELDS, "licence", "source_repo", "attribution", "duration_s")
    rows = [
        ("a.flac", "music", "x", "", 24000, 24000, "CC-BY-4.0", "some/where", "Ann, a song", 3.0),
        ("b.flac", "music", "x", "", 24000, 24000, "CC-BY-4.0", "some/where", "Ann, a song", 4.2),
        ("c.flac", "sfx", "y", "", 24000, 24000, "CC0-1.0", "else/where", "Ben", 1.0),
    ]
    with (tmp_path / "manifest.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerows([fields, *rows])
    text = attribution.attributions([tmp_path])
    assert "## CC-BY-4.0\n\n- some/where: Ann, a song (2 clips, 7 s)\n" in text
    assert "- else/where: Ben (1 clip, 1 s)" in text
    assert "2 of music, 1 of sfx" in text
