"""Kill the watch folder's processes at random moments, and see whether anything was lost, doubled or broken.

python benchmarks/watch_kill.py --files 300 --kills 200 --jobs 3
python benchmarks/watch_kill.py --files 300 --kills 200 --jobs 2 --services 2

SIGKILL goes to a service or to one of its workers; a killed service is started again, and one that ends by itself
before everything is done is an error. At the end every file must be
done or failed with a reason, done only once, whole, and every source must be what it was. Exit code 1 otherwise.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import soundfile

from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue

RATE = 48000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=3, help="workers of each service")
    parser.add_argument("--services", type=int, default=1, help="at once on the one root")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="give up after so long")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="ttsr-kill-"))
    sources = fill(root, given.files)
    kills, wrong = disturb(root, given)
    wrong += inspect(root, sources)
    counts = Queue(Root(root).database).counts()
    print(
        f"{given.files} files, {sum(kills.values())} kills ({dict(kills)}), "
        f"{given.services} x {given.jobs} workers: {counts}"
    )
    for line in wrong[:20]:
        print(f"WRONG {line}")
    if wrong:
        sys.exit(f"{len(wrong)} things are wrong; the tree is kept in {root}")
    shutil.rmtree(root)
    print("every file accounted for: none lost, none twice, none partial; sources as they were; database sound")


def fill(root: Path, files: int) -> dict[Path, str]:
    """Short files of low-passed noise, all different; the checksum of each."""
    (root / "ttsr-watch.toml").write_text("candidates = 1\nsteps = 1\nverifier = 'continuity'\n")
    (root / "sfx").mkdir()
    rng = np.random.default_rng(0)
    for number in range(files):
        spectrum = np.fft.rfft(rng.standard_normal(RATE // 4))
        spectrum[round(5000 / RATE * (RATE // 4)) :] = 0
        audio = np.fft.irfft(spectrum)
        soundfile.write(root / "sfx" / f"{number:04d}.wav", 0.2 * audio / np.abs(audio).max(), RATE, subtype="PCM_16")
    return {path: checksum(path) for path in sorted((root / "sfx").iterdir())}


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(root: Path, *flags: object) -> subprocess.Popen[bytes]:
    """A service that takes files quickly, and over from others."""
    command = ["watch", root, *flags, "--settle", "0.2", "--lease", "5", "--no-page"]
    return subprocess.Popen(
        [sys.executable, "-m", "ttsr_studio", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=(root / "errors.txt").open("a"),
    )


def disturb(root: Path, given: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    """Kill until there were enough kills, then let it end; the kills, and what services did that they should not."""
    rng, kills, wrong = random.Random(given.seed), Counter[str](), list[str]()
    deadline = time.monotonic() + 60 * given.minutes
    services = [start(root, "--jobs", given.jobs, "--once") for _ in range(given.services)]
    while sum(kills.values()) < given.kills and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.05, 2.5))
        if all(service.poll() is not None for service in services):
            break  # all is done already
        number = rng.randrange(len(services))
        workers = [child for child in children(services[number]) if "multiprocessing.spawn" in " ".join(cmdline(child))]
        if workers and rng.random() < 0.6:
            rng.choice(workers).send_signal(signal.SIGKILL)
            kills["worker"] += 1
        elif rng.random() < 0.5 and services[number].poll() is None:
            services[number].kill()
            services[number].wait()
            kills["service"] += 1
            services[number] = start(root, "--jobs", given.jobs, "--once")
    for service in services:
        code = service.wait(max(1.0, deadline - time.monotonic()))
        if code not in (0, 1):
            wrong.append(f"a service ended with {code}: {(root / 'errors.txt').read_text().strip()[-500:]}")
    return kills, wrong


def children(service: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(service.pid).children()
    except psutil.Error:
        return []


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def inspect(root: Path, sources: dict[Path, str]) -> list[str]:
    """Everything that is not as it should be."""
    watched = Root(root)
    queue = Queue(watched.database)
    queue.check()
    wrong = [f"{path.name}: the source changed" for path, sha256 in sources.items() if checksum(path) != sha256]
    for path in sources:
        row = queue.find(str(path.relative_to(root)))
        if row is None or row.state not in ("done", "failed"):
            wrong.append(f"{path.name}: {row.state if row else 'not known'}")
            continue
        done = sum(each["what"] == "done" for each in queue.history(row))
        if row.state == "failed":
            if not row.reason:
                wrong.append(f"{path.name}: failed without a reason")
            continue
        if done != 1:
            wrong.append(f"{path.name}: done {done} times")
        output, report = watched.path / str(row.output), json.loads((watched.path / str(row.report)).read_text())
        if soundfile.info(output).frames != soundfile.info(path).frames:
            wrong.append(f"{path.name}: the render has another length")
        if checksum(output) != report["output"]["sha256"]:
            wrong.append(f"{path.name}: the render is not what its report says")
    renders = {str(path.relative_to(root)) for path in watched.renders.rglob("*.wav")}
    expected = {row.output for row in queue.jobs(["done"])}
    wrong += [f"{name}: of no finished file" for name in sorted(renders - expected)]
    wrong += [f"{path}: left behind" for path in root.rglob("*") if "partial" in path.name or path.suffix == ".tmp"]
    wrong += [f"{path}: left behind" for path in watched.stages.iterdir() if path.is_dir()]
    return wrong


if __name__ == "__main__":
    main()
