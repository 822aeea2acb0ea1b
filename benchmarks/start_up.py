"""How long it takes until anything begins, and what is loaded by then: `python benchmarks/start_up.py`.

Every case runs in a process of its own. Seconds are of the processor, medians of several runs; the first run is not
counted, since it fills the disk's cache.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

import click

HEAVY = ("torch", "click", "matplotlib", "scipy", "numpy", "soundfile", "jsonschema", "rich", "pydantic")

CASES: dict[str, list[str] | None] = {
    "import ttsr_studio": None,
    "ttsr --version": ["--version"],
    "ttsr --help": ["--help"],
    "ttsr render --help": ["render", "--help"],
    "ttsr queue --help": ["queue", "--help"],
    "ttsr presets list": ["presets", "list"],
    "ttsr rendr": ["rendr"],
    "ttsr <TAB>": [""],
    "ttsr render --se<TAB>": ["render", "--se"],
}

CHILD = """
import contextlib, io, json, sys, time
arguments, heavy = json.loads(sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
import ttsr_studio
if arguments is not None:
    sys.argv = ["ttsr", *arguments]
    from ttsr_studio.__main__ import run
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        run()
seconds = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps([*seconds, len(sys.modules), [name for name in heavy if name in sys.modules]]))
"""


def measure(arguments: Sequence[str] | None, complete: bool) -> tuple[float, float, int, list[str]]:
    """Run a command line, None for the bare import -> CPU seconds, wall seconds, modules, which heavy ones.

    Args:
        complete: do what TAB does at its end instead.
    """
    typed = {"COMP_WORDS": " ".join(["ttsr", *(arguments or [])]), "COMP_CWORD": str(len(arguments or []))}
    completing = typed | {"_TTSR_COMPLETE": "bash_complete"} if complete else {}
    command = [sys.executable, "-c", CHILD, json.dumps([arguments, HEAVY])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | completing)
    cpu, wall, modules, heavy = json.loads(done.stdout)
    return cpu, wall, modules, heavy


@click.command()
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
def main(runs: int) -> None:
    """Print what each command line costs before it does anything."""
    print(f"{'':22} {'CPU s':>6} {'wall s':>7} {'modules':>8}  of these")
    for name, arguments in CASES.items():
        measured = [measure(arguments, name.endswith("<TAB>")) for _ in range(runs + 1)][1:]
        cpu, wall = (statistics.median(run[i] for run in measured) for i in (0, 1))
        _, _, modules, heavy = measured[-1]
        print(f"{name:22} {cpu:6.2f} {wall:7.2f} {modules:8}  {', '.join(heavy) or '-'}")


if __name__ == "__main__":
    main()
