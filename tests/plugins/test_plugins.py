"""Engines, verifiers, searches and samplers of another package, installed beside this one: through the real CLI."""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import LONGEST, below, save, voice

from ttsr_studio.engines.builtin import engine
from ttsr_studio.errors import Cause
from ttsr_studio.plugins.plugin import Plugin
from ttsr_studio.rendering.tasks import TaskFailed, guarded

GOOD = """
from __future__ import annotations
from typing import TYPE_CHECKING, Literal, Optional
if TYPE_CHECKING:
    from ttsr_studio.search.protocol import Budget, Problem
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

def last_of(
    problem: Problem, budget: Budget, *, skip: int = 1, order: Literal["up", "down"] = "up",
    parts: tuple[float, ...] = (), plain: bool = False, most: Optional[float] = None, bare=2,
):
    assert (type(skip), type(parts), type(plain), type(bare)) == (int, tuple, bool, int), (skip, parts, plain, bare)
    every = yield from solve(problem.draws(budget.runs(problem.plan)), essential=1)
    return (yield from choose(every[skip:]))

def first_of(problem, budget):
    every = yield from solve(problem.draws(budget.runs(problem.plan)), essential=1)
    return every[0]

first_of.uses_previews = False

class Clips(Loudest):
    name, scope = "clips", "clip"

slow = Sampler(euler.step, order=1)
"""
FAILS = """
import dataclasses, types
import torch
from good_audio import Loudest, engine
from ttsr_studio.diffusion.samplers import heun, euler
from ttsr_studio.diffusion.samplers.base import Sampler, State
from ttsr_studio.search.protocol import solve

greedy = Sampler(heun.step, order=2, evaluations=1)

def crash(denoise, x, sigma, sigma_next, state):
    return [][1]

crashing = Sampler(crash, order=1)
forgetful = Sampler(lambda denoise, x, sigma, sigma_next, state: (denoise(x, x.new_full((len(x),), sigma)), State()), 1)

class Late(Loudest):
    name = "late"
    def score(self, audio, context):
        return {}["pitch"]

@dataclasses.dataclass(frozen=True)
class Slim:
    __slots__ = ()
    name, unit, scope, needs, weights, licence = "slim", "", "window", frozenset(), {}, ""
    def score(self, audio, context):
        return audio.double().mean((1, 2))[:1].repeat(len(audio) + 1)

def slim(device):
    return Slim()

def spaced(device):
    def score(audio, context):
        return [0.0] * len(audio)
    return types.SimpleNamespace(
        name="spaced", unit="", scope="window", needs=frozenset(), weights={}, licence="", score=score
    )

def breaking(name, device, settings):
    made = engine(name, device, settings)
    made.decode = lambda x0, conditioning: x0.flatten(1)[:, :3] / {}["volume"]
    return made

def midway(problem, budget):
    yield from solve(problem.draws(1), essential=1)
    raise LookupError("nothing here")

def spendthrift(problem, budget):
    yield from solve(problem.draws(100), essential=1)

def aimless(problem, budget):
    made = yield from solve(problem.draws(1), essential=1)
    return made
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

def vague(problem, budget, *, width: "Nowhere" = 1):
    yield

from ttsr_studio.diffusion.samplers.base import Sampler
half = Sampler(lambda *given: given, order=1, evaluations=0)
"""
LACKS = """
import a_package_that_is_not_here
"""
LEAVES = """
raise SystemExit(3)
"""
OFFERED = {
    "engines": {
        "bench": "good_audio:engine",
        "hollow": "odd_audio:engine",
        "builtin": "good_audio:engine",
        "alias": "ttsr_studio.engines.builtin.engine:load",
        "breaking": "failing_audio:breaking",
    },
    "verifiers": {
        "loudest": "good_audio:Loudest",
        "clips": "good_audio:Clips",
        "late": "failing_audio:Late",
        "slim": "failing_audio:slim",
        "spaced": "failing_audio:spaced",
        "lacking": "lacking_audio:Verifier",
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
        "first": "good_audio:first_of",
        "midway": "failing_audio:midway",
        "spendthrift": "failing_audio:spendthrift",
        "aimless": "failing_audio:aimless",
        "vague": "odd_audio:vague",
        "plain": "odd_audio:no_generator",
        "wide": "odd_audio:positional",
        "early": "odd_audio:early",
        "chatty": "odd_audio:chatty",
    },
    "samplers": {
        "slow": "good_audio:slow",
        "text": "odd_audio:sampler",
        "zero": "bad_audio:raised",
        "half": "odd_audio:half",
        "greedy": "failing_audio:greedy",
        "crashing": "failing_audio:crashing",
        "forgetful": "failing_audio:forgetful",
    },
}
VERIFIERS_REFUSED = ("deaf", "other", "fails", "absent", "twin", "listed", "leaves")
FAILING = {
    "late": ("verifier", ["--verifier", "late"], "KeyError: 'pitch' (at failing_audio.py:20)"),
    "slim": ("verifier", ["--verifier", "slim"], "score gave Tensor of shape (2,) in place of a tensor of 1 scores"),
    "spaced": ("verifier", ["--verifier", "spaced"], "score gave list in place of a tensor of 1 scores"),
    "breaking": ("engine", ["--engine", "breaking"], "KeyError: 'volume' (at failing_audio.py:"),
    "midway": ("search", ["--search", "midway"], "LookupError: nothing here (at failing_audio.py:"),
    "spendthrift": ("search", ["--search", "spendthrift"], "a search asked for 200 of 4 evaluations"),
    "aimless": ("search", ["--search", "aimless"], "the search ended with [Candidate("),
    "chatty": ("search", ["--search", "chatty"], "asked for 'hello', neither a Solve nor a Score"),
    "greedy": ("sampler", ["--solver", "greedy"], "it asks for more than the 4 evaluations that its `evaluations`"),
    "crashing": ("sampler", ["--solver", "crashing"], "IndexError: list index out of range (at failing_audio.py:12)"),
    "forgetful": ("sampler", ["--solver", "forgetful"], "a state without the x0-prediction of the step"),
}
"""Plug-ins that fail at work: kind, flags, and what is said of them."""
PAGE = Path(__file__).parents[2] / "docs" / "develop" / "plugins.md"
DOCUMENTED = [
    *("--engine", "envelope", "--verifier", "slope"),
    *("--search", "patient", "--set", "patience=1", "--solver", "midpoint"),
]
TYPED = ("skip=1", "order=down", "parts=0.5, 0.25", "plain=true", "most=0.5", "bare=3")
RUN = """
import json, sys
import preloaded
from click.testing import CliRunner
from ttsr_studio.cli.main import main
from pathlib import Path
lines, made = json.loads(sys.argv[1]), Path(sys.argv[2])
done = [CliRunner().invoke(main, line) for line in lines[:-1]]
made.write_text(made.read_text().replace('"version": "1.2"', '"version": "1.1"'))
done.append(CliRunner().invoke(main, lines[-1]))
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


def install_the_page(folder: Path) -> None:
    """The package of docs/develop/plugins.md, as it stands there."""
    text = PAGE.read_text(encoding="utf-8")
    modules = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", text, re.DOTALL)
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])["project"]
    offered = {group.removeprefix("ttsr_studio."): names for group, names in project["entry-points"].items()}
    install(folder, project["name"], offered, **dict(modules))


@dataclass(frozen=True)
class Runs:
    """Exit codes and outputs of command lines, by name, the file that they render, and the report of the first."""

    done: dict[str, tuple[int, str]]
    source: Path
    report: dict[str, Any]

    def found(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What doctor says of a kind and name that it lists once, or of the last of several."""
        return {(row["kind"], row["name"]): row for row in json.loads(self.done["doctor"][1])}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "good-audio", OFFERED, good_audio=GOOD, bad_audio=BAD, odd_audio=ODD)
    install(folder, "failing-audio", {}, failing_audio=FAILS, leaving_audio=LEAVES, lacking_audio=LACKS)
    install_the_page(folder)
    for number in (1, 2):
        install(folder, f"twin-{number}", {"verifiers": {"twin": "good_audio:Loudest"}})
    source, out = save(folder / "stem.wav", below(voice(0.4), 6000)), folder / "out.wav"
    quick = ["--overwrite", "--candidates", "2", "--steps", "2"]
    start = ["render", str(source), "-o", str(folder / "other.wav"), "--no-report", *quick]
    chosen = ["--engine", "bench", "--verifier", "loudest", "--search", "last", "--solver", "slow"]
    lines = {
        "doctor": ["doctor", "--json"],
        "render": ["render", str(source), "-o", str(out), *quick, *chosen, "--set", "skip=1"],
        "typed": [*start, *chosen, *(f"--set={each}" for each in TYPED)],
        "untyped": [*start, *chosen, "--set", "plain=perhaps", "--dry-run"],
        "off the list": [*start, *chosen, "--set", "order=sideways", "--dry-run"],
        "clips": [*start, "--search", "first", "--verifier", "clips"],
        "clips refused": [*start, "--search", "last", "--verifier", "clips", "--dry-run"],
        "left out": [*start, "--verifier", "loudest", "--verifier", "lacking?"],
        "page": [*start, *DOCUMENTED],
        "lacking": [*start, "--verifier", "lacking", "--dry-run"],
        **{name: [*start, "--engine", name, "--dry-run"] for name in ("hollow", "alias")},
        **{name: [*start, *flags] for name, (_, flags, _) in FAILING.items()},
        **{name: [*start, "--verifier", name, "--dry-run"] for name in VERIFIERS_REFUSED},
        **{name: [*start, "--search", name, "--dry-run"] for name in ("plain", "wide", "early", "vague")},
        **{name: [*start, "--solver", name, "--dry-run"] for name in ("text", "zero", "half")},
        "again": ["render", str(source), "-o", str(folder / "same.wav"), "--again", str(folder / "out.ttsr.json")],
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(list(lines.values())), str(folder / "out.ttsr.json")],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (folder, root, root / "tests"))),
            "TTSR_TEST_ENGINE": str(engine.WEIGHTS),
        },
    )
    assert done.returncode == 0, done.stderr
    outcomes = {name: (code, text) for name, (code, text) in zip(lines, json.loads(done.stdout), strict=True)}
    assert outcomes["render"][0] == 0, outcomes["render"][1]
    return Runs(outcomes, source, json.loads((folder / "out.ttsr.json").read_text()))


