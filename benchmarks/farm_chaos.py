"""Kill what a watch folder on a farm runs on, at random moments, and see whether anything was lost, doubled or broken.

python benchmarks/farm_chaos.py --files 200 --kills 60 --nodes 2

The farm is a Ray cluster of nodes with one processor each on this machine. SIGKILL goes to actors by their process, to
nodes with all that is on them, to a node's raylet alone (the head's too, through which the service is connected), to
the service, and to the head with the whole cluster, evenly over the files; what was killed is started again. Other
nodes are drained: they end when their worker has finished what it does. One file in 40 is no audio. At the end every
file must be done or failed with a reason of its own, done only once, whole, with the same bytes as a render on this
machine alone, and every source must be what it was; nothing of it may count against a file. Exit code 1 otherwise.
"""

import argparse
import contextlib
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - others on this machine are not its affair
os.environ["OMP_NUM_THREADS"] = "1"  # the same bits here and there

import psutil
from ray.cluster_utils import Cluster
from watch_kill import checksum, fill, inspect, start

import ttsr_studio as ttsr
from ttsr_studio.watch.filesystem.root import Root
from ttsr_studio.watch.queue.jobs import Queue
from ttsr_studio.watch.queue.states import JobState

STORE = 100 * 2**20
"""Bytes of a node's object store."""

WEIGHTS = {"actor": 16, "drain": 2, "node": 2, "raylet": 2, "service": 2, "head": 1}
DRAIN_SECONDS = 120.0
"""For a node that is to end to finish what its worker does."""

BROKEN = 40
"""One file in so many is no audio."""


