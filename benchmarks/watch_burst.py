"""Thousands of files dropped within seconds: by copy, by move, by slow growing writes, by rename into place; then rest.

python benchmarks/watch_burst.py --files 2000 --jobs 2 --idle 10000

Every file must be rendered once. Afterwards the tree is filled up to `--idle` files, and what the service takes of a
core at rest is measured. Exit code 1 when a file was not rendered exactly once.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import soundfile

from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue

RATE = 48000
WAYS = ("copy", "move", "slow write", "rename into place")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--idle", type=int, default=10000, help="files in the tree while rest is measured")
    parser.add_argument("--rest", type=float, default=120, help="seconds of rest that are measured")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="ttsr-burst-"))
    root = home / "root"
    root.mkdir()
    (root / "ttsr-watch.toml").write_text("candidates = 1\nsteps = 1\nverifier = 'continuity'\n")
    made = make(home / "made", given.files)
    service = start(root, given.jobs)
    while not Root(root).database.exists():
        time.sleep(0.1)
    began = time.monotonic()
    drop(made, root)
    dropped = time.monotonic() - began
    print(f"{given.files} files dropped in {dropped:.1f} s", flush=True)
    wait(root, given.files, began)
    rendered = time.monotonic() - began
    wrong = inspect(root, given.files)
    print(f"rendered in {rendered:.0f} s with {given.jobs} workers; rendered once: {given.files - len(wrong)}")
    rest(root, service, given)
    service.send_signal(signal.SIGTERM)
    service.wait()
    if wrong:
        sys.exit(f"{len(wrong)} files were not rendered exactly once: {wrong[:5]}; the tree is kept in {root}")
    shutil.rmtree(home)


def make(folder: Path, files: int) -> list[Path]:
    """Short files of low-passed noise, all different."""
    folder.mkdir()
    rng, size = np.random.default_rng(0), RATE // 10
    made = []
    for number in range(files):
        spectrum = np.fft.rfft(rng.standard_normal(size))
        spectrum[round(5000 / RATE * size) :] = 0
        audio = np.fft.irfft(spectrum)
        made.append(folder / f"{number:05d}.wav")
        soundfile.write(made[-1], 0.2 * audio / np.abs(audio).max(), RATE, subtype="PCM_16")
    return made


def start(root: Path, jobs: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ttsr_studio", "watch", root, "--jobs", jobs, "--settle", "2", "--no-page"]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)


def drop(made: list[Path], root: Path) -> None:
    """Bring every fourth file in another way; the slow ones all grow at a time."""
    growing = []
    for number, path in enumerate(made):
        target = root / "sfx" / f"reel {number % 20}" / f"scene {number % 7}" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        way = WAYS[number % 4]
        if way == "copy":
            shutil.copy(path, target)
        elif way == "move":
            path.rename(target)
        elif way == "slow write":
            growing.append((path.read_bytes(), target))
        else:
            hidden = target.with_name(f".{target.name}.k3J9")
            shutil.copy(path, hidden)
            hidden.rename(target)
    threads = [threading.Thread(target=grow, args=(growing[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def grow(files: list[tuple[bytes, Path]]) -> None:
    """Write files in five steps of half a second, side by side."""
    for step in range(5):
        for data, target in files:
            with target.open("ab") as file:
                file.write(data[len(data) * step // 5 : len(data) * (step + 1) // 5])
        time.sleep(0.5)


def wait(root: Path, files: int, began: float) -> None:
    """Wait until nothing is pending; say how far it is every half minute."""
    queue, told = Queue(Root(root).database), time.monotonic()
    while True:
        counts = queue.counts()
        if sum(counts.values()) >= files and not counts["pending"] and not counts["running"]:
            return
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"  {told - began:.0f} s: {counts}", flush=True)
        time.sleep(0.5)


def inspect(root: Path, files: int) -> list[str]:
    """Files that were not rendered exactly once."""
    queue = Queue(Root(root).database)
    entries = queue.jobs()
    wrong = [] if len(entries) == files else [f"{len(entries)} files known"]
    for entry in entries:
        whats = Counter(each["what"] for each in queue.history(entry))
        output = root / str(entry.output)
        if whats["done"] != 1 or entry.attempts != 1 or not output.is_file():
            wrong.append(f"{entry.path}: {entry.state}, {dict(whats)}, {entry.reason}")
    return wrong


def rest(root: Path, service: subprocess.Popen[bytes], given: argparse.Namespace) -> None:
    """Fill the tree with finished files, and measure what the service takes while nothing happens."""
    template = next((root / "sfx").rglob("*.wav"))
    for number in range(max(0, given.idle - given.files)):
        target = root / "music" / f"{number % 100}" / f"{number}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(template) if number else shutil.copy(template, target)
    queue = Queue(Root(root).database)
    queue.pause("measured at rest")
    while sum(queue.counts().values()) < max(given.idle, given.files):
        time.sleep(1)
    time.sleep(10)
    processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    time.sleep(given.rest)
    after = sum(sum(process.cpu_times()[:2]) for process in processes)
    share = (after - before) / given.rest
    print(f"at rest with {given.idle} files: {share:.2%} of a core over {given.rest:.0f} s")


if __name__ == "__main__":
    main()