def test_a_render_by_what_another_package_offers(runs: Runs) -> None:
    tool = runs.report["tool"]
    assert tool["engine"] == "bench"
    assert tool["options"]["solver"] == "slow"
    assert runs.report["search"]["name"] == "last"
    assert runs.report["search"]["settings"] == {"skip": "1"}
    assert set(runs.report["verifiers"]) == {"loudest"}
    kinds = {"engine": "bench", "sampler": "slow", "search": "last", "verifier": "loudest"}
    assert {each["kind"]: each["name"] for each in tool["plugins"]} == kinds
    assert {each["package"] for each in tool["plugins"]} == {"good-audio"}
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
    ("engine", "alias"): "engine 'alias' of good-audio 1.2: it calls itself 'builtin'",
    ("search", "vague"): "search 'vague' of good-audio 1.2: the types of its settings cannot be read (NameError",
    ("sampler", "half"): "sampler 'half' of good-audio 1.2: whole numbers of 1 or more are wanted, not evaluations=0",
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


def test_what_the_page_for_authors_shows_renders(runs: Runs) -> None:
    assert " ".join(DOCUMENTED) in PAGE.read_text(encoding="utf-8")
    assert runs.done["page"][0] == 0, runs.done["page"][1]
    found = runs.found()
    for kind, name in (("engine", "envelope"), ("verifier", "slope"), ("search", "patient"), ("sampler", "midpoint")):
        assert found[kind, name]["state"] == "ok"
        assert found[kind, name]["detail"].startswith("my-audio 1.2")