class Farm:
    """A cluster on this machine whose head can be started again at the same address."""

    def __init__(self, nodes: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.count, self.nodes = nodes, list[Any]()
        self.leaving: list[tuple[Any, float]] = []
        self.start()

    def start(self) -> None:
        quiet = {"num_cpus": 0, "num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        self.cluster = Cluster(True, head_node_args={**quiet, "gcs_server_port": self.port})
        self.address = self.cluster.address
        self.nodes = []
        while len(self.nodes) < self.count:
            self.add()

    def add(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=STORE))

    def lose_node(self, node: Any) -> None:
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def lose_raylet(self, rng: random.Random) -> None:
        """One of the raylets that are left goes; what else there is of its node has to end by itself."""
        node = rng.choice([each for each in (self.cluster.head_node, *self.nodes) if "raylet" in each.all_processes])
        node.kill_raylet()
        if node in self.nodes:
            self.nodes.remove(node)
            self.add()

    def drain(self, node: Any) -> None:
        """Say that a node is to end, as autoscalers do, and put another in its place."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        preempted = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        GcsClient(address=self.address).drain_node(node.node_id, preempted, "chaos", 0)
        self.nodes.remove(node)
        self.leaving.append((node, time.monotonic()))
        self.add()

    def end_drained(self) -> list[str]:
        """End nodes that are drained and have no worker any more; what is wrong with others."""
        wrong = []
        for node, since in list(self.leaving):
            late = time.monotonic() - since > DRAIN_SECONDS
            if late or not self.actors([node]):
                wrong += [f"a worker is on a drained node after {DRAIN_SECONDS:.0f} s"] if late else []
                self.leaving.remove((node, since))
                self.cluster.remove_node(node)
        return wrong

    def lose_head(self) -> None:
        """The head goes, and with it the cluster: nodes find no way back to one that starts anew."""
        self.cluster.remove_node(self.cluster.head_node, allow_graceful=False)
        for node in (*self.nodes, *(node for node, _ in self.leaving)):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self.nodes, self.leaving = [], []

    def actors(self, nodes: list[Any] | None = None) -> list[psutil.Process]:
        """Processes of workers, which the nodes start; without those on nodes that are to end."""
        ours = {node.all_processes["raylet"][0].process.pid for node in (self.nodes if nodes is None else nodes)}
        every = [each for each in psutil.process_iter(["name", "ppid"]) if each.info["ppid"] in ours]
        return [each for each in every if each.info["name"].startswith("ray::RenderActor")]

    def stop(self) -> None:
        self.cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--nodes", type=int, default=2, help="of one processor each")
    parser.add_argument("--pause", type=float, default=4.0, help="the longest between two kills, seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="give up after so long")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="ttsr-chaos-"))
    sources = fill(root, given.files)
    for number, path in enumerate(sources):
        if number % BROKEN == BROKEN // 8:
            path.write_bytes(b"this is no audio " * 20 + str(number).encode())
            sources[path] = checksum(path)
    began, farm = time.monotonic(), Farm(given.nodes)
    try:
        kills, wrong = disturb(root, farm, given)
    finally:
        farm.stop()
    wrong += [*inspect(root, sources), *differing(root, sources)]
    queue = Queue(Root(root).database)
    print(
        f"{given.files} files, {sum(kills.values())} kills ({dict(kills)}), {given.nodes} nodes, "
        f"{time.monotonic() - began:.0f} s: {queue.counts()}"
    )
    for line in wrong[:20]:
        print(f"WRONG {line}")
    if wrong:
        sys.exit(f"{len(wrong)} things are wrong; the tree is kept in {root}")
    shutil.rmtree(root)
    print("every file accounted for: none lost, none twice, none partial, none counted; bytes as rendered locally")


def plan(rng: random.Random, kills: int) -> list[str]:
    """What is killed: first one of each, then at random."""
    rest = rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=max(0, kills - len(WEIGHTS)))
    return [*WEIGHTS, *rest][:kills]


def disturb(root: Path, farm: Farm, given: argparse.Namespace) -> tuple[Counter[str], list[str]]:
    """Kill as planned, then let it end; the kills, and what services did that they should not."""
    rng, kills, wrong = random.Random(given.seed), Counter[str](), list[str]()
    deadline = time.monotonic() + 60 * given.minutes
    service = start(root, "--farm", farm.address)
    todo = plan(rng, given.kills)
    while time.monotonic() < deadline:
        time.sleep(rng.uniform(0.5, given.pause))
        if service.poll() is not None:
            wrong.append(f"the service ended with {service.returncode}: {(root / 'errors.txt').read_text()[-500:]}")
            break
        wrong += farm.end_drained()
        through = done_with(root)
        if todo and farm.actors() and through >= 0.9 * given.files * (given.kills - len(todo)) / given.kills:
            kind = todo.pop(0)
            kills[kind] += 1
            if kind == "actor":
                rng.choice(farm.actors()).kill()
            elif kind == "drain":
                farm.drain(rng.choice(farm.nodes))
            elif kind == "node":
                farm.lose_node(rng.choice(farm.nodes))
                farm.add()
            elif kind == "raylet":
                farm.lose_raylet(rng)
            elif kind == "service":
                service.kill()
                service.wait()
                service = start(root, "--farm", farm.address)
            else:
                farm.lose_head()
                farm.start()
        elif through == given.files:
            break
    else:
        wrong.append(f"not finished after {given.minutes:g} minutes")
    service.terminate()
    service.wait(60)
    return kills, wrong


def done_with(root: Path) -> int:
    """Files that are done or failed."""
    if not Root(root).database.exists():
        return 0
    with contextlib.closing(Queue(Root(root).database)) as queue:
        counts = queue.counts()
    return counts[JobState.DONE] + counts[JobState.FAILED]


def differing(root: Path, sources: dict[Path, str]) -> Iterator[str]:
    """Renders with other bytes than on this machine alone; failures that are not the file's; what counted."""
    queue, renderer = Queue(Root(root).database), ttsr.Renderer("sfx", candidates=1, steps=1, verifier=["continuity"])
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(sources):
            row = queue.find(str(path.relative_to(root)))
            if row is None:
                continue
            if row.crashes or row.tries:
                yield f"{path.name}: counted as {row.crashes} crashes and {row.tries} tries"
            if number % BROKEN == BROKEN // 8:
                if row.state != "failed":
                    yield f"{path.name}: is no audio, and {row.state}"
            elif row.state != "done":
                yield f"{path.name}: {row.state}, {row.reason}"
            else:
                local = renderer.render(path, Path(folder, path.name), report=False)
                if local.sha256 != checksum(root / str(row.output)):
                    yield f"{path.name}: other bytes than rendered locally"


if __name__ == "__main__":
    main()
