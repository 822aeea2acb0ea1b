"""Engines, verifiers, searches and samplers of another package, installed beside this one: through the real CLI."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import LONGEST, below, save, voice

GOOD = """
import torch
from ttsr_studio.diffusion.samplers import euler
from ttsr_studio.diffusion.samplers.base import Sampler
from ttsr_studio.engines.builtin.engine import load
from ttsr_studio.search.protocol import choose, solve

def engine(name, device, settings):
    made = load("builtin", device, settings)
    made.name = name
    return made

class Loudest:
    name, unit, scope, needs, licence = "loudest", "power", "window", frozenset(), "no weights"
    def __init__(self, device):
        self.weights = {}
    def score(self, audio, context):
        return audio.double().square().mean((1, 2))

def last_of(problem, budget, *, skip: int = 1):
    every = yield from solve(problem.draws(budget.runs(problem.plan)), essential=1)
    return (yield from choose(every[skip:]))

slow = Sampler(euler.step, order=1)
"""
BAD = """
raised = 1 / 0
"""
ODD = """
class Deaf:
    name = "deaf"
    def __init__(self, device):
        pass

def engine(name, device, settings):
    return object()

def no_generator(problem, budget):
    return None

def positional(problem, budget, width):
    yield

def fails(device):
    raise ValueError("no such thing")

def early(problem, budget):
    raise ValueError("two\\nlines")
    yield

def chatty(problem, budget):
    yield "hello"

class Listed:
    name, unit, scope, needs, weights, licence = "listed", "", "window", ["expected"], {}, ""
    def __init__(self, device):
        pass
    def score(self, audio, context):
        pass

sampler = "euler"
"""
LEAVES = """
raise SystemExit(3)
"""
OFFERED = {
    "engines": {"bench": "good_audio:engine", "hollow": "odd_audio:engine", "builtin": "good_audio:engine"},
    "verifiers": {
        "loudest": "good_audio:Loudest",
        "deaf": "odd_audio:Deaf",
        "other": "good_audio:Loudest",
        "fails": "odd_audio:fails",
        "critic": "good_audio:Loudest",
        "absent": "nowhere:Absent",
        "listed": "odd_audio:Listed",
        "leaves": "leaving_audio:Verifier",
    },
    "searches": {
        "last": "good_audio:last_of",
        "plain": "odd_audio:no_generator",
        "wide": "odd_audio:positional",
        "early": "odd_audio:early",
        "chatty": "odd_audio:chatty",
    },
    "samplers": {"slow": "good_audio:slow", "text": "odd_audio:sampler", "zero": "bad_audio:raised"},
}
VERIFIERS_REFUSED = ("deaf", "other", "fails", "absent", "twin", "listed", "leaves")
RUN = """
import json, sys
from click.testing import CliRunner
from ttsr_studio.cli.main import main
done = [CliRunner().invoke(main, line) for line in json.loads(sys.argv[1])]
print(json.dumps([[each.exit_code, each.output] for each in done]))
"""


def install(folder: Path, package: str, offered: dict[str, dict[str, str]], **modules: str) -> None:
    """What pip leaves of a package: its modules, and what its metadata say of it."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    information = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    groups = [
        f"[ttsr_studio.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in offered.items()
    ]
    (information / "entry_points.txt").write_text("\n".join(groups))


