"""`ttsr tune`: nothing above the limit is run, nothing is run twice, and the preset is what the rows say."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audiosr_fixtures import NAME, imported, models, official  # noqa: F401
from helpers import Ttsr, below, save, voice
from torch import Tensor

from ttsr_studio.cli import progress
from ttsr_studio.engines.builtin.engine import WEIGHTS, BuiltinEngine
from ttsr_studio.evaluation.replay.score_file import Draws, Recording, ScoreFile
from ttsr_studio.evaluation.tuning.rungs import RungTask, advise_rungs, rungs_preset
from ttsr_studio.evaluation.tuning.space import Axes, SamplerSetting
from ttsr_studio.search.protocol import SamplingPlan

pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the built-in engine's weights are not there")

ONE = ("--cutoff", 8000, "--candidates", 2)
FEW = (*ONE, "--solver", "heun", "--solver", "dpmpp-2m", "--schedule", "edm", "--steps", 2, "--steps", 4)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips of two kinds."""
    folder = tmp_path / "clips"
    for number, kind in enumerate(["speech", "sfx"]):
        (folder / kind).mkdir(parents=True)
        save(folder / kind / f"{kind}.wav", voice(0.7, seed=number))
    return folder


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that the network was asked for, call by call."""
    asked: list[int] = []
    plain = BuiltinEngine.denoise

    def counted(self: BuiltinEngine, x: Tensor, *rest: Any) -> Tensor:
        asked.append(len(x))
        return plain(self, x, *rest)

    monkeypatch.setattr(BuiltinEngine, "denoise", counted)
    return asked


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "tune.jsonl").read_text().splitlines()]


def table(out: Path) -> list[list[str]]:
    """Cells of the lines of tune.md's tables, without their heads."""
    lines = (out / "tune.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [line for line in cells if line[0] != "solver" and not line[0].startswith("---")]


def preset(out: Path) -> dict:
    return tomllib.loads((out / "tuned.toml").read_text())


def test_a_setting_costs_what_its_solver_and_guidance_take() -> None:
    heun = SamplerSetting("heun", 4, "edm", 1.0, 1.0)
    assert heun.nfe == 7
    assert SamplerSetting("heun", 4, "edm", 1.0, 2.0).nfe == 14
    assert SamplerSetting("unipc", 8, "edm", 1.0, 3.5).nfe == 16
    assert [heun.most_steps(limit) for limit in (1, 6, 7, 8)] == [1, 3, 4, 4]
    assert SamplerSetting("euler", 1, "edm", 1.0, 2.0).most_steps(1) == 0
    axes = Axes(("euler", "heun"), (), ("edm", "cosine"), (1.0,), (1.0, 3.5), (None,))
    settings, above = axes.grid(8)
    assert above == 0
    assert max(setting.nfe for setting in settings) == 8
    assert {s.steps for s in settings if (s.solver, s.guidance) == ("euler", 1.0)} == {8, 4, 2}
    assert {s.steps for s in settings if (s.solver, s.guidance) == ("heun", 3.5)} == {2}


def test_the_limit_holds_the_best_row_leads_and_nothing_is_run_twice(
    ttsr: Ttsr, clips: Path, tmp_path: Path, evaluations: list[int]
) -> None:
    out = tmp_path / "out"
    command = ("tune", clips, "--nfe", 7, "--objective", "lsd", *FEW, "--steps", 8, "--out", out)
    done = ttsr(*command)
    assert done.exit_code == 0, done.output
    assert "4 settings, 2 more above the limit left out; 8 results, 8 of them computed now, 0 failed" in done.output
    found = rows(out)
    assert {row["nfe"] for row in found} == {2, 3, 4, 7}
    assert sum(evaluations) == sum(2 * row["windows"] * row["nfe"] for row in found), "two candidates, one channel"
    means: dict[tuple[str, str], float] = {}
    for row in found:
        place = (row["solver"], str(row["steps"]))
        means[place] = means.get(place, 0.0) + row["scores"]["lsd"] / 2
    order = sorted(means, key=lambda place: -means[place])
    assert [(line[0].removesuffix(" (default)"), line[1]) for line in table(out)] == order
    assert float(table(out)[0][6].split()[0]) == pytest.approx(means[order[0]], abs=6e-4)
    before = [(out / name).read_bytes() for name in ("tune.jsonl", "tune.md", "tuned.toml")]
    evaluations.clear()
    again = ttsr(*command)
    assert "8 results, 0 of them computed now" in again.output
    assert not evaluations
    assert [(out / name).read_bytes() for name in ("tune.jsonl", "tune.md", "tuned.toml")] == before
    save(clips / "sfx" / "sfx.wav", voice(0.7, seed=5))
    assert "8 results, 4 of them computed now" in ttsr(*command).output, "the clip that changed is measured again"


def test_the_preset_renders_and_the_default_stays_where_nothing_beats_it(
    ttsr: Ttsr, clips: Path, tmp_path: Path
) -> None:
    out, own = tmp_path / "out", tmp_path / "mine.toml"
    worse = ("--solver", "heun", "--steps", 2, "--schedule", "edm", *ONE)
    done = ttsr("tune", clips, "--nfe", 8, "--objective", "consensus", *worse, "--out", out, "--preset", own)
    assert done.exit_code == 0, done.output
    assert "The default stays" in done.output
    values = tomllib.loads(own.read_text())
    assert "tuned by ttsr tune: objective consensus" in values["description"]
    assert "default stays" in values["description"]
    assert (values["solver"], values["steps"], values["schedule"]) == ("dpmpp-2m", 4, "edm")
    assert ttsr("presets", "check", own).exit_code == 0
    low = save(tmp_path / "low.wav", below(voice(0.7), 5000))
    done = ttsr("render", low, "--preset", own, "--candidates", 1, "-o", tmp_path / "high.wav")
    assert done.exit_code == 0, done.output
    options = json.loads((tmp_path / "high.ttsr.json").read_text())["tool"]["options"]
    assert (options["solver"], options["steps"], options["temperature"]) == ("dpmpp-2m", 4, 1.0)
    own.write_text('description = "my own"\n')
    done = ttsr("tune", clips, "--nfe", 8, *worse, "--out", out, "--preset", own)
    assert done.exit_code == 2
    assert "exists already" in done.output


def test_a_collapse_to_the_mean_is_found_and_warned_of(ttsr: Ttsr, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cold = ("--solver", "dpmpp-2m", "--steps", 4, "--schedule", "edm", "--temperature", 1, "--temperature", 0.3)
    done = ttsr("tune", clips, "--nfe", 4, "--objective", "critic+consensus", *cold, *ONE, "--out", out)
    assert done.exit_code == 0, done.output
    best, default = table(out)
    assert (best[3], default[0]) == ("0.3", "dpmpp-2m (default)")
    assert float(default[6].split()[0]) == pytest.approx(0, abs=1e-3), "z-scores are against the default"
    assert float(best[9].split()[0]) < 0.8 * float(default[9].split()[0])
    assert preset(out)["temperature"] == 0.3
    assert "warning: The candidates of dpmpp-2m, 4 steps, edm, temperature 0.3 differ less" in done.output
    assert "of the default's" in (out / "tune.md").read_text()
    scores = {row["clip"]: row["scores"] for row in rows(out) if row["temperature"] == 1}
    colder = {row["clip"]: row["scores"] for row in rows(out) if row["temperature"] == 0.3}
    assert set(scores["sfx/sfx.wav"]) == {"lsd", "critic", "consensus"}
    votes = []
    for name in ("critic", "consensus"):
        spread = np.std([said[name] for said in scores.values()])
        votes.append(np.mean([colder[clip][name] - scores[clip][name] for clip in scores]) / spread)
    assert float(best[8].split()[0]) == pytest.approx(np.mean(votes), rel=1e-3, abs=1e-3)


def test_a_default_above_the_limit_gives_way_to_fewer_steps_and_a_broken_clip_is_told_once(
    ttsr: Ttsr, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save(clips / "speech" / "other.wav", voice(0.6, seed=7))
    (clips / "sfx" / "sfx.wav").write_bytes(b"not audio")
    options = ("--solver", "euler", "--schedule", "edm", "--objective", "lsd", *ONE, "--rho", 4, "--rho", 9)
    done = ttsr("tune", clips, "--nfe", 3, *options, "--out", out)
    assert done.exit_code == 1
    assert done.output.count("failed: sfx/sfx.wav") == 1
    assert "no more steps than the limit allows (dpmpp-2m, 3 steps" in (out / "tune.md").read_text()
    assert max(row["nfe"] for row in rows(out)) == 3
    assert {(row["schedule"], row["rho"]) for row in rows(out)} == {("edm", None), ("edm", 9.0)}, (
        "4 is the engine's own"
    )
    assert "rho" not in preset(out)


@pytest.mark.usefixtures("models")
def test_guidance_counts_twice_and_is_in_the_preset(ttsr: Ttsr, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    axes = ("--solver", "euler", "--schedule", "trailing", "--steps", 2, "--steps", 4, "--guidance", 3)
    options = ("--kind", "speech", "--cutoff", 8000, "--candidates", 1, "--objective", "lsd", "--out", out)
    done = ttsr("tune", clips, "--engine", NAME, "--nfe", 4, *axes, *options)
    assert done.exit_code == 0, done.output
    cost = {(row["schedule"], row["steps"], row["guidance"]): row["nfe"] for row in rows(out)}
    own = ("leading", 2, 3.5)
    assert cost == {own: 4, ("trailing", 2, 3.0): 4}
    assert "1 more above the limit" in done.output
    assert "one clip has no interval" in done.output
    assert "--candidates 2 or more shows it" in done.output
    assert [preset(out)[key] for key in ("engine", "schedule", "steps", "guidance")] == [NAME, *own]
    assert ttsr("presets", "check", out / "tuned.toml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--solver", "magic"], "unknown solver 'magic'; known: dpmpp-1, dpmpp-2m"),
        (["--schedule", "wavy"], "unknown schedule 'wavy'; known: cosine, edm"),
        (["--schedule", "leading"], "engine 'builtin' has no timesteps to space"),
        (["--objective", "critic+ears"], "unknown verifier in --objective 'ears'; known: aesthetics, clap, consensus"),
        (["--engine", "other"], "unknown engine 'other'; known: audiosr-basic"),
        (["--guidance", "2"], "engine 'builtin' cannot be guided"),
        (["--temperature", "9"], "--temperature 9: above 0"),
        (["--rho", "3", "--schedule", "cosine"], "--rho is of schedule edm"),
        (["--objective", "self_consistency", "--steps", "1"], "needs two --steps or more"),
        (["--objective", "critic+consensus", "--kind", "speech"], "give two clips or more"),
        (["--kind", "music"], "unknown kind 'music'"),
        (["--cutoff", "30000"], "--cutoff 30000"),
        (["--preset", "mine"], "a preset is a .toml file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    ttsr: Ttsr, clips: Path, tmp_path: Path, evaluations: list[int], arguments: list[str], message: str
) -> None:
    done = ttsr("tune", clips, "--nfe", 8, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
    assert not evaluations


def test_optuna_stays_within_the_limit_and_goes_on_where_it_was(
    ttsr: Ttsr, clips: Path, tmp_path: Path, evaluations: list[int]
) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "out"
    command = ("tune", clips, "--nfe", 5, "--objective", "lsd", "--method", "optuna", *ONE, "--out", out)
    done = ttsr(*command, "--trials", 2)
    assert done.exit_code == 0, done.output
    before = (out / "tune.jsonl").read_text()
    done = ttsr(*command, "--trials", 3)
    assert done.exit_code == 0, done.output
    assert (out / "tune.jsonl").read_text().startswith(before)
    assert max(row["nfe"] for row in rows(out)) <= 5
    assert len(table(out)) == len({(r["solver"], r["steps"], r["schedule"]) for r in rows(out)}) >= 3
    evaluations.clear()
    assert "0 of them computed now" in ttsr(*command, "--trials", 3).output
    assert not evaluations


def test_without_optuna_it_says_how_to_get_it(
    ttsr: Ttsr, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = ttsr("tune", clips, "--nfe", 8, "--method", "optuna", "--objective", "lsd", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "pip install 'ttsr-studio[tune]'" in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()


def test_rungs_of_halving_are_found_on_kept_draws(
    ttsr: Ttsr, tmp_path: Path, evaluations: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    monkeypatch.setattr(progress, "LOADING_SECONDS", 0.0)
    folder, out = tmp_path / "voices", tmp_path / "rungs"
    folder.mkdir()
    for number in range(4):
        save(folder / f"{number}.wav", voice(0.6, seed=number))
    ask = ("tune", folder, "--rungs", 12, "--cutoff", 8000, "--out", out, "--objective", "critic")
    done = ttsr(*ask)
    assert done.exit_code == 0, done.output
    assert "on 4 clips, led on one half and measured on the other" in done.output
    assert "loading the engine" in done.stderr, "what comes into a log"
    assert "wav, 3 of 4 done" in done.stderr
    lines = [line for line in (out / "rungs.md").read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][:3] == ["random", "–", "3"]
    assert len(cells) == 1 + 7 * 3, "every set of rungs after 1, 2 or 3 of 4 steps, with three parts to keep"
    assert ["0.25", "0.25", "7"] in [line[:3] for line in cells], "one goes on: 7 + 3; of 8 two would, 8 + 2 x 3"
    kept = [json.loads(line) for line in (out / "rungs.jsonl").read_text().splitlines()]
    assert len(kept) == 4
    assert sorted({len(line["candidates"]) for line in kept}) == [max(int(line[2]) for line in cells)]
    made = preset(out)
    assert made["search"] in ("random", "halving")
    assert (made["budget"], made["verifier"], "set" in made) == ("12nfe", ["critic"], made["search"] == "halving")
    evaluations.clear()
    assert ttsr(*ask).exit_code == 0
    assert not evaluations, "what is drawn is kept"
    replayed = ttsr("replay", out / "rungs.jsonl", "--policy", "h: nfe=12 search=halving verifier=critic")
    assert replayed.exit_code == 0, replayed.output


def test_the_preset_of_rungs_renders_what_was_measured(ttsr: Ttsr, tmp_path: Path) -> None:
    """Random search with the mean render: 22 evaluations of 24 are left for whole runs."""
    task = RungTask("builtin", "cpu", ("critic", "consensus"), 24, 0)
    rng, clips = np.random.default_rng(1), []
    for number in range(4):
        scores = {name: rng.standard_normal(24) for name in ("critic", "consensus", "lsd")}
        window = Draws(scores, dict.fromkeys((1, 2, 3), scores), {}, np.ones(1))
        clips.append(Recording(f"clip {number}", "speech", 4000.0, (window,)))
    advice = advise_rungs(task, ScoreFile.of(clips, SamplingPlan((4.0, 3.0, 2.0, 1.0, 0.0))))
    measured = advice.best or advice.figures[0]
    (tmp_path / "tuned.toml").write_text(rungs_preset(advice))
    low = save(tmp_path / "low.wav", below(voice(0.7), 5000))
    done = ttsr("render", low, "--preset", tmp_path / "tuned.toml", "-o", tmp_path / "high.wav")
    assert done.exit_code == 0, done.output
    candidates = json.loads((tmp_path / "high.ttsr.json").read_text())["windows"][0]["candidates"]
    assert (measured.policy.search, measured.starts, len(candidates)) == ("random", 5, 5)


def test_rungs_that_only_seem_better_are_not_advised(tmp_path: Path) -> None:
    """Previews that know the end make early rungs pay; previews that know nothing do not."""
    task = RungTask("builtin", "cpu", ("critic",), 32, 0)
    rng, plan = np.random.default_rng(0), SamplingPlan((4.0, 3.0, 2.0, 1.0, 0.0))
    for known in (True, False):
        clips = []
        for number in range(12):
            truth = rng.standard_normal(24)
            seen = truth if known else rng.standard_normal(24)
            scores = {"critic": truth, "lsd": truth}
            window = Draws(scores, {step: {"critic": seen} for step in (1, 2, 3)}, {}, np.ones(1))
            clips.append(Recording(f"clip {number}", "speech", 4000.0, (window,)))
        advice = advise_rungs(task, ScoreFile.of(clips, plan))
        assert (advice.best is not None) is known
        assert advice.words.startswith("Halving with" if known else "No schedule")
        if advice.best:
            assert advice.best.starts > 8
            assert 'search = "halving"' in rungs_preset(advice)


def test_what_says_nothing_of_rungs_is_refused(ttsr: Ttsr, clips: Path) -> None:
    for given, said in (
        (("--rungs", 16, "--nfe", 4), "--nfe: of sampler settings"),
        (("--rungs", 16, "--solver", "euler"), "--solver: of sampler settings"),
        (("--rungs", 16, "--objective", "lsd"), "the truth chooses nowhere"),
        ((), "Missing option '--nfe'"),
    ):
        done = ttsr("tune", clips, *given)
        assert done.exit_code == 2
        assert said in done.output
    done = ttsr("tune", clips, "--rungs", 16, "--out", clips / "out")
    assert done.exit_code == 2
    assert "give 4 or more, not 2" in " ".join(done.output.split())
    for number in range(2):
        save(clips / "sfx" / f"{number}.wav", voice(0.7, seed=number))
    done = ttsr("tune", clips, "--rungs", 5, "--out", clips / "out")
    assert done.exit_code == 2
    assert "--rungs 5: at least 6, the evaluations of one candidate, 2 of them of the mean render" in " ".join(
        done.output.split()
    )
    assert not (clips / "out").exists()
