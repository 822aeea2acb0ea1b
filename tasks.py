"""Set up a virtual environment in the checkout and do one task: `python3.11 tasks.py example`, `test` or `install`."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
DONE = VENV / "installed.json"
PIP = [
    *("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
    *("--constraint", "constraints.txt"),
]

EXAMPLE = {"speech"}
TEST = {"speech", "audiosr", "judges", "tune", "evaluate", "chain", "sessions", "farm", "docs", "dev"}
LEAST_COVERED = 10
FLOOR = 90
"""Percent of the package's lines that tests have to run."""
COVERAGE = ROOT / ".coverage.json"
WITHOUT_DEPENDENCIES = ("audiosr==0.0.7", "audiobox_aesthetics==0.0.4", "distillmos==0.9.1", "xls-r-sqa==0.1.0")
"""Installed for tests without what they ask for: one is there to be compared with, of the others a module is used."""


def run(*command: str | Path) -> None:
    """Run a command in the checkout; exits where that fails.

    Packages are compiled when they are first imported, since most modules never are: that must not be forbidden.
    """
    print("+", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(done.returncode)


def set_up(extras: set[str]) -> None:
    """Make the environment, unless it is there with these extras from the same files by the same Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file may be started by any Python
        sys.exit(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}")
    recipe = hashlib.sha256(sys.version.encode())
    for name in ("pyproject.toml", "constraints.txt", "tasks.py"):
        recipe.update((ROOT / name).read_bytes())
    made = json.loads(DONE.read_text()) if DONE.is_file() else {}
    if made.get("recipe") == recipe.hexdigest() and extras <= set(made["extras"]):
        return
    DONE.unlink(missing_ok=True)
    run(sys.executable, "-m", "venv", VENV)
    run(BIN / "python", *PIP, "--editable", f".[{','.join(sorted(extras))}]")
    if extras == TEST:
        run(BIN / "python", *PIP, "--no-deps", *WITHOUT_DEPENDENCIES)
    DONE.write_text(json.dumps({"recipe": recipe.hexdigest(), "extras": sorted(extras)}))


def install() -> None:
    """Set up what tests need, and nothing else."""
    set_up(TEST)


def example() -> None:
    """Render the bundled example into out/."""
    set_up(EXAMPLE)
    run(BIN / "ttsr", "render", "examples/voice_7k_band.flac", "--preset", "speech", "-o", "out/", "--overwrite")


def test() -> None:
    """Lint, check types, run the tests."""
    set_up(TEST)
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")
    types = subprocess.Popen([BIN / "mypy"], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # beside the tests
    # Lines are counted by probes that remove themselves: a tracer would take a third of the time that tests take.
    counted = ("-m", "slipcover", "--json", "--out", COVERAGE)
    # Workers begin with equal shares in the order of the files, so that what a file prepares is prepared once, and
    # whoever is done first takes from the others.
    options = "-n auto --dist worksteal --durations 10"
    try:
        run(BIN / "python", *counted, "-m", "pytest", *options.split())
    finally:
        print("+ mypy", types.communicate()[0], sep="\n", flush=True)
    show_coverage()
    if types.returncode:
        sys.exit(types.returncode)


def show_coverage() -> None:
    """Print the files that tests run least of, and the total; exits where that is under the floor."""
    measured = json.loads(COVERAGE.read_text())
    percent = {name: file["summary"]["percent_covered"] for name, file in measured["files"].items()}
    total = measured["summary"]["percent_covered"]
    for name in sorted(percent, key=percent.__getitem__)[:LEAST_COVERED]:
        print(f"{percent[name]:5.1f} % {name}")
    print(f"{total:5.1f} % of the lines of {len(percent)} files are run by tests")
    if total < FLOOR:
        sys.exit(f"that is less than {FLOOR} %")


if __name__ == "__main__":
    known = {"example": example, "test": test, "install": install}
    if len(sys.argv) != 2 or sys.argv[1] not in known:
        sys.exit(f"usage: python3.11 tasks.py {' | '.join(known)}")
    known[sys.argv[1]]()