@dataclass(frozen=True)
class Runs:
    """Exit codes and outputs of command lines, by name, and the report of the render."""

    done: dict[str, tuple[int, str]]
    report: dict[str, Any]

    def found(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What doctor says of a kind and name that it lists once, or of the last of several."""
        return {(row["kind"], row["name"]): row for row in json.loads(self.done["doctor"][1])}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "good-audio", OFFERED, good_audio=GOOD, bad_audio=BAD, odd_audio=ODD, leaving_audio=LEAVES)
    for number in (1, 2):
        install(folder, f"twin-{number}", {"verifiers": {"twin": "good_audio:Loudest"}})
    source, out = save(folder / "stem.wav", below(voice(0.4), 6000)), folder / "out.wav"
    start = ["render", str(source), "-o", str(out), "--overwrite", "--candidates", "2", "--steps", "2"]
    chosen = ["--engine", "bench", "--verifier", "loudest", "--search", "last", "--solver", "slow"]
    lines = {
        "doctor": ["doctor", "--json"],
        "render": [*start, *chosen, "--set", "skip=1"],
        "hollow": [*start, "--engine", "hollow", "--dry-run"],
        **{name: [*start, "--verifier", name, "--dry-run"] for name in VERIFIERS_REFUSED},
        **{name: [*start, "--search", name, "--dry-run"] for name in ("plain", "wide", "early")},
        "chatty": [*start, "--search", "chatty"],
        **{name: [*start, "--solver", name, "--dry-run"] for name in ("text", "zero")},
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(list(lines.values()))],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(root)])},
    )
    assert done.returncode == 0, done.stderr
    outcomes = {name: (code, text) for name, (code, text) in zip(lines, json.loads(done.stdout), strict=True)}
    assert outcomes["render"][0] == 0, outcomes["render"][1]
    return Runs(outcomes, json.loads((folder / "out.ttsr.json").read_text()))


def test_a_render_by_what_another_package_offers(runs: Runs) -> None:
    tool = runs.report["tool"]
    assert tool["engine"] == "bench"
    assert tool["options"]["solver"] == "slow"
    assert runs.report["search"]["name"] == "last"
    assert runs.report["search"]["settings"] == {"skip": "1"}
    assert set(runs.report["verifiers"]) == {"loudest"}
    assert runs.report["windows"][0]["chosen"] == 1


@pytest.mark.parametrize(
    ("kind", "name"), [("engine", "bench"), ("verifier", "loudest"), ("search", "last"), ("sampler", "slow")]
)
def test_doctor_lists_what_fits_and_where_it_is_from(runs: Runs, kind: str, name: str) -> None:
    row = runs.found()[kind, name]
    assert row["ok"]
    assert row["detail"].startswith("good-audio 1.2")


REFUSED = {
    ("engine", "hollow"): "engine 'hollow' of good-audio 1.2: it lacks name, sample_rate",
    ("verifier", "deaf"): "verifier 'deaf' of good-audio 1.2: it lacks unit, scope, needs, weights, licence, score",
    ("verifier", "other"): "verifier 'other' of good-audio 1.2: it calls itself 'loudest'",
    ("verifier", "fails"): "verifier 'fails' of good-audio 1.2: it cannot be loaded (ValueError: no such thing)",
    ("verifier", "absent"): "verifier 'absent' of good-audio 1.2: nowhere:Absent cannot be imported (ModuleNotFound",
    ("verifier", "listed"): "verifier 'listed' of good-audio 1.2: its needs are no set",
    (
        "verifier",
        "leaves",
    ): "verifier 'leaves' of good-audio 1.2: leaving_audio:Verifier cannot be imported (SystemExit",
    ("verifier", "twin"): "verifier 'twin' of twin-1 1.2: twin-2 1.2 offers one of this name too",
    ("search", "plain"): "search 'plain' of good-audio 1.2: it is no generator function",
    ("search", "wide"): "search 'wide' of good-audio 1.2: its settings need keywords and defaults: width",
    ("sampler", "text"): "sampler 'text' of good-audio 1.2: it is no `Sampler`",
    ("sampler", "zero"): "sampler 'zero' of good-audio 1.2: bad_audio:raised cannot be imported (ZeroDivisionError",
}


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_what_does_not_fit_is_refused_with_its_reason(runs: Runs, kind: str, name: str) -> None:
    code, said = runs.done[name]
    assert code == 2
    assert REFUSED[kind, name] in said
    assert "Traceback" not in said
    row = runs.found()[kind, name]
    assert not row["ok"]
    assert row["detail"].startswith(REFUSED[kind, name])


@pytest.mark.parametrize(("kind", "name"), [("engine", "builtin"), ("verifier", "critic")])
def test_built_in_names_cannot_be_taken_over(runs: Runs, kind: str, name: str) -> None:
    rows = [row for row in json.loads(runs.done["doctor"][1]) if (row["kind"], row["name"]) == (kind, name)]
    assert [row["ok"] for row in rows] == [True, False]
    assert "good-audio" not in rows[0]["detail"]
    assert f"the name is that of a built-in {kind}" in rows[1]["detail"]


def test_a_search_that_fails_or_asks_for_nonsense_is_said_in_a_line(runs: Runs) -> None:
    code, said = runs.done["early"]
    assert code == 2
    assert "--search early: it fails before its first request (ValueError: two lines)" in " ".join(said.split())
    code, said = runs.done["chatty"]
    assert code == 1
    assert "asked for 'hello', neither a Solve nor a Score" in " ".join(said.split())
    assert "Traceback" not in said
