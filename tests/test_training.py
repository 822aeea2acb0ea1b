"""Training: pairs that are what they say, and a run that can be stopped and resumed without a trace."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from conftest import voice
from safetensors.torch import load_file

from ttsr_studio.engines.builtin import engine as builtin
from ttsr_studio.errors import InputError
from ttsr_studio.training import critic as critic_training
from ttsr_studio.training.builtin import main
from ttsr_studio.training.critic import ranking_loss
from ttsr_studio.training.data import Pairs, held_out, load_clips
from ttsr_studio.training.mixes import piece
from ttsr_studio.verifiers.critic.judge import Critic

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


def train(corpus: Path, folder: Path, *options: object) -> Result:
    sizes = ("--width", 16, "--condition-width", 16, "--depth", 1, "--batch", 2, "--frames", 20)
    steps = ("--prior-steps", 4, "--envelope-steps", 4, "--every", 2)
    result = CliRunner().invoke(main, [str(a) for a in (corpus, folder, *sizes, *steps, *options)])
    assert result.exit_code == 0, result.output
    return result


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "whole")
    for _ in range(4):
        train(corpus, tmp_path / "parts", "--stop-after", 3)
    whole, parts = (load_file(tmp_path / name / "builtin.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    engine = builtin.load_file("cpu", tmp_path / "whole" / "builtin.safetensors", expected=None)
    assert engine.config.width == 16
    losses = (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    assert len(losses) == 4


def test_old_weights_are_gone_on_from_without_statistics(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "old", "--context", 0)
    start = ("--start-from", tmp_path / "old" / "builtin.safetensors")
    train(corpus, tmp_path / "new", "--context", 8, *start)
    assert builtin.load_file("cpu", tmp_path / "new" / "builtin.safetensors", expected=None).config.context == 8
    arguments = [str(corpus), str(tmp_path / "wider"), "--width", "24", "--depth", "2", *map(str, start)]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code != 0


def test_a_stopped_critic_goes_on_as_if_it_had_not_stopped(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "engine")
    sizes = ("--width", 16, "--depth", 1, "--batch", 4, "--frames", 20, "--windows", 8, "--held-windows", 4)
    steps = ("--count", 3, "--expect-steps", 3, "--rank-steps", 3, "--every", 2)
    for name, calls in (("whole", 1), ("parts", 4)):
        for _ in range(calls):
            stop = () if calls == 1 else ("--stop-after", 2)
            engine = ("--engine", tmp_path / "engine" / "builtin.safetensors")
            arguments = (corpus, tmp_path / name, *engine, *sizes, *steps, *stop)
            done = CliRunner().invoke(critic_training.main, [str(a) for a in arguments])
            assert done.exit_code == 0, done.output
    whole, parts = (load_file(tmp_path / name / "critic.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole.keys() | parts.keys())
    assert Critic(weights=tmp_path / "whole" / "critic.safetensors", expected=None).network.config.width == 16


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


def test_extra_clips_are_heard_at_their_share(corpus: Path) -> None:
    clips = load_clips(corpus, validation=False)
    music = [clip for clip in clips if clip.kind == "music"]
    loud = [type(clip)((clip.audio * 0 + 1000).astype(np.int16), "music", 24000.0, 1000 / 32768) for clip in music]
    pairs = Pairs(music, 16, 10240, seed=0, extra=loud, extra_share=0.5)
    rng = np.random.default_rng(0)
    parts = [pairs._excerpt(rng, "music", 0)[0] for _ in range(200)]
    extra = [abs(np.median(part[np.abs(part) > 1e-3]) - 1000 / 32768) < 1e-4 for part in parts]
    assert 0.35 < np.mean(extra) < 0.65


def test_pairs_are_band_limited_and_depend_on_seed_and_step_alone(corpus: Path) -> None:
    clips = load_clips(corpus, validation=False)
    assert len(clips) == 5
    pairs = Pairs(clips, 12, 20480, seed=3)
    batch, again = pairs.batch(7), Pairs(clips, 12, 20480, seed=3).batch(7)
    assert torch.equal(batch.hr, again.hr)
    assert not torch.equal(batch.hr, pairs.batch(8).hr)
    hz = torch.fft.rfftfreq(20480, 1 / 48000)
    window = torch.hann_window(20480)
    truth, low = ((torch.fft.rfft(x * window).abs() ** 2) for x in (batch.hr, batch.lr))
    for row in range(12):
        cutoff = float(batch.cutoff_hz[row])
        above = hz > min(1.6 * cutoff + 1000, 23000)
        kept = hz < 0.4 * cutoff
        assert low[row, above].sum() < 0.05 * truth[row, above].sum() + 1e-4 * truth[row].sum()
        assert 0.5 < low[row, kept].sum() / truth[row, kept].sum() < 2
        assert 1500 <= cutoff <= 20000


def test_clips_for_evaluation_only_are_refused(corpus: Path, tmp_path: Path) -> None:
    text = (corpus / "manifest.csv").read_text().replace(",,", ",yes,")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match="licensed for evaluation only"):
        load_clips(tmp_path, validation=False)


def test_silence_has_no_active_level() -> None:
    from ttsr_studio.levels import ActiveLevel, active_rms

    assert active_rms(np.zeros((1, 9999)), 48000) == 0
    tone = np.sin(np.arange(96000) / 7)[None]
    assert active_rms(np.hstack([tone, np.zeros((1, 96000))]), 48000) == pytest.approx(np.sqrt(0.5), rel=1e-3)
    level = ActiveLevel(48000)
    for start in range(0, 96000, 777):
        level.update(tone[:, start : start + 777])
    assert level.rms() == pytest.approx(active_rms(tone, 48000), rel=1e-9)
