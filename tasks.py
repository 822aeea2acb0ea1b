"""Set up a virtual environment in the checkout and do one task: `python3.11 tasks.py example` or `test`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
BIN = ROOT / ".venv" / ("Scripts" if os.name == "nt" else "bin")
INSTALL = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--constraint",
    "constraints.txt",
    "--editable",
]


def run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    done = subprocess.run([str(part) for part in command], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def set_up(extras: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file may be started by any Python
        sys.exit(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}")
    run(sys.executable, "-m", "venv", ROOT / ".venv")
    run(BIN / "python", *INSTALL, f".[{extras}]")


def example() -> None:
    """Render the bundled example into out/."""
    set_up("speech")
    run(
        BIN / "ttsr",
        "render",
        "examples/voice_7k_band.flac",
        "--preset",
        "speech",
        "-o",
        "out/",
        "--overwrite",
    )


def test() -> None:
    """Lint, check types, run the tests."""
    set_up("speech,audiosr,judges,tune,evaluate,dev")
    # Without what they ask for: the one is there to be compared with, of the other one module is used.
    run(BIN / "python", *INSTALL[:4], "--no-deps", "audiosr==0.0.7", "audiobox_aesthetics==0.0.4")
    run(BIN / "ruff", "check", ".")
    run(BIN / "ruff", "format", "--check", ".")
    run(BIN / "mypy")
    run(BIN / "pytest", "-n", "2", "--durations", "10")


if __name__ == "__main__":
    known = {"example": example, "test": test}
    if len(sys.argv) != 2 or sys.argv[1] not in known:
        sys.exit(f"usage: python3.11 tasks.py {' | '.join(known)}")
    known[sys.argv[1]]()
