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

from ttsr_studio.engines.builtin.engine import WEIGHTS, BuiltinEngine
from ttsr_studio.evaluation.tuning.space import Axes, SamplerSetting

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
