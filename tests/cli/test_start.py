"""How the program starts: what it loads, and that it checks its options under `python -O` as well."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from helpers import LONGEST, Ttsr, below, save, voice

from ttsr_studio.cli.main import COMMANDS, main
from ttsr_studio.engines.builtin import engine

LOADED = "import sys, ttsr_studio; print(*sorted({name.split('.')[0] for name in sys.modules}))"

HEAVY = {"torch", "scipy", "matplotlib", "transformers", "numpy", "soundfile", "av"}
ASKED = """
import json, sys
from ttsr_studio.cli.main import main
for line in json.loads(sys.argv[1]):
    try: main(line)
    except SystemExit: pass
print(*sys.modules)
"""

OPTIMISED = """
import json, sys
import preloaded
from click.testing import CliRunner
from ttsr_studio.cli.main import main
assert False, "this line is not there under -O"
done = [CliRunner().invoke(main, line) for line in json.loads(sys.argv[1])]
print(json.dumps([[each.exit_code, each.output] for each in done]))
"""


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    return done.stdout


def completed(monkeypatch: pytest.MonkeyPatch, typed: str) -> list[str]:
    """What <TAB> in bash shows after `ttsr` and what is typed, and then the modules that were loaded."""
    asked = "import sys; sys.argv = ['ttsr']; from ttsr_studio.__main__ import run\ntry: run()\nexcept SystemExit: "
    words = {"COMP_WORDS": f"ttsr {typed}", "COMP_CWORD": str(1 + typed.count(" "))}
    for name, value in {"_TTSR_COMPLETE": "bash_complete", **words}.items():
        monkeypatch.setenv(name, value)
    return python("-c", f"{asked}print(*sys.modules)").splitlines()


def test_the_bare_import_loads_neither_torch_nor_click() -> None:
    loaded = set(python("-c", LOADED).split())
    assert "ttsr_studio" in loaded
    assert not loaded & {"torch", "click", "numpy", "scipy", "matplotlib", "soundfile"}


def test_helps_and_a_typo_wait_for_no_heavy_library() -> None:
    """One after the other in one process, so that whichever loads one shows."""
    lines = [["--help"], ["--version"], ["rendr"], ["presets", "list"], *([name, "--help"] for name in COMMANDS)]
    loaded = set(python("-c", ASKED, json.dumps(lines)).splitlines()[-1].split())
    assert "ttsr_studio" in loaded
    assert not loaded & (HEAVY - {"numpy"}), "which reports are written with"


@pytest.mark.parametrize(
    ("typed", "found"),
    [("render --solv", "--solver"), ("render --solver heu", "heun"), ("models verify --l", "--listen")],
)
def test_completion_of_options_waits_for_no_heavy_library(
    monkeypatch: pytest.MonkeyPatch, typed: str, found: str
) -> None:
    *lines, loaded = completed(monkeypatch, typed)
    assert lines == [f"plain,{found}"]
    assert not set(loaded.split()) & HEAVY


@pytest.mark.parametrize(("typed", "found"), [("", list(COMMANDS)), ("rend", ["render"]), ("--h", ["--help"])])
def test_completion_of_a_command_loads_none(monkeypatch: pytest.MonkeyPatch, typed: str, found: list[str]) -> None:
    *lines, loaded = completed(monkeypatch, typed)
    assert [line.removeprefix("plain,") for line in lines] == found
    assert not set(loaded.split()) & (HEAVY | {"pydantic"})


def test_the_overview_names_every_command() -> None:
    lines = python("-m", "ttsr_studio", "--help").split("Commands:")[1].splitlines()
    assert re.findall(r"^  (\w+)", "\n".join(lines), re.MULTILINE) == list(COMMANDS)
    for name in COMMANDS:
        assert main.get_command(Context(main), name) is not None


def untimed(said: str) -> str:
    """What was said but for how long a render would take, in whatever unit."""
    return re.sub(r"about .*? here", "", said)


def test_options_are_checked_under_python_minus_o_as_without(
    ttsr: Ttsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # of a terminal here, and of none there
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    monkeypatch.setenv("TTSR_TEST_ENGINE", str(engine.WEIGHTS))
    source = str(save(tmp_path / "stem.wav", below(voice(0.5), 5000)))
    wrong = (
        ["--finalists", "3"],
        ["--keep-top", "9", "--candidates", "2"],
        ["--take", "3", "--candidates", "2"],
        ["--search", "halving", "--scope", "clip", "--verifier", "critic"],
        ["--budget", "1nfe"],
        ["--steps", "1", "--verifier", "self_consistency"],
        ["--weight", "critic=0", "--verifier", "critic"],
        ["--guidance", "2"],
        ["--decode-top", "2", "--verifier", "critic"],
        ["--target", "wer=0"],
        ["--schedule", "sd"],
    )
    lines = [["render", source, *options, "--dry-run"] for options in wrong]
    lines += [["render", source, "--dry-run"], ["presets", "check"], ["queue", "list", str(tmp_path / "none")]]
    optimised = [tuple(each) for each in json.loads(python("-O", "-c", OPTIMISED, json.dumps(lines)))]
    usual = [ttsr(*line) for line in lines]
    timed = [(each.exit_code, each.output) for each in usual]
    assert [(code, untimed(said)) for code, said in optimised] == [(code, untimed(said)) for code, said in timed]
    assert [code for code, _ in optimised] == [2] * len(wrong) + [0, 0, 2]