def in_a_line(said: str) -> str:
    return " ".join(said.split())


def test_a_search_that_fails_at_once_is_refused(runs: Runs) -> None:
    code, said = runs.done["early"]
    assert code == 2
    assert "--search early: it fails before its first request: search 'early' of good-audio 1.2" in in_a_line(said)
    assert "ValueError: two lines (at odd_audio.py:" in in_a_line(said)


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_at_work_is_the_plug_ins_fault(runs: Runs, name: str) -> None:
    kind, _, what = FAILING[name]
    code, said = runs.done[name]
    assert code == 1
    line = in_a_line(said)
    assert f"failed: {runs.source}: {kind} {name!r} of good-audio 1.2: the plug-in failed: " in line
    assert what in line
    assert "Traceback" not in line
    assert "report this" not in line


def test_settings_are_read_by_their_types(runs: Runs) -> None:
    assert runs.done["typed"][0] == 0, runs.done["typed"][1]
    for name, reason in (
        ("untyped", "plain=perhaps: Input should be a valid boolean"),
        ("off the list", "unknown order 'sideways'; known: down, up"),
    ):
        code, said = runs.done[name]
        assert code == 2
        assert reason in in_a_line(said)


def test_a_search_says_whether_it_needs_scores_on_its_way(runs: Runs) -> None:
    assert runs.done["clips"][0] == 0, runs.done["clips"][1]
    code, said = runs.done["clips refused"]
    assert code == 2
    assert "--search last needs a verifier that scores windows" in in_a_line(said)


def test_a_verifier_without_its_packages_is_missing_and_may_be_left_out(runs: Runs) -> None:
    assert runs.done["left out"][0] == 0, runs.done["left out"][1]
    code, said = runs.done["lacking"]
    assert code == 2
    assert "No module named 'a_package_that_is_not_here'); install what it needs" in in_a_line(said)
    found = runs.found()
    assert found["verifier", "lacking"]["state"] == "missing"
    assert found["verifier", "deaf"]["state"] == "refused"
    assert found["verifier", "loudest"]["state"] == "ok"


def test_another_version_of_a_plug_in_is_said_beforehand(runs: Runs) -> None:
    code, said = runs.done["again"]
    assert code == 0, said
    assert "note: out.ttsr.json was made by engine 'bench' of good-audio 1.1, here of good-audio 1.2" in in_a_line(said)
    assert "the same, bit for bit" in said


def test_a_watch_folder_tries_a_failing_plug_in_only_as_often_as_it_tries_a_crash() -> None:
    def fails() -> None:
        raise Plugin("verifier", "late", "good-audio", "1.2", "failing_audio:Late").fault("KeyError: 'pitch'")

    failed = guarded(Path("stem.wav"), fails)
    assert isinstance(failed, TaskFailed)
    assert failed.cause is Cause.CRASH
    assert failed.line.startswith("verifier 'late' of good-audio 1.2: the plug-in failed: KeyError")
