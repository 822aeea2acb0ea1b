"""Render one long file on a farm of nodes with one processor each, and compare bytes and time with this machine alone.

python benchmarks/farm_film.py --seconds 600 --channels 2 --nodes 3 --lose
python benchmarks/farm_film.py --seconds 60 --nodes 1 2

With `--lose` it is rendered once more on the last number of nodes, one of which goes away in the middle. Efficiency is
the time of a local render divided by the farm's times its nodes; starting workers is counted apart. On a machine that
others use as well, it says little: therefore the processor seconds of all processes are told too, with and without what
the start takes (of the command, its gateway, and every worker until it searches). Exit code 1 where bytes differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - others on this machine are not its affair
os.environ["OMP_NUM_THREADS"] = "1"  # the same bits here and there

import numpy as np
import scipy.signal
import soundfile
from farm_chaos import Farm

RATE = 48000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--lose", action="store_true", help="render once more, and lose a node in the middle")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ttsr-film-") as name:
        source = made(Path(name, "film.wav"), given.seconds, given.channels)
        alone, seconds = rendered(source, given.candidates)
        print(f"here: {seconds:.1f} s, the render itself {alone['render_s']:.1f} s", flush=True)
        equal = [on_farm(source, given.candidates, nodes, alone, lose=False) for nodes in given.nodes]
        if given.lose:
            equal.append(on_farm(source, given.candidates, given.nodes[-1], alone, lose=True))
    if not all(equal):
        sys.exit("other bytes than rendered locally")


def made(path: Path, seconds: float, channels: int) -> Path:
    """Noise of changing loudness, without anything above 5 kHz."""
    rng, taps = np.random.default_rng(0), scipy.signal.firwin(511, 4800, fs=RATE)
    with soundfile.SoundFile(path, "w", RATE, channels, "PCM_16") as file:
        for _ in range(round(seconds / 10)):
            block = rng.standard_normal((10 * RATE, channels)) * rng.uniform(0.02, 0.1)
            file.write(scipy.signal.fftconvolve(block, taps[:, None], mode="same", axes=0))
    return path


def rendered(source: Path, candidates: int, *more: str, watch: Any = None) -> tuple[dict[str, Any], float]:
    """What `ttsr render --json` says, and the seconds that it took."""
    target = source.with_name("render.wav")
    command = ["render", source, "-o", target, "--candidates", candidates, "--steps", 1, "--verifier", "continuity"]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "ttsr_studio", *map(str, command), "--json", "--overwrite", *more],
        stdout=subprocess.PIPE,
        text=True,
    )
    if watch:
        watch(process)
    told, _ = process.communicate()
    seconds = time.monotonic() - began
    if process.returncode:
        sys.exit(f"ttsr render ended with {process.returncode}")
    report = json.loads(source.with_name("render.ttsr.json").read_text())
    spent = report["timing"]["wall_s"] - report["timing"]["seconds"].get("farm", 0.0)
    return json.loads(told) | {"render_s": spent}, seconds


def on_farm(source: Path, candidates: int, nodes: int, alone: dict[str, Any], lose: bool) -> bool:
    """Render on so many nodes, say how it went, and whether the bytes are the same."""
    farm = Farm(nodes)
    lost: list[float] = []

    def lose_one(process: subprocess.Popen[str]) -> None:
        def wait() -> None:
            while process.poll() is None and not any(each.name().endswith(".do") for each in farm.actors()):
                time.sleep(0.2)
            time.sleep(alone["render_s"] / nodes / 2)
            if process.poll() is None:
                farm.lose_node(farm.nodes[0])
                lost.append(time.monotonic())

        threading.Thread(target=wait, daemon=True).start()

    try:
        told, seconds = rendered(source, candidates, "--farm", farm.address, watch=lose_one if lose else None)
    finally:
        farm.stop()
    same = told["sha256"] == alone["sha256"]
    what = "a node lost in the middle" if lost else "no node was lost in time" if lose else "undisturbed"
    share = alone["render_s"] / (nodes * told["render_s"])
    print(
        f"{nodes} nodes, {what}: {seconds:.1f} s, the render itself {told['render_s']:.1f} s, efficiency {share:.2f}, "
        f"bytes {'equal' if same else 'DIFFER'}",
        flush=True,
    )
    return same and (bool(lost) or not lose)


if __name__ == "__main__":
    main()
