"""Render one long file on a farm of nodes with one processor each, and compare bytes and time with this machine alone.

python benchmarks/farm_film.py --seconds 600 --channels 2 --nodes 3 --lose
python benchmarks/farm_film.py --seconds 60 240 --nodes 1 2
python benchmarks/farm_film.py --seconds 60 --candidates 16 --steps 4 --nodes 1 2 --beside

With `--beside` it is also rendered here as many times at once as there are nodes: cores that work beside each other
slow each other down without any farm, and what is lost to that is not the farm's. With `--lose` it is rendered once
more on the last number of nodes, one of which goes away in the middle. Efficiency is the time of a local render
divided by the farm's times its nodes; starting workers is counted apart. On a machine that others use as well that
says little, so the processor seconds of all processes (command, gateway, workers) are told, too; of two lengths the
difference, in which what a start takes is not contained. Exit code 1 where bytes differ.
"""

import argparse
import contextlib
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
import psutil
import scipy.signal
import soundfile
from farm_chaos import Farm

RATE = 48000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0])
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--beside", action="store_true", help="render here as often at once as there are nodes, too")
    parser.add_argument("--lose", action="store_true", help="render once more, and lose a node in the middle")
    given = parser.parse_args()
    same, spent, beside = True, dict[int, list[float]](), dict[int, list[float]]()
    for seconds in given.seconds:
        with tempfile.TemporaryDirectory(prefix="ttsr-film-") as name:
            source = made(Path(name, "film.wav"), seconds, given.channels)
            effort = ["--candidates", str(given.candidates), "--steps", str(given.steps)]
            alone = rendered(source, effort)
            spent.setdefault(0, []).append(alone["cpu_s"])
            print(
                f"{seconds:g} s here: {alone['wall_s']:.1f} s, the render itself {alone['render_s']:.1f} s, "
                f"{alone['cpu_s']:.1f} processor s (load {os.getloadavg()[0]:.0f})",
                flush=True,
            )
            for nodes in [each for each in given.nodes if each > 1 and given.beside]:
                beside.setdefault(nodes, []).append(beside_itself(source, effort, nodes))
            for nodes, lose in [*((each, False) for each in given.nodes), *[(given.nodes[-1], True)] * given.lose]:
                equal, cpu = on_farm(source, effort, nodes, alone, lose)
                same &= equal
                if not lose:
                    spent.setdefault(nodes, []).append(cpu)
    for nodes in spent.keys() - {0} if len(given.seconds) > 1 else ():
        here, there = (spent[each][-1] - spent[each][0] for each in (0, nodes))
        print(f"{nodes} nodes: {there:.1f} processor s for what takes {here:.1f} here, efficiency {here / there:.2f}")
        if nodes in beside:
            here = beside[nodes][-1] - beside[nodes][0]
            print(f"  and {here:.1f} here on cores that are all at work: {here / there:.2f}")
    if not same:
        sys.exit("other bytes than rendered locally")


def made(path: Path, seconds: float, channels: int) -> Path:
    """Noise of changing loudness, without anything above 5 kHz."""
    rng, taps = np.random.default_rng(0), scipy.signal.firwin(511, 4800, fs=RATE)
    with soundfile.SoundFile(path, "w", RATE, channels, "PCM_16") as file:
        for _ in range(round(seconds / 10)):
            block = rng.standard_normal((10 * RATE, channels)) * rng.uniform(0.02, 0.1)
            file.write(scipy.signal.fftconvolve(block, taps[:, None], mode="same", axes=0))
    return path


def begun(source: Path, target: Path, effort: list[str], *more: str) -> subprocess.Popen[str]:
    """A render that has begun."""
    command = ["render", str(source), "-o", str(target), *effort, "--verifier", "continuity", "--json", "--overwrite"]
    return subprocess.Popen([sys.executable, "-m", "ttsr_studio", *command, *more], stdout=subprocess.PIPE, text=True)


def beside_itself(source: Path, effort: list[str], times: int) -> float:
    """Render here so many times at once, and say how many processor seconds each of them took, which is returned."""
    before, began = os.times(), time.monotonic()
    processes = [begun(source, source.with_name(f"render{number}.wav"), effort) for number in range(times)]
    spent = [json.loads(process.communicate()[0])["seconds"] for process in processes]
    seconds, after = time.monotonic() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    print(
        f"here {times} at once: {seconds:.1f} s, the renders themselves {sum(spent) / times:.1f} s, {cpu / times:.1f} "
        f"processor s each (load {os.getloadavg()[0]:.0f})",
        flush=True,
    )
    return cpu / times


def rendered(source: Path, effort: list[str], *more: str, watch: Any = None) -> dict[str, Any]:
    """What `ttsr render --json` says, and the seconds that it took, of time and of processors."""
    before, began = os.times(), time.monotonic()
    process = begun(source, source.with_name("render.wav"), effort, *more)
    if watch:
        watch(process)
    told, _ = process.communicate()
    seconds, after = time.monotonic() - began, os.times()
    if process.returncode:
        sys.exit(f"ttsr render ended with {process.returncode}")
    spent = json.loads(told)["seconds"]  # without the time in which workers were waited for
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(told) | {"render_s": spent, "wall_s": seconds, "cpu_s": cpu}


class Workers:
    """Counts the processor seconds of a farm's workers, until it is left."""

    def __init__(self, farm: Farm) -> None:
        self.farm, self.over = farm, threading.Event()
        self.spent: dict[int, float] = {}
        self.thread = threading.Thread(target=self._count)

    def __enter__(self) -> "Workers":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _count(self) -> None:
        while not self.over.wait(0.1):
            for each in self.farm.actors():
                with contextlib.suppress(psutil.Error):
                    times = each.cpu_times()
                    self.spent[each.pid] = times.user + times.system


def on_farm(source: Path, effort: list[str], nodes: int, alone: dict[str, Any], lose: bool) -> tuple[bool, float]:
    """Render on so many nodes and say how it went; whether the bytes are the same, and processor seconds."""
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
        with Workers(farm) as workers:
            told = rendered(source, effort, "--farm", farm.address, watch=lose_one if lose else None)
    finally:
        farm.stop()
    same = told["sha256"] == alone["sha256"]
    what = "a node lost in the middle" if lost else "no node was lost in time" if lose else "undisturbed"
    share = alone["render_s"] / (nodes * told["render_s"])
    cpu = told["cpu_s"] + sum(workers.spent.values())
    print(
        f"{nodes} nodes, {what}: {told['wall_s']:.1f} s, the render itself {told['render_s']:.1f} s, efficiency "
        f"{share:.2f}; {cpu:.1f} processor s, of it workers {sum(workers.spent.values()):.1f}; "
        f"bytes {'equal' if same else 'DIFFER'} (load {os.getloadavg()[0]:.0f})\n  "
        + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in told["stages"].items() if seconds >= 0.05),
        flush=True,
    )
    return same and (bool(lost) or not lose), cpu


if __name__ == "__main__":
    main()
